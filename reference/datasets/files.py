"""Finding and reading files, shared by the tracks."""

import csv
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from reference.datasets.items import Finding
from reference.errors import SubmissionError

PICTURES = {".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
# Cells that pandas.read_csv takes for empty ones, and dropna() drops.
EMPTY_CELLS = {
    *("#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
}


def subfolder(folder: Path, *names: str) -> Path:
    """The first folder of those names below `folder`; raises SubmissionError if there is none."""
    for name in names:
        if (folder / name).is_dir():
            return folder / name
    raise SubmissionError(f"{folder} has no folder {names[0]}/", f"put {names[0]}/ there")


def is_file(path: Path) -> bool:
    """Whether it is there; a name that no disk takes is not (Path.is_file raises for some)."""
    return os.path.isfile(path)


def by_stem(folder: Path, endings: set[str], findings: list[Finding]) -> dict[str, Path]:
    """The files of a folder by name without ending, sorted; two of one name are a finding."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in endings:
            continue
        if path.stem in found:
            problem = f"has the same name as {found[path.stem].name}"
            findings.append(Finding(str(path), problem, "keep one of the two, or rename it"))
        found.setdefault(path.stem, path)
    return found


def unpaired(files: Mapping[str, Mapping[str, Path]]) -> Iterator[Finding]:
    """What lacks its partner; `files` by name, by what they are. Names pair, not their order."""
    for kind, own in files.items():
        for other, partners in files.items():
            for name in sorted(own.keys() - partners.keys()):
                yield Finding(
                    str(own[name]),
                    f"this {kind} has no {other} of the name {name!r}"
                    f" ({len(own)} and {len(partners)} files)",
                    f"add the {other} or remove the {kind}: the official code pairs by order and"
                    " drops the rest",
                )


def read_json(path: Path) -> Any:
    """The content of a JSON file; raises SubmissionError."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SubmissionError(f"{path} cannot be read ({error.strerror})", "check it") from None
    except ValueError as error:
        raise SubmissionError(f"{path} is not JSON ({error})", "write it again, as UTF-8") from None


def read_table(path: Path, columns: tuple[str, ...]) -> list[dict[str, str] | None]:
    """The rows below the heading of a CSV file, None for a blank one; raises SubmissionError."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            heading, *rows = [*csv.reader(file)] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SubmissionError(f"{path} cannot be read ({error})", "save it as UTF-8 CSV") from None
    names = [name.strip() for name in heading]
    missing = [column for column in columns if column not in names]
    if missing:
        raise SubmissionError(
            f"{path} has no column {missing[0]} but {', '.join(names) or 'none at all'}",
            f"let its first row be {','.join(columns)}",
        )
    return [
        dict(zip(names, (cell.strip() for cell in row), strict=False))
        if any(cell.strip() for cell in row)
        else None
        for row in rows
    ]


def read_grey(path: Path, dtype: str) -> np.ndarray:
    """The values of a picture of one channel, as `dtype`, uint8 or uint16, (height, width).

    Raises SubmissionError for another kind of picture.
    """
    try:
        with Image.open(path) as picture:
            mode = picture.mode
            array = np.asarray(picture)
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and more.
        raise SubmissionError(f"{path} cannot be read: {error}", "save it as PNG again") from None
    modes = {"uint8": {"1", "L", "P"}, "uint16": {"I;16", "I;16B", "I;16L", "I"}}[dtype]
    if mode not in modes or array.min(initial=0) < 0 or array.max(initial=0) > np.iinfo(dtype).max:
        raise SubmissionError(
            f"{path} is {mode} ({array.dtype}), not {dtype} with one channel",
            f"save it as a {np.iinfo(dtype).bits}-bit grey PNG",
        )
    return array.astype(dtype)
