"""Zip files from others."""

import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath

from reference.errors import SubmissionError


def unpack(path: Path, folder: Path, name: str) -> Path:
    """Unpacks a zip into `folder`, which must not exist; `name` is what messages call it.

    Every entry is looked at first: inside the folder, no links, fits the disk. Raises
    SubmissionError for what is not.
    """
    folder.mkdir(parents=True)
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        for entry in entries:
            inside = PurePosixPath(entry.filename.replace("\\", "/"))
            if inside.is_absolute() or ".." in inside.parts or ":" in inside.parts[0]:
                raise SubmissionError(
                    f"{name} holds {entry.filename!r}, which leads outside the folder",
                    "zip the folder itself, with relative names",
                )
            if stat.S_ISLNK(entry.external_attr >> 16):
                raise SubmissionError(
                    f"{name} holds the link {entry.filename!r}", "zip the files, not links"
                )
        size = sum(entry.file_size for entry in entries)
        if size > shutil.disk_usage(folder).free:
            raise SubmissionError(
                f"{name} unpacks to {size / 2**30:.1f} GiB, more than the disk has",
                "free some space, or check the archive",
            )
        try:
            archive.extractall(folder)
        except (zipfile.BadZipFile, EOFError, RuntimeError, NotImplementedError) as error:
            raise SubmissionError(
                f"{name} cannot be unpacked ({error})", "zip the folder again, no password"
            ) from None
    return folder
