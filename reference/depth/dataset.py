"""Depth: `raw/` (uint16 PNG, millimetres), `conf/` (uint8 PNG, 0, 1 or 2) and `images/`.

The three have the same file names. Source: 25LPCVC_Evaluations, Track_3.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from reference.datasets.files import PICTURES, by_stem, read_grey, subfolder, unpaired
from reference.datasets.items import Finding, Index, Item
from reference.depth.inputs import HEIGHT, WIDTH
from reference.errors import SubmissionError

PICTURE_SIZE = (WIDTH, HEIGHT)
_LEVELS = 3
# Pictures that `upload_dataset.py` of 25LPCVC_AIHub_Guide reads, in capitals too.
READ = (".jpeg", ".jpg", ".png")


class Files(NamedTuple):
    """Where the truth of an item is."""

    raw: Path
    confidence: Path


class Truth(NamedTuple):
    """Depth, uint16 millimetres, and confidence, uint8 0..2; both (height, width)."""

    depth: np.ndarray
    confidence: np.ndarray


def index(folder: Path) -> Index:
    """An item for each name that has all three files."""
    findings: list[Finding] = []
    images = by_stem(subfolder(folder, "images", "image", "rgb"), PICTURES, findings)
    raw = by_stem(subfolder(folder, "raw"), {".png"}, findings)
    confidence = by_stem(subfolder(folder, "conf"), {".png"}, findings)
    findings += unpaired({"image": images, "raw": raw, "conf": confidence})
    findings += _unlike_the_official(images, raw, confidence)
    if "raw" in str(folder.resolve()):
        problem = "its own path holds 'raw', and the official script cuts paths at the first one"
        findings.append(Finding(str(folder), problem, "rename that folder", fatal=False))
    items = tuple(
        Item(
            name, "model", name, images[name], truth=Files(raw[name], confidence[name]),
            where=str(raw[name]),
        )
        for name in images
        if name in raw and name in confidence
    )  # fmt: skip
    files = frozenset([*images.values(), *raw.values(), *confidence.values()])
    return Index(items, files, tuple(findings))


def _unlike_the_official(
    images: dict[str, Path], raw: dict[str, Path], confidence: dict[str, Path]
) -> Iterator[Finding]:
    """Where the official scripts, which go by order and read some files only, find other pairs."""
    for path in images.values():
        if path.suffix.lower() not in READ:
            problem = f"the official scripts skip it: they read {', '.join(READ)}"
            yield Finding(str(path), problem, "save it as PNG", fatal=False)
    for name in raw.keys() & confidence.keys():
        if raw[name].name != confidence[name].name:
            problem = f"the official script looks for conf/{raw[name].name}"
            yield Finding(str(confidence[name]), problem, "call it so", fatal=False)
    folder = next(iter(raw.values())).parent if raw else None
    # As glob("**/*") lists them: folders too, hidden files not.
    others = {*folder.rglob("[!.]*")} - {*raw.values()} if folder else set()
    for path in sorted(others):
        problem = "the official script takes everything in raw/ for a truth, this too"
        yield Finding(str(path), problem, "move it elsewhere", fatal=False)
    both = images.keys() & raw.keys()
    fed_order = sorted(both, key=lambda name: images[name].name)
    held_order = sorted(both, key=lambda name: raw[name].name)
    for fed, held in zip(fed_order, held_order, strict=True):
        if fed != held:
            problem = (
                f"the official scripts pair by order: {images[fed].name} gets {raw[held].name}"
            )
            yield Finding(str(images[fed]), problem, "give all pictures one ending", fatal=False)
            return


def truth(item: Item) -> Truth:
    """Depth and confidence; raises SubmissionError where the official script would go wrong."""
    files: Files = item.truth
    depth = read_grey(files.raw, "uint16")
    confidence = read_grey(files.confidence, "uint8")
    if depth.shape != confidence.shape:
        raise SubmissionError(
            f"{files.raw} has shape {depth.shape} and {files.confidence} {confidence.shape}",
            "make both of one size",
        )
    top = int(confidence.max(initial=0))
    if top >= _LEVELS:
        raise SubmissionError(
            f"{files.confidence} holds {top}, and confidence is 0, 1 or 2",
            "write the levels themselves, not scaled to 255",
        )
    if top == 0:
        raise SubmissionError(
            f"{files.confidence} has no pixel of confidence 1 or 2: the official run dies there",
            "take the item out of the data set",
        )
    return Truth(depth, confidence)
