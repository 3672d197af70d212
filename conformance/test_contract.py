"""The contract suite: one item a rule and submission, made by the plugin."""

import pytest

from conformance.report.terminal import explain_failure
from conformance.suite import Case
from reference.errors import SubmissionError


class ERROR(pytest.exit.Exception):
    """Ends the run, as pytest.exit does, with the one line that a usage error has."""

    __module__ = "builtins"


@pytest.mark.contract
def test_contract(contract_case: Case, record_property) -> None:
    case, rule = contract_case, contract_case.rule
    try:
        verdict = case.assessment.verdict(rule)
    except SubmissionError as error:
        raise ERROR(str(error), returncode=pytest.ExitCode.USAGE_ERROR) from None
    for name, value in case.row(verdict).properties():
        record_property(name, value)
    if verdict.outcome == "skip":
        pytest.skip(verdict.seen)
    if verdict.outcome == "fail" and case.suite.fails(rule):
        options = case.suite.options
        text = explain_failure(case.assessment.track, rule, verdict, options)
        pytest.fail(text, pytrace=False)
