"""Counts what a predicted and a true mask share, in one pass over both."""

import numpy as np
import numpy.typing as npt
from numba import njit

_BLOCK = 1 << 14  # pixels: two counts of a block fit into the halves of an int32


@njit(cache=True)
def count_overlap(
    prediction: npt.NDArray[np.float32], truth: npt.NDArray[np.uint8], threshold: np.float32
) -> tuple[int, int, int]:
    """Intersection and union in pixels, and the bits that the values of the truth have set.

    Both masks are flat and of one length. Where the bits are more than 1, the counts mean nothing.
    """
    intersection, union, bits = 0, 0, np.int32(0)
    for start in range(0, len(prediction), _BLOCK):
        values, marks = prediction[start : start + _BLOCK], truth[start : start + _BLOCK]
        both = np.int32(0)
        for i in range(len(values)):
            mark = np.int32(marks[i])
            bits |= mark
            both += np.int32(1) + (mark << 16) if values[i] > threshold else mark
        intersection += both >> 16
        union += both & 0xFFFF
    return intersection, union, bits
