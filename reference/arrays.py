"""Arrays in .npy files, which a stranger may have written."""

import errno
import os
import shutil
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


def write_npy(path: Path, array: np.ndarray) -> None:
    """Writes it, and never a pickle. Raises OSError, with the place, where the disk has no room."""
    if shutil.disk_usage(path.parent).free < array.nbytes:  # what numpy raises says of neither
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    np.save(path, array, allow_pickle=False)
