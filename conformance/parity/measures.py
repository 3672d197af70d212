"""How far two answers to one probe are apart, by the measure that matters on each track.

Arrays in, frozen dataclasses out; a measure that does not apply is None. A NaN in one answer alone
is as wrong as can be, a NaN in both is agreement.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reference.tracks import Track, format_shape

Array = npt.NDArray[np.generic]

# A class below this share of the pixels is too small for a share of its own to say much.
RARE = 0.01


@dataclass(frozen=True)
class MaskParity:
    """Two binary masks: intersection over union, and the share of pixels that flipped.

    `margin` is how far from the threshold the logits of flipped pixels lie at most, in standard
    deviations of the logits: a small one is rounding, a large one is another computation.
    """

    iou: float
    flipped: float
    margin: float | None


@dataclass(frozen=True)
class DepthParity:
    """Two depth maps: absolute errors in their own unit, Spearman's rank correlation, PSNR in dB.

    The peak of the PSNR is the range of the first map.
    """

    max_error: float
    mean_error: float
    rank_correlation: float
    psnr: float


@dataclass(frozen=True)
class EmbeddingParity:
    """Two embeddings: the lowest cosine over the rows, and the share of the nearest ten in a
    gallery that both find.
    """

    cosine: float
    top10: float | None


@dataclass(frozen=True)
class ClassParity:
    """Two maps of class logits: the share of pixels with the same class, and the PSNR in dB.

    `per_class` is the share among the pixels that the first map gives each class, NaN for a class
    that it does not see; `worst_class` is the lowest of the classes that have one pixel in 100.
    """

    agreement: float
    worst_class: float
    psnr: float
    per_class: tuple[float, ...]


Measures = MaskParity | DepthParity | EmbeddingParity | ClassParity


def measure(track: Track, reference: Array, other: Array) -> Measures:
    """How far two answers of a track's model are apart. Raises ValueError as the others do."""
    match track.name:
        case "segmentation":
            return mask_parity(reference, other)
        case "depth":
            return depth_parity(reference, other)
        case "pidnet":
            return class_parity(reference, other)
        case _:
            return embedding_parity(reference, other)


def mask_parity(reference: Array, other: Array, logits: Array | None = None) -> MaskParity:
    """Masks of any one shape, cut at 0.5: an NPU returns 1.0000001 for 1.

    `logits`, of the same number of elements, are the first model's before the threshold, which is
    at 0. Two empty masks have an IoU of 1. Raises ValueError for shapes that differ.
    """
    _check_shapes(reference, other)
    a, b = reference > 0.5, other > 0.5  # type: ignore[operator]
    union = np.count_nonzero(a | b)
    flips = (a != b) | (_nan(reference) != _nan(other))
    iou = np.count_nonzero(a & b & ~flips) / union if union else 1.0
    margin = None if logits is None else _margin(logits, flips)
    return MaskParity(float(iou), float(flips.mean()), margin)


def depth_parity(reference: Array, other: Array) -> DepthParity:
    """Depth maps of any one shape. Raises ValueError for shapes that differ."""
    _check_shapes(reference, other)
    errors = _errors(reference, other)
    return DepthParity(
        float(errors.max()),
        float(errors.mean()),
        rank_correlation(reference, other),
        psnr(reference, other),
    )


def embedding_parity(
    reference: Array, other: Array, gallery: Array | None = None
) -> EmbeddingParity:
    """Embeddings (N, D), and a gallery (M, D) with M above 10 to find neighbours in, by cosine.

    Raises ValueError for shapes that do not fit.
    """
    _check_shapes(reference, other)
    cosines = np.sum(_unit(reference) * _unit(other), axis=-1)
    cosines[(reference == other).all(axis=-1)] = 1.0  # zeros too
    top10 = None if gallery is None else _overlap(reference, other, gallery)
    return EmbeddingParity(float(cosines.min()), top10)


def class_parity(reference: Array, other: Array) -> ClassParity:
    """Class logits (N, C, H, W). Raises ValueError for shapes that differ."""
    _check_shapes(reference, other)
    a = reference.argmax(axis=1)
    same = (a == other.argmax(axis=1)) & (_nan(reference) == _nan(other)).all(axis=1)
    own = [a == index for index in range(reference.shape[1])]
    shares = tuple(float(same[here].mean()) if here.any() else float("nan") for here in own)
    common = [s for s, here in zip(shares, own, strict=True) if here.mean() >= RARE]
    worst = min(common, default=float(same.mean()))
    return ClassParity(float(same.mean()), worst, psnr(reference, other), shares)


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
    noise = float(np.mean(_errors(reference, other) ** 2))
    peak = float(np.ptp(_finite(reference))) or 1.0
    return float("inf") if noise == 0 else float(20 * np.log10(peak) - 10 * np.log10(noise))


def relative_error(reference: Array, other: Array) -> float:
    """The root mean square error in standard deviations of `reference`; of a constant, in its size.

    Where both are beyond 1e30 with one sign, or an NPU has its own "minus infinity" of -1e4 or
    less for an attention mask, they agree. Raises ValueError for shapes that differ.
    """
    _check_shapes(reference, other)
    a, b = reference.astype(np.float64), other.astype(np.float64)
    infinite = (np.abs(a) > 1e30) & (np.abs(b) >= 1e4) & (np.sign(a) == np.sign(b))
    a, b = np.where(infinite, 0.0, a), np.where(infinite, 0.0, b)
    finite = _finite(a)
    size = float(finite.std()) or float(np.abs(finite).max()) or 1.0
    return float(np.sqrt(np.mean((_errors(a, b) / size) ** 2))) if a.size else 0.0


def _check_shapes(reference: Array, other: Array) -> None:
    if reference.shape != other.shape:
        raise ValueError(f"{format_shape(other.shape)} is not {format_shape(reference.shape)}")


def _errors(reference: Array, other: Array) -> npt.NDArray[np.float64]:
    """|a - b|: 0 where both are NaN or the same infinity, infinite where one of them is."""
    a, b = reference.astype(np.float64), other.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        errors = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    return np.where(np.isnan(errors), np.inf, errors)


def _margin(logits: Array, flips: npt.NDArray[np.bool_]) -> float:
    values = logits.astype(np.float64).reshape(flips.shape)
    spread = float(np.std(_finite(values))) or 1.0
    return float(np.abs(values[flips]).max(initial=0.0)) / spread


def _overlap(reference: Array, other: Array, gallery: Array) -> float:
    if gallery.ndim != 2 or gallery.shape[1:] != reference.shape[1:] or len(gallery) <= 10:
        wanted = f"a gallery of more than 10 rows of {reference.shape[-1]}"
        raise ValueError(f"{format_shape(gallery.shape)} is not {wanted}")
    entries = _unit(gallery)
    nearest = [
        np.argsort(-(_unit(x) @ entries.T), axis=1, kind="stable") for x in (reference, other)
    ]
    pairs = zip(nearest[0][:, :10], nearest[1][:, :10], strict=True)
    return float(np.mean([len(np.intersect1d(a, b)) / 10 for a, b in pairs]))


def _unit(rows: Array) -> npt.NDArray[np.float64]:
    """Rows of length 1; a row of zeros, or with what is not finite, stays without direction."""
    values = rows.astype(np.float64)
    values[~np.isfinite(values).all(axis=-1)] = 0.0
    peak = np.abs(values).max(axis=-1, keepdims=True)
    values /= np.where(peak == 0, 1.0, peak)  # so that the squares neither vanish nor overflow
    length = np.linalg.norm(values, axis=-1, keepdims=True)
    unit: npt.NDArray[np.float64] = values / np.where(length == 0, 1.0, length)
    return unit


def _ranks(values: Array) -> npt.NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: npt.NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[place.ravel()]
    return ranks


def _nan(values: Array) -> npt.NDArray[np.bool_]:
    return np.asarray(values != values)


def _finite(values: Array) -> npt.NDArray[np.float64]:
    """The finite values; a zero where there are none."""
    flat = values.astype(np.float64).ravel()
    found = flat[np.isfinite(flat)]
    return found if found.size else np.zeros(1)
