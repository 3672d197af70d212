"""An answer of a model in a few numbers, from which a change can be measured."""

import hashlib
import math
from functools import cache

import numpy as np
import numpy.typing as npt

from conformance.regression.entries import Output, short

_SIDE = 8
_SIZE = _SIDE * _SIDE
_Values = npt.NDArray[np.float64]


def summarise(output: np.ndarray) -> Output:
    """The statistics and the fingerprint of an answer of any shape; what is not finite counts 0."""
    values = output.astype(np.float64)
    finite = np.isfinite(values)
    kept = values[finite] if finite.any() else np.zeros(1)
    whole = np.where(finite, values, 0.0)
    sides = [size for size in output.shape if size != 1]
    is_map = len(sides) == 2 and min(sides) >= _SIDE
    numbers = block_means(whole.reshape(sides)) if is_map else project(whole)
    return Output(
        dtype=str(output.dtype),
        shape=output.shape,
        not_finite=int(np.count_nonzero(~finite)),
        min=short(float(kept.min())),
        max=short(float(kept.max())),
        mean=short(float(kept.mean())),
        std=short(float(kept.std())),
        fingerprint=tuple(short(float(number)) for number in numbers),
    )


def block_means(values: _Values) -> _Values:
    """The means of 8x8 blocks, which are as large as can be, of a map (H, W); 64 values."""
    bands = np.array_split(values, _SIDE, axis=0)
    blocks = [block for band in bands for block in np.array_split(band, _SIDE, axis=1)]
    return np.array([block.mean() for block in blocks], dtype=np.float64)


def project(values: _Values) -> _Values:
    """A random projection to 64 values: each element is added to one of them, with a random sign.

    Scaled so that the mean square of two projections' difference over the 64 values is expected to
    be the mean square of the difference itself. The same on any machine for the same size.
    """
    if not values.size:
        return np.zeros(_SIZE)
    buckets, signs = _hashes(values.size)
    sums = np.bincount(buckets, signs * values.ravel(), _SIZE)
    return np.asarray(sums * math.sqrt(_SIZE / values.size), np.float64)


def distance(before: Output, after: Output) -> tuple[float, str]:
    """How far two answers are apart, in standard deviations of the first, and by which figure.

    Infinite where dtype, shape or the number of values that are not finite differ.
    """
    for name in ("dtype", "shape", "not_finite"):
        if getattr(before, name) != getattr(after, name):
            return math.inf, name
    if len(before.fingerprint) != len(after.fingerprint):
        return math.inf, "fingerprint"
    unit = before.std or abs(before.mean) or 1.0
    squares = [(b - a) ** 2 for b, a in zip(before.fingerprint, after.fingerprint, strict=True)]
    found = {"fingerprint": math.sqrt(math.fsum(squares) / max(len(squares), 1)) / unit}
    for name in ("mean", "std", "min", "max"):
        found[name] = abs(getattr(before, name) - getattr(after, name)) / unit
    name = max(found, key=lambda name: found[name])
    return found[name], name


@cache
def _hashes(size: int) -> tuple[npt.NDArray[np.int64], _Values]:
    # PCG64's raw stream is the one of numpy's that no version changes.
    seed = int.from_bytes(hashlib.sha256(f"lpcvc {size}".encode()).digest()[:8], "little")
    raw = np.random.PCG64(seed).random_raw(size)
    signs = (raw >> np.uint64(57) & np.uint64(1)).astype(np.float64) * 2 - 1
    return (raw >> np.uint64(58)).astype(np.int64), signs
