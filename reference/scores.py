"""What the scores of the tracks share: what `METRIC` of the room `metric` is made of, pairing two
data sets, and refusing to average nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from reference.datasets.items import Item
from reference.errors import SubmissionError

Array = npt.NDArray[Any]
# Words for the report, each with the one that its line begins with.
Remarks = tuple[tuple[str, str], ...]

# The loop that numba compiles at this moment, then what it calls; `reference.kernels` tells.
COMPILING: list[str] = []

Prediction = TypeVar("Prediction")
Truth = TypeVar("Truth")
Counted = TypeVar("Counted")


@dataclass(frozen=True)
class Scored:
    """One item's numbers; `array` is what a data set needs beside them, `note` what is odd."""

    numbers: Mapping[str, float] = field(default_factory=dict)
    array: Array | None = None
    note: str = ""


@dataclass(frozen=True)
class Result:
    """What became of one item: numbers, and an embedding or a confusion matrix in `array`.

    `error` says why there is no answer; `note` what is odd about it. `seconds` are the host's,
    preparation and metric included.
    """

    item: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    array: Array | None = None
    error: str = ""
    note: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Headline:
    """The number of a data set: its name, the column of the items that it is made of, the higher
    the better, and what that is multiplied by.

    It is the mean of the column, or with `pooled` that of the items' arrays added up: from sums
    (N, ...) to N numbers. `chance` is what a model scores on the items on average, in the column's
    unit, that says nothing of its inputs.
    """

    name: str
    column: str
    scale: float = 1.0
    pooled: Callable[[Array], Array] | None = None
    chance: Callable[[Sequence[Item]], float] | None = None


@dataclass(frozen=True)
class Measure:
    """How an item is scored: `score(prediction, truth)`, both as the track has them.

    `version` changes whenever a number could: results of another version are not used again.
    """

    version: str
    score: Callable[[Array, Any], Scored]


@dataclass(frozen=True)
class Joined:
    """The results of the first part's items, and what is remarked of them together."""

    results: Sequence[Result]
    remarks: Remarks = ()


@dataclass(frozen=True)
class Joint:
    """How several parts make the scores together: `score(items, results)`, both by part."""

    version: str
    score: Callable[[Mapping[str, Sequence[Item]], Mapping[str, Iterable[Result]]], Joined]


@dataclass(frozen=True)
class OfClass:
    """The score of one class, in the unit of the headline's column; NaN for one that is nowhere.
    So many `items` have it in their truth.
    """

    name: str
    value: float
    items: int


# From the items that have an answer, each with what became of it.
ByClass = Callable[[Sequence[tuple[Item, Result]]], Sequence[OfClass]]


@dataclass(frozen=True)
class Metric:
    """From answers to the number of a data set. Without `joint` the first part's items have it.

    `classes` are the scores class by class, where the track has any.
    """

    headline: Headline
    measure: Measure
    joint: Joint | None = None
    classes: ByClass | None = None


def means_by(class_of: Callable[[Item], str], column: str) -> ByClass:
    """The mean of a column over the items of each class; those whose class is not said are left
    out.
    """

    def classes(found: Sequence[tuple[Item, Result]]) -> list[OfClass]:
        values: dict[str, list[float]] = {}
        for item, result in found:
            if name := class_of(item):
                values.setdefault(name, []).append(result.numbers[column])
        return [OfClass(name, float(np.mean(own)), len(own)) for name, own in values.items()]

    return classes


def pairs(
    predictions: Iterable[Prediction], truths: Iterable[Truth]
) -> Iterator[tuple[Prediction, Truth]]:
    """Each prediction with its truth, in order. Raises SubmissionError where one side ends first.

    The depth evaluator's `zip` drops what is left over and scores the rest.
    """
    end = object()
    left, right = iter(predictions), iter(truths)
    count = 0
    while True:
        prediction, truth = next(left, end), next(right, end)
        if prediction is end and truth is end:
            return
        if prediction is end or truth is end:
            short, long = (
                ("predictions", "truths") if prediction is end else ("truths", "predictions")
            )
            raise SubmissionError(
                f"there are {count} {short} and more {long}",
                "give one prediction for each truth, in the same order",
            )
        count += 1
        yield prediction, truth  # type: ignore[misc]


def not_finite(array: Array) -> str:
    """`12 of 307200 values are not finite`, empty where all are."""
    if array.dtype.kind != "f" or (count := int((~np.isfinite(array)).sum())) == 0:
        return ""
    return f"{count} of {array.size} values are not finite"


def at_least_one(items: Sequence[Counted]) -> Sequence[Counted]:
    """`items`. Raises SubmissionError where there are none: no score has a mean then."""
    if not items:
        raise SubmissionError("nothing was scored", "give at least one prediction and its truth")
    return items
