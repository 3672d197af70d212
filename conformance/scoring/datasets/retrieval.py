"""Retrieval: `img_list.csv`, `txt_list.csv` and `images/`.

`img_list.csv` has Image_names and Text_nums, the ids of its texts separated by `;`;
`txt_list.csv` has Text_nums and Unique_Texts. Source: 26LPCVC_Track1_Sample_Solution.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from conformance.scoring.datasets.files import read_table, subfolder
from conformance.scoring.datasets.items import Finding, Index, Item

PICTURE_SIZE = None
_INT16_MAX = 32767

Rows = list[dict[str, str] | None]


def index(folder: Path) -> Index:
    """An item for each picture, whose truth is the ids of its texts, and one for each text."""
    image_list, text_list = folder / "img_list.csv", folder / "txt_list.csv"
    images = read_table(image_list, ("Image_names", "Text_nums"))
    texts = read_table(text_list, ("Text_nums", "Unique_Texts"))
    pictures = subfolder(folder, "images")
    findings = [
        *_blank(image_list, images),
        *_blank(text_list, texts),
        *_text_faults(text_list, texts),
        *_image_faults(image_list, images, pictures, {row["Text_nums"] for row in texts if row}),
    ]
    items = [
        Item(
            row["Image_names"],
            "image",
            row["Image_names"],
            pictures / row["Image_names"],
            truth=_ids(row),
            where=str(image_list),
        )
        for row in images
        if row
    ]
    items += [
        Item(row["Text_nums"], "text", row["Text_nums"], text=row.get("Unique_Texts", ""))
        for row in texts
        if row
    ]
    files = [item.image for item in items if item.image is not None and item.image.is_file()]
    return Index(tuple(items), frozenset([image_list, text_list, *files]), tuple(findings))


def truth(item: Item) -> tuple[str, ...] | None:
    """The ids of the texts of a picture, in the list's order; None for a text."""
    ids: tuple[str, ...] | None = item.truth
    return ids


def _ids(row: dict[str, str]) -> tuple[str, ...]:
    return tuple(
        cell.strip() for cell in row.get("Text_nums", "").strip(";").split(";") if cell.strip()
    )


def _blank(path: Path, rows: Rows) -> Iterator[Finding]:
    # A blank line at the very end is no row.
    for number, row in enumerate(rows[:-1], 2):
        if row is None:
            problem = f"row {number} is blank; the official code drops it and shifts all after it"
            yield Finding(str(path), problem, "remove the row")


def _text_faults(path: Path, rows: Rows) -> Iterator[Finding]:
    counts = Counter(row["Text_nums"] for row in rows if row)
    for id, count in counts.items():
        if not id.isascii() or not id.isdigit():
            yield Finding(str(path), f"the text id {id!r} is no number", "number texts from 0")
        elif int(id) > _INT16_MAX:
            problem = f"the text id {id} is above {_INT16_MAX}: read as int16 it matches nothing"
            yield Finding(str(path), problem, "number texts from 0")
        if count > 1:
            yield Finding(str(path), f"the text id {id} is there {count} times", "give each its id")
    for number, row in enumerate(rows, 2):
        if row and not row.get("Unique_Texts"):
            yield Finding(str(path), f"row {number} has no text", "write one, or remove the row")


def _image_faults(path: Path, rows: Rows, pictures: Path, known: set[str]) -> Iterator[Finding]:
    listed = [row for row in rows if row]
    counts = Counter(row["Image_names"] for row in listed)
    for row in listed:
        name, ids = row["Image_names"], _ids(row)
        if counts[name] > 1:
            yield Finding(str(path), f"{name} is there {counts[name]} times", "keep one row of it")
        if not (pictures / name).is_file():
            yield Finding(str(path), f"there is no {pictures / name}", "add it or remove its row")
        if not ids:
            yield Finding(str(path), f"{name} has no texts", "give it one, or remove its row")
        for id in dict.fromkeys(ids):
            if id not in known:
                problem = f"{name} has the text {id}, which txt_list.csv lacks"
                yield Finding(str(path), problem, "add the text or take its id away")
        if len(set(ids)) < len(ids):
            problem = f"{name} lists a text twice: its recall cannot reach 1"
            yield Finding(str(path), problem, "list each text once", fatal=False)
    unlisted = {file.name for file in pictures.iterdir() if file.is_file()} - counts.keys()
    for name in sorted(unlisted):
        problem = "this picture is not in img_list.csv"
        yield Finding(str(pictures / name), problem, "list it, or remove it", fatal=False)
    if listed and all(row.get("Text_nums", "").isdigit() for row in listed):
        problem = "every picture has one text: the official code reads numbers, not lists, and dies"
        yield Finding(str(path), problem, "give one picture two texts", fatal=False)
