"""What the test modules of the wings do with an item: record what comes of it, fail or skip."""

from collections.abc import Callable

import pytest

from conformance.wing import Case
from reference.errors import SubmissionError, ToolError

# What to make an item with where there is nothing for it to be about: the plugin drops it.
NOTHING = (None,)


class ERROR(pytest.exit.Exception):  # type: ignore[name-defined, misc]
    """Ends the run, as pytest.exit does, with the one line that a usage error has."""

    __module__ = "builtins"


def judge(case: Case, record_property: Callable[[str, object], None]) -> None:
    """Fails or skips the running test as what comes of the case says."""
    try:
        found = case.judged()
    except ToolError:
        raise  # the run goes on; this item has no answer
    except SubmissionError as error:
        raise ERROR(str(error), returncode=pytest.ExitCode.USAGE_ERROR) from None
    for name, value in found.row.properties():
        record_property(name, value)
    for name, value in found.beside.items():
        record_property(f"lpcvc_{name}", value)
    if found.row.status == "skip":
        pytest.skip(found.row.seen)
    if found.row.status == "FAIL":
        pytest.fail(found.story, pytrace=False)
