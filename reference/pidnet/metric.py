"""mIoU over the 19 Cityscapes classes, and the PSNR by which AI Hub compares a device with PyTorch.

Sources: qai-hub-models, evaluators/segmentation_evaluator.py and utils/compare.py (compute_psnr).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reference.datasets.items import Item
from reference.errors import SubmissionError
from reference.pidnet.cityscapes import CITYSCAPES
from reference.scores import Headline, Measure, Metric, OfClass, Result, Scored, not_finite

CLASSES = len(CITYSCAPES)  # train ids 0..18
IGNORED = 255

_PEAK_FLOOR, _NOISE_FLOOR = 1e-5, 1e-10  # eps and eps2 of compute_psnr


@dataclass(frozen=True)
class ClassScore:
    """`miou` and the `iou` of each class are percentages, NaN for a class that is nowhere.

    The mean is over the classes that occur in a truth or a prediction. `pixels` were counted.
    """

    miou: float
    iou: tuple[float, ...]
    pixels: int


class Confusion:
    """Counts pixels by true and predicted class over a data set: `matrix` int64 (19, 19), [true].

    Whole numbers, where qai-hub-models adds up float32, which is exact to 2**24 pixels a cell,
    about eight pictures of road.
    """

    def __init__(self) -> None:
        self.matrix = np.zeros((CLASSES, CLASSES), np.int64)

    def add(self, prediction: npt.NDArray[Any], truth: npt.NDArray[Any]) -> None:
        """Counts one picture.

        `prediction` is float32 logits (1, 19, h, w), brought to the size of the truth bilinearly
        with half-pixel centres before the class is chosen, or the classes (H, W) themselves.
        `truth` is (H, W) train ids; what is not in 0..18, such as 255, does not count. Raises
        SubmissionError for other shapes and types, and for predicted classes beyond 18.
        """
        if truth.ndim != 2 or 0 in truth.shape or not np.issubdtype(truth.dtype, np.integer):
            raise SubmissionError(
                f"the true classes are {truth.dtype} {truth.shape}",
                "give train ids of shape (height, width), as gtFine_labelTrainIds.png holds them",
            )
        found = _classes(prediction, truth.shape)
        known = (truth >= 0) & (truth < CLASSES)
        pairs = truth[known].astype(np.int64) * CLASSES + found[known]
        self.matrix += np.bincount(pairs, minlength=CLASSES**2).reshape(self.matrix.shape)

    def score(self) -> ClassScore:
        """So far. Raises SubmissionError where no pixel counted."""
        pixels = int(self.matrix.sum())
        if pixels == 0:
            raise SubmissionError(
                "no pixel of the truth is of one of the 19 classes",
                "give train ids (gtFine_labelTrainIds.png), not the ids of gtFine_labelIds.png",
            )
        iou = _iou(self.matrix)
        return ClassScore(float(np.nanmean(iou)), tuple(iou.tolist()), pixels)


def pooled_miou(confusions: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """The mIoU (N,), in percent, of confusions (N, classes, classes), [true, predicted].

    A class in neither truth nor prediction has no IoU and is left out; with none it is 0.
    """
    iou = _iou(confusions)
    there = ~np.isnan(iou)
    mean: npt.NDArray[np.float64] = iou.sum(-1, where=there) / np.maximum(there.sum(-1), 1)
    return mean


def _iou(confusions: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """The IoU (..., classes), in percent, of confusions; NaN for a class that is nowhere."""
    same = np.diagonal(confusions, axis1=-2, axis2=-1)
    union = confusions.sum(axis=-2) + confusions.sum(axis=-1) - same
    with np.errstate(invalid="ignore"):
        return np.asarray(100 * same / union)


def _scored(prediction: npt.NDArray[Any], truth: npt.NDArray[Any]) -> Scored:
    confusion = Confusion()
    confusion.add(prediction, truth)
    return Scored({"miou": confusion.score().miou}, confusion.matrix, not_finite(prediction))


def _by_class(found: Sequence[tuple[Item, Result]]) -> list[OfClass]:
    """Of all frames together; a frame counts for the classes of its truth."""
    matrices = np.stack([np.asarray(result.array) for _, result in found])
    frames = (matrices.sum(axis=2) > 0).sum(axis=0)
    iou = _iou(matrices.sum(axis=0))
    return [
        OfClass(name, float(iou[index]), int(frames[index]))
        for index, (name, _) in enumerate(CITYSCAPES)
    ]


METRIC = Metric(
    # Of all frames together, not the mean of the frames.
    Headline("mIoU of 19 classes", "miou", pooled=pooled_miou),
    Measure("confusion 1", _scored),
    classes=_by_class,
)


def psnr(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    """How near `a` is to `b` in dB: the largest magnitude of `b` against the RMS of `a - b`.

    Two arrays of one shape; equal ones are about 200 dB above the peak and not infinite. In the
    order of compute_psnr, with its 1e-5 on the peak and 1e-10 on the error. Raises SubmissionError
    for shapes that differ and for no values.
    """
    if a.shape != b.shape or b.size == 0:
        raise SubmissionError(f"the outputs are {a.shape} and {b.shape}", "give two of one shape")
    first, second = a.ravel(), b.ravel()
    peak = np.abs(second).max()
    noise = np.sqrt(((first - second) * (first - second)).sum() / second.size)
    return float(20 * np.log10((peak + _PEAK_FLOOR) / (noise + _NOISE_FLOOR)))


def _classes(prediction: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    if prediction.ndim == 4 and prediction.shape[:2] == (1, CLASSES) and 0 not in prediction.shape:
        from reference.pidnet.upsample import labels

        logits = np.ascontiguousarray(prediction[0], np.float32)
        found: npt.NDArray[np.uint8] = labels(logits, *shape)
        return found
    if prediction.shape != shape or not np.issubdtype(prediction.dtype, np.integer):
        raise SubmissionError(
            f"the prediction is {prediction.dtype} {prediction.shape}, the truth {shape}",
            "give logits (1, 19, h, w), or classes of the shape of the truth",
        )
    if prediction.min() < 0 or prediction.max() >= CLASSES:
        raise SubmissionError(
            f"the predicted classes are in {prediction.min()}..{prediction.max()}",
            "give train ids, 0..18",
        )
    return prediction
