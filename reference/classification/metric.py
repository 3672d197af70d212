"""Accuracy of the classification track, as the organisers compute it.

Source: 25LPCVC_Evaluations, Track_1, evaluate_track1.py.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reference.classes import name_of
from reference.classification.contract import CLASSES
from reference.datasets.items import Item
from reference.errors import SubmissionError
from reference.scores import (
    Headline,
    Joined,
    Joint,
    Measure,
    Metric,
    Remarks,
    Result,
    Scored,
    at_least_one,
    means_by,
    not_finite,
)

Array = npt.NDArray[Any]

CHANCE = 1 / len(CLASSES)


@dataclass(frozen=True)
class Accuracy:
    """How many answers are right, of how many rows of the truth; and the class of each answer."""

    correct: int
    total: int
    classes: tuple[int, ...]

    @property
    def fraction(self) -> float:
        """The score, 0 to 1."""
        return self.correct / self.total


def softmax(logits: Array) -> Array:
    """Of all values of an array together, in its own precision: as scipy.special.softmax."""
    with np.errstate(invalid="ignore"):
        powers = np.exp(logits - np.amax(logits, keepdims=True))
        return np.asarray(powers / np.sum(powers, keepdims=True))


def predicted(logits: Array) -> int:
    """The class that the evaluator takes of one answer of any shape: the largest of its softmax.

    That is the first one of those that rounding makes equal, and class 0 where a value is NaN or
    +inf, for the whole softmax is NaN then.
    """
    return int(np.argmax(softmax(logits)))


def accuracy(answers: Iterable[Array], truth: Sequence[float]) -> Accuracy:
    """The score of answers, each 64 logits, held against the classes of `truth` in that order.

    A row of truth beyond the answers counts as wrong. Raises SubmissionError where the official run
    dies: for more answers than rows, and without any row.
    """
    at_least_one(truth)
    classes = tuple(predicted(np.asarray(answer)) for answer in answers)
    if len(classes) > len(truth):
        raise SubmissionError(
            f"there are {len(classes)} answers and {len(truth)} rows of truth: the official run"
            f" dies at answer {len(truth)}, counted from 0",
            "give each picture its row, in the order of the sorted folder",
        )
    pairs = zip(classes, truth, strict=False)
    return Accuracy(sum(found == wanted for found, wanted in pairs), len(truth), classes)


def _scored(prediction: Array, truth: float) -> Scored:
    right = predicted(prediction) == truth
    return Scored({"correct": float(right)}, prediction.reshape(-1), not_finite(prediction))


def _together(
    items: Mapping[str, Sequence[Item]], results: Mapping[str, Iterable[Result]]
) -> Joined:
    (own,) = results.values()
    found = list(own)
    return Joined(found, _remarks([result for result in found if result.array is not None]))


def _remarks(results: Sequence[Result]) -> Remarks:
    """Which class is answered most, for that shows a model that says nothing of its pictures."""
    if not results:
        return ()
    counts = Counter(predicted(np.asarray(result.array)) for result in results)
    (most, times), *_ = counts.most_common(1)
    name = CLASSES[most] if most < len(CLASSES) else f"class {most}"
    return (
        (
            "classes",
            f"{name} is answered {times} of {len(results)} times, the most; {len(counts)} of"
            f" {len(CLASSES)} classes are",
        ),
    )


METRIC = Metric(
    Headline("accuracy", "correct", 100.0, chance=lambda items: CHANCE),
    Measure("accuracy 1", _scored),
    Joint("accuracy 1 joined", _together),
    means_by(lambda item: name_of(float(item.truth), CLASSES), "correct"),
)
