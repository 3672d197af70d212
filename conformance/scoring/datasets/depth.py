"""Depth: `raw/` (uint16 PNG, millimetres), `conf/` (uint8 PNG, 0, 1 or 2) and `images/`.

The three have the same file names. Source: 25LPCVC_Evaluations, Track_3.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from conformance.scoring.datasets.files import PICTURES, by_stem, read_grey, subfolder, unpaired
from conformance.scoring.datasets.items import Finding, Index, Item
from reference.depth.inputs import HEIGHT, WIDTH
from reference.errors import SubmissionError

PICTURE_SIZE = (WIDTH, HEIGHT)
_LEVELS = 3


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
