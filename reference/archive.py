"""Zip files from others."""

import contextlib
import lzma
import os
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePath, PurePosixPath

from reference.errors import SubmissionError

# A model with each tensor in a file of its own has some thousand; a list of more is not read.
MOST_ENTRIES = 20_000
MOST_LIST_BYTES = 16 * 2**20
# Twice what a child process may write in one file.
MOST_BYTES = 16 * 2**30
# Bytes of one name in a folder, on every common file system.
_MOST_NAME_BYTES = 255
# bzip2 and LZMA give all that their input holds: 4 kB of it become 100 MB at most.
_STEP, _SMALL_STEP = 2**20, 2**12
_PREDICTABLE = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
# What zipfile raises at bytes that are no zip, or that were changed.
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    IndexError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
)


def is_litter(path: PurePath) -> bool:
    """Whether a file is what macOS leaves beside others: `__MACOSX/`, `._*`, `.DS_Store`."""
    return "__MACOSX" in path.parts or path.name.startswith("._") or path.name == ".DS_Store"


@contextlib.contextmanager
def open_zip(path: Path, name: str) -> Iterator[zipfile.ZipFile]:
    """The zip at `path`, with a list of entries that can be held; `name` is for messages.

    Raises SubmissionError for what is no zip or damaged, also where that shows inside the block.
    """
    try:
        _check_list(path, name)
        with zipfile.ZipFile(path) as archive:
            yield archive
    except _UNREADABLE as error:
        raise SubmissionError(
            f"{name} cannot be unpacked ({error})", "zip the folder again, with plain deflate"
        ) from None


def unpack(path: Path, folder: Path, name: str, most: int = MOST_BYTES) -> Path:
    """Unpacks a zip into `folder`, which must not exist; `name` is what messages call it.

    Every entry is looked at first: inside the folder, no link, no password, one place each, all
    within `most` bytes and the disk; then no more are written than were announced. What macOS adds
    stays out. Raises SubmissionError for what is not, and where nothing is left.
    """
    folder.mkdir(parents=True)
    with open_zip(path, name) as archive:
        entries = _places(archive.infolist(), name)
        size = sum(entry.file_size for entry in entries.values())
        free = shutil.disk_usage(folder).free
        if size > min(free, most):
            limit = "the disk has" if free < most else f"the {most / 2**30:.3g} GiB that it may"
            raise SubmissionError(
                f"{name} unpacks to {size / 2**30:.1f} GiB, more than {limit}",
                "free some space, or check the archive",
            )
        try:
            for place, entry in entries.items():
                _write(archive, entry, folder / place)
        except OSError as error:
            raise SubmissionError(
                f"{name} cannot be unpacked to {folder} ({error.strerror})",
                "free some space, or set TMPDIR to a folder that has it",
            ) from None
    return folder


def _check_list(path: Path, name: str) -> None:
    """Refuses a list of entries that is too long, before zipfile reads the whole of it."""
    with path.open("rb") as file:
        # What zipfile itself goes by; None for what is no zip.
        end = zipfile._EndRecData(file)  # type: ignore[attr-defined]
    entries, size = (end[4], end[5]) if end else (0, 0)
    if entries > MOST_ENTRIES or size > MOST_LIST_BYTES:
        raise _crowd(name, entries)


def _crowd(name: str, entries: int) -> SubmissionError:
    return SubmissionError(
        f"{name} holds {entries} files and at most {MOST_ENTRIES} are taken",
        "zip the folder with the model and its external data alone",
    )


def _places(entries: list[zipfile.ZipInfo], name: str) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """The files by their place in the folder; raises SubmissionError for one that has none."""
    if len(entries) > MOST_ENTRIES:
        raise _crowd(name, len(entries))
    files: dict[PurePosixPath, zipfile.ZipInfo] = {}
    folders: set[PurePosixPath] = set()
    for entry in entries:
        place = PurePosixPath(entry.filename.replace("\\", "/"))
        if is_litter(place):
            continue
        problem, remedy = _offence(entry, place)
        if problem:
            raise SubmissionError(f"{name} holds {entry.filename!r}, {problem}", remedy)
        if entry.is_dir() or entry.filename.endswith("\\"):
            folders.add(place)
        elif place in files:
            raise SubmissionError(f"{name} holds {entry.filename!r} twice", "zip the folder again")
        else:
            files[place] = entry
        folders.update(place.parents)
    for place in files.keys() & folders:
        raise SubmissionError(
            f"{name} holds {str(place)!r} as a file and as a folder", "zip the folder again"
        )
    if not files:
        raise SubmissionError(f"{name} holds no file", "zip the folder with the model in it")
    return files


def _offence(entry: zipfile.ZipInfo, place: PurePosixPath) -> tuple[str, str]:
    """What forbids an entry, and what helps; empty for one that is fine."""
    outside = "zip the folder itself, with relative names"
    if not place.parts:
        return "which is no name of a file", outside
    if place.is_absolute() or ".." in place.parts or ":" in place.parts[0]:
        return "which leads outside the folder", outside
    if any(len(os.fsencode(part)) > _MOST_NAME_BYTES for part in place.parts):
        return "which is too long for a name of a file", "give it a shorter name"
    if stat.S_ISLNK(entry.external_attr >> 16):
        return "which is a link", "zip the files, not links"
    if entry.flag_bits & 1:
        return "which has a password", "zip the folder without one"
    return "", ""


def _write(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    """One file, of no more bytes than its entry announces (zipfile sees to that)."""
    step = _STEP if entry.compress_type in _PREDICTABLE else _SMALL_STEP
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as source, target.open("xb") as file:
        while data := source.read(step):
            file.write(data)
