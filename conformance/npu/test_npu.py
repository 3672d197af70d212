"""The suite of the NPU: one item a rule, submission and device, made by the plugin."""

import pytest

from conformance.items import judge
from conformance.wing import Case


@pytest.mark.npu
def test_npu(npu_case: Case, request) -> None:
    judge(npu_case, request.node)
