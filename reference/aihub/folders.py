"""Model folders as the client sends and takes them: zips with one folder inside."""

import zipfile
from pathlib import Path


def zip_folder(folder: Path, target: Path, inside: str) -> Path:
    """Zips the files of `folder`, under the folder name `inside`; `target`."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, Path(inside) / path.relative_to(folder))
    return target
