"""The loops that numpy has no word for, compiled when they are first run."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from reference.errors import SubmissionError
from reference.install import install_command
from reference.scores import COMPILING

try:
    from numba import njit
    from numba.core import event
except ImportError:
    raise SubmissionError(
        "scores need numba, which is not installed", install_command("score")
    ) from None

Function = TypeVar("Function", bound=Callable[..., Any])


class _Compilations(event.Listener):  # type: ignore[misc]
    """Keeps the names of what numba compiles; one thread at a time does."""

    def on_start(self, begun: Any) -> None:
        COMPILING.append(begun.data["dispatcher"].py_func.__name__)

    def on_end(self, ended: Any) -> None:
        COMPILING.pop()


event.register("numba:compile", _Compilations())

# glibc hands freed arrays back to the system, and gets them again a page at a time, up to the size
# of the largest that was ever freed. This one, as large as glibc heeds, no page of which is used,
# makes it keep them: without it a depth score has thousands of page faults.
np.empty(2**25 - 2**16, np.uint8)


def kernel(function: Function) -> Function:
    """Compiles with numba for the types it is called with, and keeps that in numba's cache.

    Every operation is rounded by itself, in the order written: without fastmath nothing is
    reordered or fused. `NUMBA_CACHE_DIR` names another folder for the cache. A kernel runs without
    the interpreter's lock, so that threads compute side by side.
    """
    compiled: Function = njit(cache=True, nogil=True)(function)
    return compiled
