"""The contract suite: one item a rule and submission, made by the plugin."""

import pytest

from conformance.items import judge
from conformance.wing import Case


@pytest.mark.contract
def test_contract(contract_case: Case, request) -> None:
    judge(contract_case, request.node)
