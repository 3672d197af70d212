"""What the test modules of the wings do with an item: record what comes of it, fail or skip."""

import pytest

from conformance.fault import told
from conformance.wing import Case
from reference.errors import SubmissionError, ToolError

# What to make an item with where there is nothing for it to be about: the plugin drops it.
NOTHING = (None,)
# What came of an item, by name.
FOUND = pytest.StashKey[dict[str, str]]()


class ERROR(pytest.exit.Exception):  # type: ignore[name-defined, misc]
    """Ends the run, as pytest.exit does, with the one line that a usage error has."""

    __module__ = "builtins"


def judge(case: Case, item: pytest.Item) -> None:
    """Fails or skips the running `item` as what comes of the case says, which it keeps."""
    try:
        found = case.judged()
    except ToolError:
        raise  # the run goes on; this item has no answer
    except (SubmissionError, OSError) as error:  # such as a full disk, which breaks no rule
        raise ERROR(told(error), returncode=pytest.ExitCode.USAGE_ERROR) from None
    item.stash[FOUND] = {**vars(found.row), **found.beside}
    if found.row.status == "skip":
        pytest.skip(found.row.seen)
    if found.row.status == "FAIL":
        pytest.fail(found.story, pytrace=False)
