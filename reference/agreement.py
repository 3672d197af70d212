"""How far two answers to one probe are apart: what the measures of all tracks are made of, and the
measure of a track that has none of its own.

Arrays in, frozen dataclasses of figures out; a figure that does not apply is None. A NaN in one
answer alone is as wrong as can be, a NaN in both is agreement.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from reference.tracks import format_shape

Array = npt.NDArray[np.generic]

# float32 is PyTorch against ONNX; float16 and w8a8 are ONNX on the CPU against the NPU.
Precision = Literal["float32", "float16", "w8a8"]


class Inside(Protocol):
    """What a measure may ask for beside the two answers; None where there is none of it."""

    def logits(self) -> Array | None:
        """What a mask is cut from, with the threshold at 0, of the first answer's shape."""

    def gallery(self) -> Array | None:
        """Embeddings (M, D) of the same submission's texts, to find neighbours in."""


class Nothing:
    """For two answers alone."""

    def logits(self) -> None:
        """None: the model is not looked into."""

    def gallery(self) -> None:
        """None: no other model is run."""


@dataclass(frozen=True)
class Figure:
    """A figure of a track's measure: its words, and its bound by precision, the most of an error
    (`upper`) or the least of an agreement.
    """

    words: str
    bounds: Mapping[Precision, float]
    upper: bool = False


@dataclass(frozen=True)
class Tolerance:
    """The bound of one figure, for one precision."""

    measure: str
    figure: Figure
    bound: float
    source: str

    @property
    def upper(self) -> bool:
        """Whether it is the most that is allowed."""
        return self.figure.upper

    def __str__(self) -> str:
        """`cosine 0.9999 at least`."""
        return f"{self.figure.words.format(self.bound)} at {'most' if self.upper else 'least'}"

    def allows(self, value: float | None) -> bool:
        """Whether `value` keeps the bound; NaN never does, what was not measured always."""
        if value is None:
            return True
        return value <= self.bound if self.upper else value >= self.bound


def tolerances(room: Any, precision: Precision) -> tuple[Tolerance, ...]:
    """What the figures of a track are held to; `room` is its agreement."""
    source = getattr(room, "SOURCES", SOURCES)[precision]
    figures: dict[str, Figure] = room.FIGURES
    return tuple(
        Tolerance(name, figure, figure.bounds[precision], source)
        for name, figure in figures.items()
    )


def told(room: Any, measures: object) -> str:
    """The figures in a line; what was not measured is left out. `room` is a track's agreement."""
    found = ((figure, getattr(measures, name)) for name, figure in room.FIGURES.items())
    return ", ".join(figure.words.format(value) for figure, value in found if value is not None)


SOURCES: dict[Precision, str] = {
    "float32": "measured on the reference models: exports are within 1e-4 of the range, and flip"
    " 1e-4 of a mask's pixels, at most; ten times that",
    "float16": "measured on the emulated NPU, models with random weights: mask IoU 0.988 at"
    " 256x256, depth error 0.004, cosine 0.999998, same class 99.4 % at 67 dB; with some room",
    "w8a8": "measured on the emulated NPU, PIDNet-S with random weights quantised with 2 pictures:"
    " same class 86.7 % at 38 dB, cosine 0.996; with some room, other measures by analogy",
}


@dataclass(frozen=True)
class NumberParity:
    """Two arrays of numbers: absolute errors as shares of the first one's range, PSNR in dB."""

    max_error: float
    mean_error: float
    psnr: float


# As for depth, whose range is 1.
FIGURES = {
    "max_error": Figure(
        "largest error {:.2g} of the range",
        {"float32": 1e-3, "float16": 0.05, "w8a8": 0.3},
        upper=True,
    ),
    "mean_error": Figure(
        "mean error {:.2g} of the range",
        {"float32": 1e-4, "float16": 5e-3, "w8a8": 0.03},
        upper=True,
    ),
    "psnr": Figure("PSNR {:.1f} dB", {"float32": 60.0, "float16": 35.0, "w8a8": 20.0}),
}


def measure(reference: Array, other: Array, inside: Inside) -> NumberParity:
    """Arrays of any one shape. Raises ValueError for shapes that differ."""
    check_shapes(reference, other)
    errors = absolute_errors(reference, other)
    peak = float(np.ptp(finite_values(reference))) or 1.0
    return NumberParity(
        float(errors.max(initial=0.0)) / peak,
        float(errors.mean()) / peak if errors.size else 0.0,
        psnr(reference, other),
    )


def rank_correlation(reference: Array, other: Array) -> float:
    """Spearman's rho, ties at their mean rank; 1 where both are constant, 0 where one is."""
    a, b = _ranks(reference), _ranks(other)
    a, b = a - a.mean(), b - b.mean()
    spread = np.sqrt(np.sum(a * a) * np.sum(b * b))
    if spread == 0:
        return float(not a.any() and not b.any())
    return float(np.clip(np.sum(a * b) / spread, -1.0, 1.0))


def psnr(reference: Array, other: Array) -> float:
    """Peak signal-to-noise ratio in dB; the peak is the range of `reference`, 1 if constant."""
    noise = float(np.mean(absolute_errors(reference, other) ** 2))
    peak = float(np.ptp(finite_values(reference))) or 1.0
    return float("inf") if noise == 0 else float(20 * np.log10(peak) - 10 * np.log10(noise))


def relative_error(reference: Array, other: Array) -> float:
    """The root mean square error in standard deviations of `reference`; of a constant, in its size.

    Where both are beyond 1e30 with one sign, or an NPU has its own "minus infinity" of -1e4 or
    less for an attention mask, they agree. Raises ValueError for shapes that differ.
    """
    check_shapes(reference, other)
    a, b = reference.astype(np.float64), other.astype(np.float64)
    infinite = (np.abs(a) > 1e30) & (np.abs(b) >= 1e4) & (np.sign(a) == np.sign(b))
    a, b = np.where(infinite, 0.0, a), np.where(infinite, 0.0, b)
    values = finite_values(a)
    size = float(values.std()) or float(np.abs(values).max()) or 1.0
    return float(np.sqrt(np.mean((absolute_errors(a, b) / size) ** 2))) if a.size else 0.0


def check_shapes(reference: Array, other: Array) -> None:
    """Raises ValueError where they differ."""
    if reference.shape != other.shape:
        raise ValueError(f"{format_shape(other.shape)} is not {format_shape(reference.shape)}")


def absolute_errors(reference: Array, other: Array) -> npt.NDArray[np.float64]:
    """|a - b|: 0 where both are NaN or the same infinity, infinite where one of them is."""
    a, b = reference.astype(np.float64), other.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        errors = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    return np.where(np.isnan(errors), np.inf, errors)


def unit_rows(rows: Array) -> npt.NDArray[np.float64]:
    """Rows of length 1; a row of zeros, or with what is not finite, stays without direction."""
    values = rows.astype(np.float64)
    values[~np.isfinite(values).all(axis=-1)] = 0.0
    peak = np.abs(values).max(axis=-1, keepdims=True)
    values /= np.where(peak == 0, 1.0, peak)  # so that the squares neither vanish nor overflow
    length = np.linalg.norm(values, axis=-1, keepdims=True)
    unit: npt.NDArray[np.float64] = values / np.where(length == 0, 1.0, length)
    return unit


def _ranks(values: Array) -> npt.NDArray[np.float64]:
    """From 1 on, ties at their mean; NaN is the largest number, and all of them are one tie."""
    order, ordered = _sorted(values.ravel())
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)) + 1
    counts = np.diff(ends, prepend=0)
    ranks = np.empty(len(order))
    ranks[order] = np.repeat(ends - (counts - 1) / 2, counts)
    return ranks


def _sorted(values: Array) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int64]]:
    """The places of values, the smallest first, and numbers that are ordered as these are."""
    if values.dtype == np.float32:
        # As integers with the place in the lower half: numpy sorts these several times faster.
        known = values.astype(np.float32) + np.float32(0)  # -0 is 0
        known[np.isnan(known)] = np.nan
        bits = known.view(np.int32)
        keys = bits ^ (bits >> 31 & np.int32(0x7FFFFFFF))
        packed = np.sort(keys.astype(np.int64) << 32 | np.arange(len(keys)))
        return packed & 0xFFFFFFFF, packed >> 32
    _, kind = np.unique(values, return_inverse=True)
    order = np.argsort(kind, kind="stable")
    return order, kind[order]


def is_nan(values: Array) -> npt.NDArray[np.bool_]:
    """Where a value is not a number."""
    return np.asarray(values != values)


def finite_values(values: Array) -> npt.NDArray[np.float64]:
    """The finite values; a zero where there are none."""
    flat = values.astype(np.float64).ravel()
    found = flat[np.isfinite(flat)]
    return found if found.size else np.zeros(1)
