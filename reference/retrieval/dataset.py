"""Retrieval: `img_list.csv`, `txt_list.csv` and `images/`.

`img_list.csv` has Image_names and Text_nums, the ids of its texts separated by `;`;
`txt_list.csv` has Text_nums and Unique_Texts. Source: 26LPCVC_Track1_Sample_Solution.

Here pictures and texts go by name and id. The official scripts go by order: `upload_dataset.py`
feeds the sorted folder and the texts that pandas finds, `inference.py` takes the rows as they are.
Where the two differ there is a finding, and the data set is scored all the same.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path

from reference.datasets.expected import Figure, about
from reference.datasets.files import EMPTY_CELLS, is_file, read_table, subfolder
from reference.datasets.items import Finding, Index, Item

_PAGE = "LPCVC 2026 Track 1 rules page (draft), section 4.1"
_INT16 = range(-(2**15), 2**15)
# What `upload_dataset.py` reads of a folder, in capitals too.
READ = (".jpeg", ".jpg", ".png", ".webp")
_DIES = "the official run dies there"
_IMAGE_COLUMNS = ("Image_names", "Text_nums")
_TEXT_COLUMNS = ("Text_nums", "Unique_Texts")

Row = dict[str, str]
Rows = list[Row | None]


def index(folder: Path) -> Index:
    """An item for each picture, whose truth is the ids of its texts, and one for each text.

    The `group` of a text is its id, that of a picture its name: rows may share one.
    """
    image_list, text_list = folder / "img_list.csv", folder / "txt_list.csv"
    images = read_table(image_list, _IMAGE_COLUMNS)
    texts = read_table(text_list, _TEXT_COLUMNS)
    pictures = subfolder(folder, "images")
    items: list[Item] = []
    seen: Counter[str] = Counter()
    for number, row in _rows(images):
        name, ids = row["Image_names"], _ids(row)
        if ids:
            id = _unique(name, number, seen)
            items.append(Item(id, "image", name, pictures / name, truth=ids, where=str(image_list)))
    seen.clear()
    for number, row in _rows(texts):
        if text := row.get("Unique_Texts", ""):
            id = _unique(row["Text_nums"], number, seen)
            items.append(Item(id, "text", row["Text_nums"], text=text))
    findings = [
        *_list_faults(image_list, images, _IMAGE_COLUMNS),
        *_list_faults(text_list, texts, _TEXT_COLUMNS),
        *_text_faults(text_list, texts),
        *_image_faults(image_list, images, {_key(row["Text_nums"]) for _, row in _rows(texts)}),
        *_picture_faults(image_list, images, pictures),
    ]
    files = [item.image for item in items if item.image is not None and is_file(item.image)]
    return Index(tuple(items), frozenset([image_list, text_list, *files]), tuple(findings))


def truth(item: Item) -> tuple[str, ...] | None:
    """The ids of the texts of a picture, in the list's order; None for a text."""
    ids: tuple[str, ...] | None = item.truth
    return ids


def expected(items: Sequence[Item], sizes: Sequence[float]) -> list[Figure]:
    """Beside "approximately ~300 RGB images", each "accompanied by several text descriptions"."""
    pictures = [item for item in items if item.part == "image"]
    counts = [len(item.truth) for item in pictures]
    several = min(counts, default=0) > 1
    seen = " to ".join(map(str, sorted({min(counts, default=0), max(counts, default=0)})))
    return [
        about("pictures", len(pictures), 300, _PAGE),
        Figure("texts a picture", seen, "several", several, _PAGE),
    ]


def number_of(id: str) -> int | None:
    """The number that a text id is, before int16 cuts it; None for another word."""
    for read in (int, float):
        with suppress(ValueError):
            value = read(id)
            return int(value) if abs(value) < 2**63 else None
    return None


def _rows(rows: Rows) -> Iterator[tuple[int, Row]]:
    """The rows that are not blank, with their lines in the file."""
    return ((number, row) for number, row in enumerate(rows, 2) if row)


def _unique(name: str, row: int, seen: Counter[str]) -> str:
    seen[name] += 1
    return name if seen[name] == 1 and name else f"{name} (row {row})".strip()


def _ids(row: Row) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in row.get("Text_nums", "").split(";") if cell.strip())


def _key(id: str) -> int | str:
    number = number_of(id)
    return id if number is None else number


def _error(file: Path, problem: str, remedy: str) -> Finding:
    return Finding(str(file), problem, remedy, scored=True)


def _warning(file: Path, problem: str, remedy: str) -> Finding:
    return Finding(str(file), problem, remedy, fatal=False)


def _list_faults(path: Path, rows: Rows, columns: tuple[str, ...]) -> Iterator[Finding]:
    for number, row in enumerate(rows[:-1], 2):  # a blank line at the very end is no row
        if row is None:
            yield _error(path, f"row {number} is blank; the official code drops it", "remove it")
    heading = [*next((row for row in rows if row), dict.fromkeys(columns))]
    if tuple(heading[:2]) != columns:
        problem = f"the columns are {', '.join(heading)}: the official code goes by their order"
        yield _error(path, problem, f"let its first row be {','.join(columns)}")


def _text_faults(path: Path, rows: Rows) -> Iterator[Finding]:
    counts = Counter(row["Text_nums"] for _, row in _rows(rows))
    for id in counts:
        number = number_of(id)
        if number is None and id:
            yield _error(path, f"the text id {id!r} is no number: {_DIES}", "number texts from 0")
        elif number is not None and number not in _INT16:
            bound = f"above {_INT16[-1]}" if number > 0 else f"below {_INT16[0]}"
            read = (number - _INT16[0]) % len(_INT16) + _INT16[0]
            problem = f"the text id {id} is {bound}: read as int16 it is {read}"
            yield _error(path, problem, "number texts from 0")
    for key, count in Counter(_key(id) for id in counts.elements() if id).items():
        if count > 1:
            yield _error(path, f"the text id {key} is there {count} times", "give each its id")
    for number, row in _rows(rows):
        text = row.get("Unique_Texts", "")
        shift = "the official code drops it, and pairs all texts after it with other ids"
        if not text:
            yield _error(path, f"row {number} has no text: {shift}", "write one, or remove the row")
        elif text in EMPTY_CELLS:
            problem = f"row {number} has the text {text!r}, which pandas takes for none: {shift}"
            yield _error(path, problem, "write another, or remove the row")
        if not row["Text_nums"]:
            problem = f"row {number} has no text id: the official code drops that, and pairs all"
            yield _error(path, f"{problem} ids after it with other texts", "give it one")


def _image_faults(path: Path, rows: Rows, known: set[int | str]) -> Iterator[Finding]:
    counts = Counter(row["Image_names"] for _, row in _rows(rows))
    for name, count in counts.items():
        if count > 1:
            yield _error(path, f"{name} is there {count} times", "keep one row of it")
    for _, row in _rows(rows):
        name, cell, ids = row["Image_names"], row.get("Text_nums", ""), _ids(row)
        if not ids:
            problem = f"{name} has no texts: the official code drops the row, and pairs all after"
            yield _error(path, f"{problem} it otherwise", "give it one, or remove its row")
            continue
        bad = [piece.strip() for piece in cell.split(";") if not _is_whole(piece)]
        if bad:
            problem = f"{name} lists {cell!r}, and {bad[0]!r} is no whole number: {_DIES}"
            yield _error(path, problem, "list numbers with ; between them and none at the ends")
        for id in dict.fromkeys(ids):
            if _key(id) not in known:
                problem = f"{name} has the text {id}, which txt_list.csv lacks"
                yield _error(path, problem, "add the text or take its id away")
        if len(set(map(_key, ids))) < len(ids):
            problem = f"{name} lists a text twice: its recall cannot reach 1"
            yield _warning(path, problem, "list each text once")
    cells = [cell for _, row in _rows(rows) if (cell := row.get("Text_nums", ""))]
    if cells and all(number_of(cell) is not None for cell in cells):
        problem = "every picture has one text: the official code reads numbers, not lists, and dies"
        yield _warning(path, problem, "give one picture two texts")


def _picture_faults(path: Path, rows: Rows, pictures: Path) -> Iterator[Finding]:
    """What is listed and not there, or not read, or the other way about; and the order of it."""
    listed = dict.fromkeys(row["Image_names"] for _, row in _rows(rows))
    for name in listed:
        if not is_file(pictures / name):
            yield _error(path, f"there is no {pictures / name}", "add it or remove its row")
        elif not name.lower().endswith(READ):
            problem = f"the official scripts skip it: they read {', '.join(READ)}"
            yield _warning(pictures / name, problem, "save it as PNG, and change its row")
        elif Path(name).name != name:
            problem = "the official scripts skip it: they read what lies in images/ itself"
            yield _warning(pictures / name, problem, "move it there, and change its row")
    files = sorted(file.name for file in pictures.iterdir() if file.is_file())
    for name in files:
        if name not in listed:
            yield _warning(
                pictures / name, "this picture is not in img_list.csv", "list it, or remove it"
            )
    read = [name for name in files if name.lower().endswith(READ)]
    taken = [(number, row["Image_names"]) for number, row in _rows(rows) if _ids(row)]
    for file, row in zip_longest(read, taken):
        if row is None:
            found = f"{file} has no row"
        elif file is None:
            found = f"row {row[0]}, {row[1]}, has no picture"
        elif file == row[1]:
            continue
        else:
            found = f"row {row[0]}, {row[1]}, gets {file}"
        ends = (
            f", and the run dies, with {len(read)} pictures for {len(taken)} rows"
            if len(read) > len(taken)
            else ""
        )
        problem = f"the official scripts pair rows with the sorted folder by order: {found}{ends}"
        yield _warning(path, problem, "sort the rows by name, and keep in images/ what they list")
        return


def _is_whole(piece: str) -> bool:
    try:
        int(piece)
    except ValueError:
        return False
    return True
