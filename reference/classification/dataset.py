"""Classification: `images/` and `key.csv`, whose rows have class_index, 0..63.

The organisers' own list has file_name and label beside it; then pictures go by name here. The
official scripts go by order: `upload_dataset.py` of 25LPCVC_AIHub_Guide feeds the sorted folder,
`evaluate_track1.py` of 25LPCVC_Evaluations takes the rows that have a class. Where the two differ
there is a finding, and the data set is scored all the same.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

from reference.classification.contract import CLASSES
from reference.datasets.files import EMPTY_CELLS, PICTURES, is_file, read_table, subfolder
from reference.datasets.items import Finding, Index, Item
from reference.errors import SubmissionError

# What `upload_dataset.py` reads of a folder, in capitals too.
READ = (".jpeg", ".jpg", ".png")
_REMEDY = f"number the classes 0..{len(CLASSES) - 1}, in the referee's order"


@dataclass(frozen=True)
class _Row:
    """A row that has a class: its line, the picture that it names or gets, and the two cells."""

    line: int
    name: str
    number: str
    label: str


def index(folder: Path) -> Index:
    """An item for each row that has a class and a picture."""
    key, pictures = folder / "key.csv", subfolder(folder, "images")
    table = read_table(key, ("class_index",))
    files = sorted(path.name for path in pictures.iterdir() if path.suffix.lower() in PICTURES)
    named = any(row and row.get("file_name") for row in table)
    rows: list[_Row] = []
    findings: list[Finding] = []
    for line, cells in enumerate(table, 2):
        number = (cells or {}).get("class_index", "")
        if cells and number and number not in EMPTY_CELLS:
            rows.append(_Row(line, cells.get("file_name", ""), number, cells.get("label", "")))
        elif cells:
            problem = f"row {line} has no class: the evaluator drops it, and pairs all after it"
            findings.append(_error(key, f"{problem} with other pictures", "give it one"))
        elif line < len(table) + 1:  # a blank line at the very end is no row
            problem = f"row {line} is blank: the evaluator drops it, the referee counts it"
            findings.append(_warning(key, problem, "remove it"))
    official = [name for name in files if name.lower().endswith(READ)]
    if not named:
        findings += _counts(key, official, rows)
        rows = [replace(row, name=name) for row, name in zip(rows, official, strict=False)]
    findings += [*_class_faults(key, rows), *_picture_faults(key, rows, pictures, files)]
    if named:
        findings += _order_faults(key, rows, official)
    items: dict[str, Item] = {}
    for row in rows:
        name, image = row.name, pictures / row.name
        if name:
            items.setdefault(
                name, Item(name, "model", name, image, truth=row.number, where=str(key))
            )
    images = [item.image for item in items.values() if item.image and is_file(item.image)]
    return Index(tuple(items.values()), frozenset([key, *images]), tuple(findings))


def truth(item: Item) -> float:
    """The number of its class. Raises SubmissionError for a word."""
    number = _number(item.truth)
    if number is None:
        raise SubmissionError(*_word(item.id, item.truth))
    return number


def _number(cell: str) -> float | None:
    with suppress(ValueError):
        return float(cell)
    return None


def _word(name: str, cell: str) -> tuple[str, str]:
    problem = f"{name} has the class {cell!r}, which is no number: the evaluator reads the whole"
    return f"{problem} column as text then, and no answer is right", _REMEDY


def _error(file: Path, problem: str, remedy: str) -> Finding:
    return Finding(str(file), problem, remedy, scored=True)


def _warning(file: Path, problem: str, remedy: str) -> Finding:
    return Finding(str(file), problem, remedy, fatal=False)


def _counts(key: Path, pictures: Sequence[str], rows: Sequence[_Row]) -> Iterator[Finding]:
    """Without names the order alone pairs."""
    remedy = "give each picture its row, and each row file_name"
    if len(pictures) > len(rows):
        problem = f"{len(pictures)} pictures have {len(rows)} rows: the official run dies there"
        yield Finding(str(key), problem, remedy)
    elif len(pictures) < len(rows):
        problem = f"{len(rows)} rows have {len(pictures)} pictures: the others count as wrong"
        yield _error(key, problem, remedy)


def _class_faults(key: Path, rows: Sequence[_Row]) -> Iterator[Finding]:
    for row in rows:
        number = _number(row.number)
        if number is None:
            yield Finding(str(key), *_word(row.name, row.number))
        elif number not in range(len(CLASSES)):
            shown = row.number if math.isfinite(number) else "no finite number"
            problem = f"{row.name} has the class {shown}: no answer is ever right"
            yield _error(key, problem, _REMEDY)
        elif row.label and _plain(row.label) != _plain(name := CLASSES[int(number)]):
            problem = f"{row.name} is labelled {row.label!r}, and class {row.number} is {name!r}"
            yield _error(key, problem, _REMEDY)


def _plain(name: str) -> str:
    return name.casefold().replace("_", " ")


def _picture_faults(
    key: Path, rows: Sequence[_Row], pictures: Path, files: Sequence[str]
) -> Iterator[Finding]:
    for name, count in Counter(row.name for row in rows if row.name).items():
        if count > 1:
            yield _error(key, f"{name} is there {count} times", "keep one row of it")
        if not is_file(pictures / name):
            yield _error(key, f"there is no {pictures / name}", "add it or remove its row")
        elif Path(name).name != name:
            problem = "the official scripts skip it: they read what lies in images/ itself"
            yield _warning(pictures / name, problem, "move it there, and change its row")
    for name in files:
        if not name.lower().endswith(READ):
            problem = f"the official scripts skip it: they read {', '.join(READ)}"
            yield _warning(pictures / name, problem, "save it as PNG")
    listed = {row.name for row in rows}
    for row in rows:
        if not row.name:
            yield _error(key, f"row {row.line} has no file_name", "name its picture")
    for name in files:
        if name not in listed:
            yield _warning(pictures / name, "no row names this picture", "list it, or remove it")


def _order_faults(key: Path, rows: Sequence[_Row], pictures: Sequence[str]) -> Iterator[Finding]:
    """The first place where the sorted folder is not what the rows say."""
    for name, row in zip_longest(pictures, rows):
        if row is None:
            found = f"{name} has no row, and the run dies"
        elif name is None:
            found = f"row {row.line}, {row.name}, has no picture, and counts as wrong"
        elif name == row.name:
            continue
        else:
            found = f"row {row.line}, {row.name}, gets {name}"
        problem = f"the official scripts pair rows with the sorted folder by order: {found}"
        yield _warning(key, problem, "sort the rows by name, and keep in images/ what they list")
        return
