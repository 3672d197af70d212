"""What an item of the suite does with its rule: ask for the verdict, record it, fail or skip."""

from collections.abc import Callable

import pytest

from conformance.report.terminal import explain_failure
from conformance.suite import Case
from reference.errors import SubmissionError, ToolError


class ERROR(pytest.exit.Exception):  # type: ignore[name-defined, misc]
    """Ends the run, as pytest.exit does, with the one line that a usage error has."""

    __module__ = "builtins"


def judge(case: Case, record_property: Callable[[str, object], None]) -> None:
    """Fails or skips the running test as the verdict says."""
    rule = case.rule
    try:
        verdict = case.assessment.verdict(rule)
    except ToolError:
        raise  # the run goes on; this rule has no verdict
    except SubmissionError as error:
        raise ERROR(str(error), returncode=pytest.ExitCode.USAGE_ERROR) from None
    for name, value in case.row(verdict).properties():
        record_property(name, value)
    if verdict.outcome == "skip":
        pytest.skip(verdict.seen)
    if verdict.outcome == "fail" and case.suite.gate.fails(rule.level):
        options = case.suite.options
        text = explain_failure(case.assessment.track, rule, verdict, options)
        pytest.fail(text, pytrace=False)
