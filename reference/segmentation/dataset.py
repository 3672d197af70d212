"""Segmentation: `images/` with masks and texts, as `texts.json` or in the way of RefCOCO.

`texts.json` is a list of {"image": NAME, "mask": MASK, "texts": [TEXT, ...]}, where "class": NAME
may stand beside. MASK is a file of `masks/` (.npy, or .png of one channel, both 0 and 1) or a COCO
segmentation: polygons, or RLE, compressed or not. RefCOCO's way is `instances.json` (COCO) and
`refs.json`, the list that RefCOCO has as a pickle: {"ann_id": ID, "sentences": [{"raw": TEXT},
...]}; without it an annotation's text is the name of its category.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from reference.arrays import read_npy
from reference.datasets.expected import Figure, about, balanced, between
from reference.datasets.files import is_file, read_grey, read_json, subfolder
from reference.datasets.items import Finding, Index, Item
from reference.errors import SubmissionError
from reference.install import install_command
from reference.segmentation.inputs import CANVAS, letterbox

_PAGE = "LPCVC 2025 Track 2 rules page, section 4.1"
_README = "README of the winner SICer, section 3, after the organisers'"
# Of the canvas, from which on a mask is medium and large; of words, a phrase and a sentence.
_SHARES, _SIZES = (0.01, 0.1), ("small", "medium", "large")
_WORDS, _WORDINGS = (2, 6), ("keywords", "phrases", "sentences")
_SIDEWAYS = {5, 6, 7, 8}  # EXIF orientations that swap width and height


@dataclass(frozen=True)
class Mask:
    """Where a mask is: the `source`, a file or a COCO segmentation, and the picture it is of.

    `category` is the class of what it covers, empty where the lists do not say.
    """

    source: Any
    picture: Path
    category: str = ""


@dataclass(frozen=True)
class _Entry:
    """A mask and its texts as the lists name them."""

    id: str
    image: str
    source: Any
    texts: list[str]
    category: str = ""


def index(folder: Path) -> Index:
    """An item for each text of each mask of each picture."""
    pictures = subfolder(folder, "images")
    lists, entries = _entries(folder)
    items: list[Item] = []
    files = {*lists}
    seen = Counter(entry.id for entry in entries)
    findings = [
        Finding(str(lists[0]), f"the mask {id} is there {count} times", "list it once")
        for id, count in seen.items()
        if count > 1
    ]
    for entry in sorted(entries, key=lambda entry: entry.image):
        picture, source, where = pictures / entry.image, entry.source, lists[0]
        needed = [picture]
        if isinstance(source, str):
            source = where = folder / "masks" / source
            needed.append(source)
        missing = [path for path in needed if not is_file(path)]
        for path in missing:
            findings.append(
                Finding(str(path), "it is listed and not there", "add it, or unlist it")
            )
        if missing:
            continue
        if not entry.texts or not all(text.strip() for text in entry.texts):
            problem = f"the mask {entry.id} has no text, or an empty one"
            findings.append(Finding(str(lists[0]), problem, "write one, or remove the mask"))
        files.update(needed)
        mask = Mask(source, picture, entry.category)
        items += [
            Item(f"{entry.id}#{n}", "model", entry.image, picture, text, mask, str(where))
            for n, text in enumerate(entry.texts)
        ]
    for path in sorted(pictures.iterdir()):
        if path not in files and path.is_file():
            problem = "no mask is of this picture"
            findings.append(Finding(str(path), problem, "remove it, or add a mask", fatal=False))
    return Index(tuple(items), frozenset(files), tuple(dict.fromkeys(findings)))


def truth(item: Item) -> np.ndarray:
    """The mask in the canvas, uint8 0 and 1, (1024, 1024).

    One of the canvas's size is taken as it is; one of the picture's size is resized as the
    organisers resize the picture, to the nearest pixel, which is this project's choice, and padded.
    Raises SubmissionError for a mask of another size or with other values.
    """
    mask: Mask = item.truth
    array = _read(mask)
    if array.shape == (CANVAS, CANVAS):
        return array
    size = _upright(mask.picture)
    if array.shape != size:
        raise SubmissionError(
            f"{item.where}: the mask of {item.id} is {array.shape}, its picture is {size}",
            f"make it of the picture's size, or {CANVAS}x{CANVAS}",
        )
    import cv2

    height, width = letterbox(size)
    canvas = np.zeros((CANVAS, CANVAS), np.uint8)
    canvas[:height, :width] = cv2.resize(array, (width, height), interpolation=cv2.INTER_NEAREST)
    return canvas


def size_of(truth: np.ndarray) -> float:
    """The share of the canvas that a mask covers."""
    return float((truth > 0).mean())


def expected(items: Sequence[Item], sizes: Sequence[float]) -> list[Figure]:
    """Beside "approximately 1000 RGB images from around 200 classes", with 3 to 5 masks a picture
    and 3 to 5 texts a mask, "balanced across mask sizes and categories".

    `sizes` are those of the masks that could be read. What is small, medium and large, and what a
    phrase is, the documents do not say.
    """
    masks = {item.id.rpartition("#")[0]: item for item in items}
    pictures = Counter(item.group for item in masks.values())
    texts = Counter(item.id.rpartition("#")[0] for item in items)
    classes = [item.truth.category for item in masks.values() if item.truth.category]
    kinds = Counter(_WORDINGS[bisect_right(_WORDS, len(item.text.split()))] for item in items)
    said = len(set(classes))
    return [
        about("pictures", len(pictures), 1000, _PAGE),
        about("classes", said, 200, _PAGE)
        if classes
        else Figure("classes", "not said", "about 200", None, _PAGE),
        between("masks a picture", pictures.values(), 3, 5, _README),
        between("texts a mask", texts.values(), 3, 5, _README),
        balanced("mask sizes", (_SIZES[bisect_right(_SHARES, x)] for x in sizes), _README, 3),
        balanced("masks of a class", classes, _README),
        Figure(
            "texts",
            ", ".join(f"{kinds[kind]} {kind}" for kind in _WORDINGS),
            "keywords, short phrases and detailed sentences",
            len(kinds) == len(_WORDINGS),
            _README,
        ),
    ]


def _entries(folder: Path) -> tuple[list[Path], list[_Entry]]:
    """The lists that a folder has, and what they name; raises SubmissionError."""
    lists = [folder / "texts.json"]
    read: Callable[..., Iterator[_Entry]] = _plain
    if not lists[0].is_file():
        lists, read = [folder / "instances.json"], _coco
        if not lists[0].is_file():
            raise SubmissionError(
                f"{folder} has neither texts.json nor instances.json", "write one of them"
            )
        if (folder / "refs.json").is_file():
            lists.append(folder / "refs.json")
    try:
        return lists, [*read(*map(read_json, lists))]
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise SubmissionError(
            f"{' or '.join(map(str, lists))} is not of the form expected"
            f" ({type(error).__name__}: {error})",
            "see the forms in docs/scoring.md",
        ) from None


def _plain(entries: Any) -> Iterator[_Entry]:
    for number, entry in enumerate(entries):
        source, image = entry["mask"], str(entry["image"])
        name = source if isinstance(source, str) else f"mask {number}"
        texts = [*map(str, entry["texts"])]
        yield _Entry(f"{image}/{name}", image, source, texts, str(entry.get("class", "")))


def _coco(instances: Any, refs: Iterable[Any] | None = None) -> Iterator[_Entry]:
    names = {image["id"]: str(image["file_name"]) for image in instances["images"]}
    categories = {each["id"]: str(each["name"]) for each in instances.get("categories", [])}
    texts: dict[Any, list[str]] = {}
    for ref in refs or []:
        said = (str(s.get("raw") or s["sent"]) for s in ref["sentences"])
        texts.setdefault(ref["ann_id"], []).extend(said)
    for annotation in instances["annotations"]:
        id, image = annotation["id"], names[annotation["image_id"]]
        # RefCOCO refers to some of COCO's annotations; the others have no text there.
        if refs is None or id in texts:
            own = texts.get(id) or [categories[annotation["category_id"]]]
            category = categories.get(annotation.get("category_id"), "")
            yield _Entry(f"{image}/{id}", image, annotation["segmentation"], own, category)


def _read(mask: Mask) -> np.ndarray:
    if not isinstance(mask.source, Path):
        return _decode(mask)
    path = mask.source
    if path.suffix.lower() == ".npy":
        try:
            array: np.ndarray = read_npy(path)
        except (OSError, ValueError) as error:
            raise SubmissionError(f"{path} cannot be read ({error})", "save it again") from None
    else:
        array = read_grey(path, "uint8")
    if array.ndim != 2 or array.dtype.kind not in "bui":
        raise SubmissionError(
            f"{path} is {array.dtype} {array.shape}, not a mask of integers",
            "save it as uint8 (height, width)",
        )
    if array.size and not (array.min() >= 0 and array.max() <= 1):
        raise SubmissionError(
            f"{path} holds {int(array.min())}..{int(array.max())}, and a mask holds 0 and 1:"
            " the official IoU of 255 is about 0.004",
            "save (mask > 0).astype('uint8')",
        )
    values: np.ndarray = array.astype(np.uint8)
    return values


def _decode(mask: Mask) -> np.ndarray:
    """A COCO segmentation as uint8 (height, width)."""
    try:
        from pycocotools import mask as coco
    except ImportError:
        raise SubmissionError(
            "COCO masks need pycocotools, which is not installed",
            install_command("score"),
        ) from None
    source = mask.source
    try:
        if isinstance(source, list):
            rle = coco.merge(coco.frPyObjects(source, *_upright(mask.picture)))
        elif isinstance(source["counts"], list):
            rle = coco.frPyObjects(source, *source["size"])
        else:
            rle = source
        decoded: np.ndarray = coco.decode(rle)
        return decoded
    except Exception as error:
        # It is C behind Cython: TypeError, KeyError, ValueError and plain Exception.
        raise SubmissionError(
            f"the mask of {mask.picture.name} is no COCO segmentation ({error})",
            "write polygons, or RLE with counts and size",
        ) from None


def _upright(picture: Path) -> tuple[int, int]:
    """(height, width) of a picture turned as OpenCV turns it; raises SubmissionError."""
    try:
        with Image.open(picture) as image:
            sideways = image.getexif().get(ExifTags.Base.Orientation) in _SIDEWAYS
            return image.size if sideways else (image.height, image.width)
    except Exception as error:
        raise SubmissionError(f"{picture} cannot be read: {error}", "save it again") from None
