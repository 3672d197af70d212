"""The suite of the device: one item a rule, submission and device, made by the plugin."""

import pytest

from conformance.items import judge
from conformance.wing import Case


@pytest.mark.device
def test_device(device_case: Case, request) -> None:
    judge(device_case, request.node)
