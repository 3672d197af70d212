"""The IoU of the segmentation track, by the organisers' evaluator and by the rules page.

Sources: 25LPCVC_Evaluations, Track_2; rules page, section on the metric.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from reference.errors import SubmissionError
from reference.scores import Headline, Measure, Metric, Scored, at_least_one, means_by, not_finite

Rule = Literal["evaluator", "page"]
Mask = npt.NDArray[Any]

_EPSILON = 1e-6
_CUTS: dict[Rule, float] = {"evaluator": 0.5, "page": 0.0}
_UNITS: dict[Rule, int] = {"evaluator": 1, "page": 100}


@dataclass(frozen=True)
class MaskScore:
    """One pair of masks: `iou` (a fraction; by the page's rule a percentage), and its pixels.

    Two empty masks have 0, and no IoU is quite 1: the evaluator adds 1e-6 to the union.
    """

    iou: float
    intersection: int
    union: int


def score(prediction: Mask, truth: Mask, *, rule: Rule = "evaluator") -> MaskScore:
    """The score of one pair of masks.

    `prediction` is any numbers, true above 0.5 (evaluator) or above 0 (page); NaN is false.
    `truth` is bool or whole numbers, each 0 or 1. The shapes agree but for axes of 1 in front.
    Raises SubmissionError where they do not, and for a truth of 0 and 255 or of floats.
    """
    from reference.segmentation.overlap import count_overlap

    values, marks = np.ravel(prediction), _marks(truth, _shape(prediction))
    cut = np.float32(_cut(rule))
    if values.dtype != np.float32:
        values = (values > cut).astype(np.float32)
    intersection, union, bits = count_overlap(values, marks, cut)
    if bits > 1:
        raise _not_binary(truth)
    return _score(intersection, union, rule)


class MaskMean:
    """The score of a data set: the plain mean over its pairs, summed in order."""

    def __init__(self) -> None:
        self._ious: list[float] = []

    def add(self, one: MaskScore) -> None:
        """Counts one pair."""
        self._ious.append(one.iou)

    def mean(self) -> float:
        """mIoU so far, in the unit of what was added. Raises SubmissionError for nothing."""
        return sum(at_least_one(self._ious)) / len(self._ious)


def _scored(prediction: Mask, truth: Mask) -> Scored:
    numbers = {
        "iou": score(prediction, truth, rule="evaluator").iou,
        "iou_page": score(prediction, truth, rule="page").iou,
    }
    return Scored(numbers, note=not_finite(prediction))


METRIC = Metric(
    Headline("mIoU", "iou", 100.0),
    Measure("IoU 1", _scored),
    classes=means_by(lambda item: str(item.truth.category), "iou"),
)


def _cut(rule: Rule) -> float:
    if rule not in _CUTS:
        raise SubmissionError(f"unknown rule {rule!r}", "use 'evaluator' or 'page'")
    return _CUTS[rule]


def _score(intersection: int, union: int, rule: Rule) -> MaskScore:
    iou = intersection / (union + _EPSILON) * _UNITS[rule]
    return MaskScore(iou, intersection, union)


def _marks(truth: Mask, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """The truth as flat uint8; what does not fit becomes 255."""
    if _shape(truth) != shape:
        raise SubmissionError(
            f"the predicted mask is {shape} and the true one {_shape(truth)}: the evaluator would "
            "compare them all the same where one can be repeated",
            "give both the same height and width",
        )
    if truth.dtype == np.bool_:
        return np.ravel(truth).view(np.uint8)
    if not np.issubdtype(truth.dtype, np.integer):
        raise SubmissionError(
            f"the true mask is {truth.dtype}, with which the evaluator stops",
            "store it as uint8 with the values 0 and 1",
        )
    if truth.dtype != np.uint8:
        truth = np.where((truth < 0) | (truth > 1), 255, truth).astype(np.uint8)
    return np.ravel(truth)


def _not_binary(truth: Mask) -> SubmissionError:
    return SubmissionError(
        f"the true mask holds values in {truth.min()}..{truth.max()}, not 0 and 1: the evaluator "
        "combines bits, and 0 and 255 give an IoU of about 0.004",
        "store 1 for the object",
    )


def _shape(mask: Mask) -> tuple[int, ...]:
    shape = mask.shape
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    return shape
