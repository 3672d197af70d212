"""The regression suite: one item a submission and group of entries, made by the plugin."""

import pytest

from conformance.items import judge
from conformance.wing import Case


@pytest.mark.regression
def test_regression(regression_case: Case, request) -> None:
    judge(regression_case, request.node)
