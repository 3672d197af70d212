"""Arrays in .npy files that a stranger wrote."""

import tokenize
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

# What numpy raises at a header that is damaged or was made to be.
_UNREADABLE = (
    EOFError,
    OverflowError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
    tokenize.TokenError,
)


def read_npy(path: Path) -> np.ndarray:
    """The array of the .npy file at `path`, mapped into memory and read-only; never a pickle.

    Raises OSError where the file cannot be opened, and ValueError for what is no array.
    """
    try:
        array: np.ndarray = open_memmap(path, mode="r")
    except _UNREADABLE as error:
        raise ValueError(str(error)) from None
    return array
