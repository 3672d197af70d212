"""How far two masks are apart."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reference.agreement import Array, Figure, Inside, check_shapes, finite_values, is_nan


@dataclass(frozen=True)
class MaskParity:
    """Two binary masks: intersection over union, and the share of pixels that flipped.

    `margin` is how far from the threshold the logits of flipped pixels lie at most, in standard
    deviations of the logits: a small one is rounding, a large one is another computation.
    """

    iou: float
    flipped: float
    margin: float | None


FIGURES = {
    "iou": Figure("mask IoU {:.5f}", {"float32": 0.99, "float16": 0.98, "w8a8": 0.9}),
    "flipped": Figure(
        "flipped pixels {:.3%}", {"float32": 1e-3, "float16": 0.01, "w8a8": 0.05}, upper=True
    ),
    "margin": Figure(
        "logits there within {:.2g} standard deviations of the threshold",
        {"float32": 0.01, "float16": 0.1, "w8a8": 0.5},
        upper=True,
    ),
}


def measure(reference: Array, other: Array, inside: Inside) -> MaskParity:
    """As `mask_parity`; the logits are asked for where a pixel flipped."""
    flipped = not np.array_equal(reference > 0.5, other > 0.5)  # type: ignore[operator]
    return mask_parity(reference, other, inside.logits() if flipped else None)


def mask_parity(reference: Array, other: Array, logits: Array | None = None) -> MaskParity:
    """Masks of any one shape, cut at 0.5: an NPU returns 1.0000001 for 1.

    `logits`, of the same number of elements, are the first model's before the threshold, which is
    at 0. Two empty masks have an IoU of 1. Raises ValueError for shapes that differ.
    """
    check_shapes(reference, other)
    a, b = reference > 0.5, other > 0.5  # type: ignore[operator]
    union = np.count_nonzero(a | b)
    flips = (a != b) | (is_nan(reference) != is_nan(other))
    iou = np.count_nonzero(a & b & ~flips) / union if union else 1.0
    margin = None if logits is None else _margin(logits, flips)
    return MaskParity(float(iou), float(flips.mean()), margin)


def _margin(logits: Array, flips: npt.NDArray[np.bool_]) -> float:
    values = logits.astype(np.float64).reshape(flips.shape)
    spread = float(np.std(finite_values(values))) or 1.0
    return float(np.abs(values[flips]).max(initial=0.0)) / spread
