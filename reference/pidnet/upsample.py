"""The class of each pixel of a picture, from logits at an eighth of its size."""

import numpy as np
import numpy.typing as npt

from reference.kernels import kernel

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@kernel
def labels(logits: Floats, height: int, width: int) -> npt.NDArray[np.uint8]:
    """The class (height, width) with the largest of the logits (C, h, w), the first of equals.

    Bilinear with half-pixel centres, as torch's `interpolate` computes it, and one row of pixels
    at a time, so that no logits are kept at full size. A NaN is the largest, as in torch.
    """
    classes = logits.shape[0]
    above, below, down = _source(logits.shape[1], height)
    left, right, across = _source(logits.shape[2], width)
    found = np.empty((height, width), np.uint8)
    best = np.empty(width, np.float32)
    one = np.float32(1)
    for y in range(height):
        best[:] = -np.inf
        found[y] = 0
        for number in range(classes):
            upper, lower = logits[number, above[y]], logits[number, below[y]]
            for x in range(width):
                near, far = one - across[x], across[x]
                top = near * upper[left[x]] + far * upper[right[x]]
                bottom = near * lower[left[x]] + far * lower[right[x]]
                value = (one - down[y]) * top + down[y] * bottom
                if value > best[x] or (np.isnan(value) and not np.isnan(best[x])):
                    best[x] = value
                    found[y, x] = number
    return found


@kernel
def _source(size: int, wanted: int) -> tuple[Ints, Ints, Floats]:
    """For each wanted row, the two that it lies between, and how far from the first it is."""
    scale = np.float32(size) / np.float32(wanted)
    half = np.float32(0.5)
    first, second = np.empty(wanted, np.int64), np.empty(wanted, np.int64)
    part = np.empty(wanted, np.float32)
    for i in range(wanted):
        place = np.float32(max(scale * (np.float32(i) + half) - half, np.float32(0)))
        first[i] = min(int(place), size - 1)
        second[i] = min(first[i] + 1, size - 1)
        part[i] = place - np.float32(first[i])
    return first, second, part
