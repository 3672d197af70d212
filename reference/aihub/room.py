"""A disk that is full, in each of the ways that it is told."""

import errno
import sqlite3

_ERRORS = (errno.ENOSPC, errno.EDQUOT)
_SQLITE_ERRORS = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)

NO_ROOM = (
    "the disk of this hub is full: delete jobs, models or data sets of yours, or ask who runs it"
    " for space (lpcvc hub prune)"
)


def is_no_room(error: BaseException) -> bool:
    """Whether that is what went wrong."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", None) in _SQLITE_ERRORS
    return isinstance(error, OSError) and error.errno in _ERRORS
