"""The handler at the top: whatever ends a command, the user sees one line."""

import errno
import os
import sys
import tempfile
import traceback
from collections.abc import Callable

from reference.errors import SubmissionError, ToolError, one_line

USER, FAULT, INTERRUPTED = 2, 3, 130

_ROOM = "make room there, or set TMPDIR, for the cache LPCVC_CACHE, to a place that has it"
_FILES = "allow more of them with ulimit -n"
_HELPS = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EMFILE: _FILES,
    errno.ENFILE: _FILES,
}


def guarded(work: Callable[[], int], tell: Callable[[str], None]) -> int:
    """The exit code of `work`; where it raises, one line for `tell` and the code that fits.

    2 for what the user can put right, the system's refusals (a full disk, a folder that cannot be
    written) included; 130 for Ctrl-C; 3 for a fault of this program or of a tool.
    """
    try:
        return work()
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as interrupt:
        tell("; ".join(["interrupted", *map(one_line, map(str, interrupt.args))]))
        return INTERRUPTED
    except Exception as error:
        tell(told(error))
        mendable = isinstance(error, SubmissionError | OSError | MemoryError)
        return USER if mendable and not isinstance(error, ToolError) else FAULT


def own_version() -> str:
    """The version of this program."""
    from importlib.metadata import PackageNotFoundError, version  # takes longer than the rest

    try:
        return version("lpcvc-conformance")
    except PackageNotFoundError:  # on PYTHONPATH alone
        return "not installed"


def told(error: Exception) -> str:
    """One line for whatever was raised; the trace of what should not have happened is kept."""
    match error:
        case SubmissionError():
            return str(error)
        case OSError():
            return _refused(error)
        case MemoryError():
            return "there is not enough memory; close other programs, or take a larger machine"
    return (
        f"a fault of this program ({one_line(f'{type(error).__name__}: {error}', 200)});"
        f" please report it with {_kept(error)}"
    )


def _refused(error: OSError) -> str:
    place = " -> ".join(str(name) for name in (error.filename, error.filename2) if name)
    what = f"{error.strerror or type(error).__name__}: {place}" if place else str(error)
    helps = _HELPS.get(error.errno or 0, "check that it is there and may be written")
    return f"{one_line(what)}; {helps}"


def _kept(error: BaseException) -> str:
    """Where the trace is, or if no file can be written the last place of it."""
    text = "".join(traceback.format_exception(error))
    own = f"lpcvc-conformance {own_version()}"
    head = f"{own}, Python {sys.version}, {sys.platform}\n{sys.argv!r}\n\n"
    try:
        with tempfile.NamedTemporaryFile(
            "w",
            prefix="lpcvc-fault-",
            suffix=".txt",
            delete=False,
            encoding="utf-8",
            errors="backslashreplace",
        ) as file:
            file.write(head + text)
        return file.name
    except OSError:
        last = traceback.extract_tb(error.__traceback__)[-1:]
        return "".join(f"{frame.filename}:{frame.lineno}" for frame in last) or "what you did"
