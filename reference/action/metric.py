"""Top-1 and Top-5 accuracy of the action track, as the organisers compute them.

Source: 26LPCVC_Track2_Sample_Solution, evaluate.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reference.action.contract import CLASSES
from reference.action.dataset import Truth
from reference.errors import SubmissionError
from reference.scores import Headline, Measure, Metric, Scored, at_least_one, means_by, not_finite

Array = npt.NDArray[Any]

BEST = 5


@dataclass(frozen=True)
class Accuracy:
    """Percent of a data set whose likeliest class is right, or one of whose likeliest five is."""

    top1: float
    top5: float


def softmax(logits: Array) -> npt.NDArray[np.float32]:
    """Of logits (N, C), row by row, in float32."""
    rows = np.asarray(logits, np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        powers = np.exp(rows - rows.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def places(logits: Array, labels: Sequence[int]) -> npt.NDArray[np.int64]:
    """The place of the right class among those of its row (N, C), 0 for the likeliest.

    Of probabilities that float32 makes equal the lower class comes first; torch, which the
    evaluator asks, puts them in no order that is documented. C where a row is not a number.
    """
    chances = softmax(logits)
    right = chances[np.arange(len(chances)), labels][:, None]
    numbers = np.arange(chances.shape[1])
    before = (chances > right) | ((chances == right) & (numbers < np.array(labels)[:, None]))
    lost = np.isnan(chances).any(axis=1)
    return np.asarray(np.where(lost, chances.shape[1], before.sum(axis=1)), np.int64)


def accuracy(logits: Array, labels: Sequence[int]) -> Accuracy:
    """The score of logits (N, C), held against the classes of the manifest in that order.

    Labels beyond the logits are cut, as the evaluator does for partial results. Raises
    SubmissionError where it ends: for more logits than labels, and for none.
    """
    at_least_one(labels)
    if not len(logits) or len(logits) > len(labels):
        raise SubmissionError(
            f"there are {len(logits)} answers and {len(labels)} rows in the manifest",
            "let one run make both: the official evaluator cuts surplus rows, and ends at surplus"
            " answers",
        )
    found = places(logits, labels[: len(logits)])
    return Accuracy(*(100 * float(np.mean(found < best)) for best in (1, BEST)))


def _scored(prediction: Array, truth: Truth) -> Scored:
    row = prediction.reshape(1, -1)
    (place,) = places(row, [truth.number])
    numbers = {"top1": float(place < 1), "top5": float(place < BEST)}
    if truth.elsewhere is not None:  # what a model scores that was trained in that order
        numbers["top1_by_class_labels"] = float(places(row, [truth.elsewhere])[0] < 1)
    return Scored(numbers, note=not_finite(prediction) or _tied(row, truth.number))


def _tied(row: Array, label: int) -> str:
    """Where the order of equal probabilities decides whether the answer is right."""
    chances = softmax(row)[0]
    above = int((chances > chances[label]).sum())
    equal = int((chances == chances[label]).sum())
    decided = any(above < best < above + equal for best in (1, BEST))
    if not decided:
        return ""
    return f"{equal} classes are equally likely, {CLASSES[label]} among them"


METRIC = Metric(
    Headline("Top-1", "top1", 100.0, chance=lambda items: 1 / len(CLASSES)),
    Measure("Top-1 and Top-5 1", _scored),
    classes=means_by(lambda item: CLASSES[item.truth.number].replace("_", " "), "top1"),
)
