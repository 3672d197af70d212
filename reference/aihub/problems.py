"""What went wrong, as an HTTP status and words for whoever asked.

The official client shows the words of a 400, 403, 404, 409 and 413, retries most of 5xx for up to a
minute, and blames what is left on AI Hub. So only what helps itself is a 5xx here.
"""

import sqlite3
import sys
import traceback

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from reference.aihub.access import Unknown
from reference.aihub.blobs import Damaged, TooLarge
from reference.aihub.form import MalformedError
from reference.aihub.room import NO_ROOM, is_no_room
from reference.aihub.tasks import TaskError
from reference.errors import SubmissionError


class Refused(Exception):  # noqa: N818 - an answer
    """Something that may not be, or makes no sense; the message is for the asker."""


class Oversized(Refused):
    """A body or an upload that is too large."""


class Forbidden(Refused):
    """Something that only its owner may do."""


class Hasty(Refused):
    """Something that was tried too often."""


class NotThere(Refused):
    """Something that is known but does not exist."""


def told(error: Exception) -> tuple[int, str]:
    """The status and the words; what nothing here knows of is a fault of the hub, and logged."""
    match error:
        case Unknown():
            return 404, f"{error} does not exist, or is not shared with you"
        case NotThere():
            return 404, str(error)
        case Oversized() | TooLarge():
            return 413, str(error)
        case Hasty():
            return 429, str(error)
        case Forbidden():
            return 403, str(error)
        case Refused() | TaskError() | SubmissionError() | MalformedError():
            return 400, str(error)
        case Damaged():
            return 409, "this file is damaged, or gone, on the disk of this hub: make it again"
        case ClientDisconnect():
            return 400, "the request was cut short"  # for the record: nobody reads it
        case sqlite3.OperationalError(sqlite_errorname="SQLITE_BUSY"):
            return 503, "the database of this hub is busy"
    if is_no_room(error):
        return 409, NO_ROOM
    traceback.print_exception(error, file=sys.stderr)
    return 409, (
        f"a fault of this hub, not of the request ({type(error).__name__}):"
        " what it printed says more to who runs it"
    )


def problem(status: int, detail: str, **more: str) -> JSONResponse:
    """An error as the client reads it."""
    # The rest of what is too large is not listened to.
    headers = {"Connection": "close"} if status == 413 else None
    return JSONResponse({"detail": detail, **more}, status, headers)
