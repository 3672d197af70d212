"""Counts what a predicted and a true mask share, in one pass over both."""

import numpy as np
import numpy.typing as npt

from reference.kernels import kernel

_BLOCK = 1 << 14  # pixels: two counts of a block fit into the halves of an int32


@kernel
def count_overlap(
    prediction: npt.NDArray[np.float32], truth: npt.NDArray[np.uint8], threshold: np.float32
) -> tuple[int, int, int]:
    """Intersection and union in pixels, and the bits that the values of the truth have set.

    Both masks are flat and of one length. Bits above 1 mean that the counts say nothing.
    """
    intersection, union = 0, 0
    bits = np.int32(0)
    for start in range(0, len(prediction), _BLOCK):
        values, marks = prediction[start : start + _BLOCK], truth[start : start + _BLOCK]
        both = np.int32(0)
        for i in range(len(values)):
            mark = np.int32(marks[i])
            bits |= mark
            both += np.int32(1) + (mark << 16) if values[i] > threshold else mark
        intersection += int(both >> 16)
        union += int(both & 0xFFFF)
    return intersection, union, int(bits)
