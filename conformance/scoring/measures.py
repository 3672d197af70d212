"""The metric of each track for one item, and how items become the number of a data set."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reference.errors import SubmissionError
from reference.tracks import Track


@dataclass(frozen=True)
class Scored:
    """One item's numbers; `array` is what a data set needs beside them, `note` what is odd."""

    numbers: Mapping[str, float] = field(default_factory=dict)
    array: np.ndarray | None = None
    note: str = ""


@dataclass(frozen=True)
class Measure:
    """How an item is scored: `score(prediction, truth)`, both as the track has them.

    `version` changes whenever a number could: results of another version are not used again.
    """

    version: str
    score: Callable[[np.ndarray, Any], Scored]


@dataclass(frozen=True)
class Headline:
    """The number of the track: its name, its column, and what the column is multiplied by."""

    name: str
    column: str
    scale: float = 1.0


HEADLINES = {
    "segmentation": Headline("mIoU", "iou", 100.0),
    "depth": Headline("F-score", "f_score"),
    "retrieval": Headline("Recall@10", "recall", 100.0),
    "pidnet": Headline("mIoU of 19 classes", "miou"),
}


def measure_of(track: Track, part: str) -> Measure:
    """How the answers of a part are scored."""
    return _MEASURES[track.name, "" if len(track.parts) == 1 else part]


def _segmentation(prediction: np.ndarray, truth: np.ndarray) -> Scored:
    from reference.segmentation.metric import score

    numbers = {
        "iou": score(prediction, truth, rule="evaluator").iou,
        "iou_page": score(prediction, truth, rule="page").iou,
    }
    return Scored(numbers, note=_not_finite(prediction))


def _depth(prediction: np.ndarray, truth: Any) -> Scored:
    from reference.depth.metric import score

    official = score(prediction, truth.depth, truth.confidence, variant="official")
    corrected = score(prediction, truth.depth, truth.confidence, variant="corrected")
    numbers = {**vars(official), "f_score_corrected": corrected.f_score}
    return Scored(numbers, note=_not_finite(prediction))


def _classes(prediction: np.ndarray, truth: np.ndarray) -> Scored:
    from reference.pidnet.metric import Confusion

    confusion = Confusion()
    confusion.add(prediction, truth)
    numbers = {"miou": confusion.score().miou}
    return Scored(numbers, confusion.matrix, _not_finite(prediction))


def _embedding(prediction: np.ndarray, truth: object) -> Scored:
    embedding = prediction.reshape(-1).astype(np.float32)
    if not np.isfinite(embedding).all():
        raise SubmissionError(
            f"the embedding has a NaN or infinity: {_not_finite(prediction)}",
            "the official run dies there: look for 0/0 and overflow in the model",
        )
    if not embedding.any():
        raise SubmissionError(
            "the embedding is all zeros", "the official run dies there: it cannot be normalised"
        )
    return Scored(array=embedding)


def _not_finite(array: np.ndarray) -> str:
    if array.dtype.kind != "f" or (count := int((~np.isfinite(array)).sum())) == 0:
        return ""
    return f"{count} of {array.size} values are not finite"


_EMBED = Measure("embedding 1", _embedding)
_MEASURES: dict[tuple[str, str], Measure] = {
    ("segmentation", ""): Measure("IoU 1", _segmentation),
    ("depth", ""): Measure("F-score 1", _depth),
    ("pidnet", ""): Measure("confusion 1", _classes),
    ("retrieval", "image"): _EMBED,
    ("retrieval", "text"): _EMBED,
}
