"""The regression suite: one item a submission and group of entries, made by the plugin."""

from typing import TYPE_CHECKING

import pytest

from conformance.items import ERROR
from conformance.regression.rows import explain_regression, regression_row, tally
from reference.errors import SubmissionError, ToolError

if TYPE_CHECKING:
    from conformance.regression.assessment import RegressionCase


@pytest.mark.regression
def test_regression(regression_case: "RegressionCase", record_property) -> None:
    from conformance.parity.comparison import NotCompared

    def record(status, seen: str) -> None:
        for name, value in regression_row(regression_case, status, seen).properties():
            record_property(name, value)

    try:
        versions = regression_case.versions
    except SubmissionError as error:
        raise ERROR(str(error), returncode=pytest.ExitCode.USAGE_ERROR) from None
    record_property("lpcvc_versions", "; ".join(versions))
    try:
        changes = regression_case.changes()
    except NotCompared as reason:
        record("skip", str(reason))
        pytest.skip(str(reason))
    except ToolError:
        raise
    except SubmissionError as error:
        record("FAIL", error.problem)
        pytest.fail(f"{regression_case.group.name}: {error}", pytrace=False)
    failed = any(change.fails for change in changes)
    record("FAIL" if failed else "pass", tally(changes))
    if failed:
        pytest.fail(explain_regression(regression_case, changes), pytrace=False)
