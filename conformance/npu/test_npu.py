"""The suite of the NPU: one item a rule, submission and device, made by the plugin."""

import pytest

from conformance.items import judge
from conformance.wing import Case


@pytest.mark.npu
def test_npu(npu_case: Case, record_property) -> None:
    judge(npu_case, record_property)
