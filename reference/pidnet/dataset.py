"""Cityscapes folders: `leftImg8bit/SPLIT/CITY/` and `gtFine/SPLIT/CITY/`, split val if it is there.

Truth is `*_gtFine_labelTrainIds.png`, or `*_gtFine_labelIds.png`, which is mapped.
"""

from pathlib import Path

import numpy as np

from reference.datasets.files import read_grey, subfolder, unpaired
from reference.datasets.items import Finding, Index, Item
from reference.errors import SubmissionError
from reference.pidnet.inputs import HEIGHT, WIDTH

PICTURE_SIZE = (WIDTH, HEIGHT)
IGNORE = 255
CLASSES = 19

# The labels with a train id, in its order. Source: cityscapesscripts, helpers/labels.py.
_EVALUATED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
_LABELS = 34
TRAIN_IDS = np.full(256, IGNORE, np.uint8)
TRAIN_IDS[list(_EVALUATED)] = np.arange(CLASSES)


def index(folder: Path) -> Index:
    """An item for each frame that has labels."""
    frames, labels = subfolder(folder, "leftImg8bit"), subfolder(folder, "gtFine")
    split = _split(frames)
    images = _named(frames / split, "_leftImg8bit")
    truths = {
        **_named(labels / split, "_gtFine_labelIds"),
        **_named(labels / split, "_gtFine_labelTrainIds"),
    }
    findings: list[Finding] = [*unpaired({"frame": images, "label": truths})]
    items = tuple(
        Item(name, "model", name, images[name], truth=truths[name], where=str(truths[name]))
        for name in images
        if name in truths
    )
    files = frozenset([*images.values(), *truths.values()])
    return Index(items, files, tuple(findings))


def truth(item: Item) -> np.ndarray:
    """Train ids, uint8 (height, width), 0..18 and 255 for what is ignored.

    Raises SubmissionError for labels that are neither ids nor train ids.
    """
    path: Path = item.truth
    labels = read_grey(path, "uint8")
    trained = path.stem.endswith("TrainIds")
    allowed = CLASSES if trained else _LABELS
    strange = labels[(labels >= allowed) & (labels != IGNORE)]
    if strange.size:
        raise SubmissionError(
            f"{path} holds {int(strange[0])}, and labels are 0..{allowed - 1} or {IGNORE}",
            "save the labels as they are, not their colours",
        )
    return labels if trained else TRAIN_IDS[labels]


def _split(frames: Path) -> str:
    splits = sorted(path.name for path in frames.iterdir() if path.is_dir())
    if "val" in splits:
        return "val"
    if len(splits) != 1:
        raise SubmissionError(
            f"{frames} has the splits {', '.join(splits) or 'none'} and no val",
            "keep the split to score on alone, or call it val",
        )
    return splits[0]


def _named(folder: Path, ending: str) -> dict[str, Path]:
    """The PNG files below `folder` that end so, by what stands before it."""
    return {path.stem.removesuffix(ending): path for path in sorted(folder.rglob(f"*{ending}.png"))}
