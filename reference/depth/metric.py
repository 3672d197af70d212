"""The F-score of the depth track and its seven error columns, as the organisers compute them.

Source: 25LPCVC_Evaluations, Track_3. The official variant is equal to it to the bit on a CPU,
mistakes included; the corrected one puts each pixel where the camera saw it.
"""

from dataclasses import astuple, dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from reference.depth.dataset import Truth
from reference.errors import SubmissionError
from reference.scores import Headline, Measure, Metric, Scored, at_least_one, not_finite

Variant = Literal["official", "corrected"]
Floats = npt.NDArray[np.float32]

_NO_DEPTH = np.float32(1e-5)  # what the evaluator writes for zeros
_MILLIMETRES = np.float32(1000)

# The evaluator's camera: focal length and centre in pixels of a frame of 1920x1440.
_FOCAL, _CENTRE_X, _CENTRE_Y = 1591.1095, 945.64465, 722.8234
_FRAME_HEIGHT, _FRAME_WIDTH = 1440, 1920

# Its inverse in float32, as torch computes it: 1/f, -cx/f, -cy/f.
_SLOPE = np.float32(float.fromhex("0x1.4982cep-11"))
_LEFT = np.float32(float.fromhex("-0x1.304c12p-1"))
_TOP = np.float32(float.fromhex("-0x1.d1311ep-2"))


@dataclass(frozen=True)
class DepthScore:
    """One image, or the mean of a data set. NaN where the prediction or the confidence gives none.

    `f_score`, `precision` and `recall` are percentages of points nearer than 0.1 m to the other
    cloud. `abs_rel`, `sq_rel`, `rmse` and `rmse_log` are errors after rescaling (metres, or
    relative); `a1`, `a2`, `a3` are shares of pixels within a factor of 1.25, 1.25**2, 1.25**3.
    """

    f_score: float
    precision: float
    recall: float
    abs_rel: float
    sq_rel: float
    rmse: float
    rmse_log: float
    a1: float
    a2: float
    a3: float


def score(
    prediction: npt.NDArray[Any],
    truth: npt.NDArray[Any],
    confidence: npt.NDArray[Any],
    *,
    variant: Variant = "official",
) -> DepthScore:
    """The score of one image.

    `prediction` is float32 (B, 1, H, W), of which [0, 0] counts, in any unit: it is rescaled to
    the median of the truth. `truth` is in whole millimetres, uint16 (192, 256) in the challenge,
    and `confidence` uint8 0..2 of the same shape; both are brought to H x W. The error columns are
    over confidence 1 and 2, the points over 2, or over 1 where there is no 2. The corrected
    variant differs in `f_score`, `precision` and `recall` only.

    Raises SubmissionError for arrays that do not fit, and where no pixel has confidence: the
    evaluator's assertion ends the whole run there.
    """
    (found,) = _scores(prediction, truth, confidence, (variant,))
    return found


class DepthMean:
    """The score of a data set: the plain mean of each column, NaN wherever one image has NaN."""

    def __init__(self) -> None:
        self._rows: list[tuple[float, ...]] = []

    def add(self, one: DepthScore) -> None:
        """Counts one image."""
        self._rows.append(astuple(one))

    def mean(self) -> DepthScore:
        """So far. Raises SubmissionError where nothing was added."""
        return DepthScore(*np.array(at_least_one(self._rows)).mean(axis=0).tolist())


def _scored(prediction: npt.NDArray[Any], truth: Truth) -> Scored:
    official, corrected = _scores(prediction, *truth, ("official", "corrected"))
    numbers = {**vars(official), "f_score_corrected": corrected.f_score}
    return Scored(numbers, note=not_finite(prediction))


METRIC = Metric(Headline("F-score", "f_score"), Measure("F-score 1", _scored))


def _scores(
    prediction: npt.NDArray[Any],
    truth: npt.NDArray[Any],
    confidence: npt.NDArray[Any],
    variants: tuple[Variant, ...],
) -> list[DepthScore]:
    """The score of one image by each variant; what they share is computed once."""
    depth, metres, sure = _checked(prediction, truth, confidence)
    found = []
    with np.errstate(all="ignore"):
        metres[metres == 0] = _NO_DEPTH
        depth[depth == 0] = _NO_DEPTH
        depth *= np.median(metres) / np.median(depth)
        errors = _errors(metres[sure >= 1], depth[sure >= 1])
        kept = _points_of(sure).ravel()
        sides = depth.ravel()[kept], metres.ravel()[kept]
        for variant in variants:
            precision, recall = _shares(*sides, *(r[kept] for r in _rays(*depth.shape, variant)))
            shares = _f_score(precision, recall), precision, recall
            percentages = (float(np.float32(100) * share) for share in shares)
            found.append(DepthScore(*percentages, *errors))
    return found


def _checked(
    prediction: npt.NDArray[Any], truth: npt.NDArray[Any], confidence: npt.NDArray[Any]
) -> tuple[Floats, Floats, npt.NDArray[np.uint8]]:
    """Copies of one size: depth as predicted, true depth in metres, confidence."""
    if prediction.dtype != np.float32 or prediction.ndim != 4 or 0 in prediction.shape:
        raise SubmissionError(
            f"the predicted depth is {prediction.dtype} {prediction.shape}",
            "give float32 of shape (1, 1, height, width), as the model returns it",
        )
    if not np.issubdtype(truth.dtype, np.integer) or truth.ndim != 2 or 0 in truth.shape:
        raise SubmissionError(
            f"the true depth is {truth.dtype} {truth.shape}",
            "give whole millimetres of shape (height, width), as a 16-bit PNG holds them",
        )
    if confidence.dtype != np.uint8 or confidence.shape != truth.shape:
        raise SubmissionError(
            f"the confidence is {confidence.dtype} {confidence.shape}, the depth {truth.shape}",
            "give uint8 of the shape of the depth, with the values 0, 1 and 2",
        )
    depth = prediction[0, 0].copy()
    height, width = depth.shape
    metres = _resized(truth.astype(np.float32) / _MILLIMETRES, (height, width))
    sure = _resized(confidence, (height, width))
    if not (sure >= 1).any():
        raise SubmissionError(
            "no pixel of the truth has a confidence of 1 or more",
            "take the image out of the data set: the official evaluator ends here",
        )
    return depth, metres, sure


def _resized(values: npt.NDArray[Any], shape: tuple[int, int]) -> npt.NDArray[Any]:
    # Pillow itself: it adds up the position of each pixel in float64, which no formula repeats.
    if values.shape == shape:
        return values
    height, width = shape
    return np.array(Image.fromarray(values).resize((width, height), Image.Resampling.NEAREST))


def _errors(truth: Floats, depth: Floats) -> tuple[float, ...]:
    """abs_rel, sq_rel, rmse, rmse_log, a1, a2 and a3 of pixels in one row, float32 throughout."""
    factor = np.maximum(truth / depth, depth / truth)
    error = truth - depth
    squares = error**2
    logs = (np.log(truth) - np.log(depth)) ** 2
    columns = [
        np.mean(np.abs(error) / truth),
        np.mean(squares / truth),
        np.sqrt(squares.mean()),
        np.sqrt(logs.mean()),
        *(np.mean(factor < np.float32(1.25**power)) for power in (1, 2, 3)),
    ]
    return tuple(float(column) for column in columns)


def _points_of(confidence: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    best: npt.NDArray[np.bool_] = confidence == 2
    return best if best.any() else confidence == 1


def _shares(
    depth: Floats, truth: Floats, right: Floats, down: Floats
) -> tuple[np.float32, np.float32]:
    """Precision and recall as shares, float32, of pixels in one row; NaN where there is none."""
    from reference.depth.nearest import count_near

    total = np.float32(len(right))
    predicted, true = count_near(
        *(np.stack((right * z, down * z, z), axis=1) for z in (depth, truth))
    )
    return np.float32(predicted) / total, np.float32(true) / total


@lru_cache(maxsize=4)
def _rays(height: int, width: int, variant: Variant) -> tuple[Floats, Floats]:
    """x/z and y/z of each pixel of the row-major depth, (height * width,) float32."""
    if variant == "official":
        # The grid runs down the columns while the depth runs along the rows.
        column, row = np.divmod(np.arange(height * width), height)
        return (
            _SLOPE * column.astype(np.float32) + _LEFT,
            _SLOPE * row.astype(np.float32) + _TOP,
        )
    if variant != "corrected":
        raise SubmissionError(f"unknown variant {variant!r}", "use 'official' or 'corrected'")
    row, column = np.divmod(np.arange(height * width), width)
    x = (column * (_FRAME_WIDTH / width) - _CENTRE_X) / _FOCAL
    y = (row * (_FRAME_HEIGHT / height) - _CENTRE_Y) / _FOCAL
    return x.astype(np.float32), y.astype(np.float32)


def _f_score(precision: np.float32, recall: np.float32) -> np.float32:
    few = np.float32(1e-3)
    if precision < few and recall < few:
        return precision
    return np.float32(2) * precision * recall / (precision + recall)
