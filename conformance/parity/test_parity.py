"""The parity suite: one item a submission, part and pair of runtimes, made by the plugin."""

import pytest

from conformance.items import judge
from conformance.wing import Case


@pytest.mark.parity
def test_parity(parity_case: Case, request) -> None:
    judge(parity_case, request.node)
