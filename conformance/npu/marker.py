"""`-m npu`."""

from conformance.marker import Marker

MARKER = Marker("does Qualcomm's compiler take it, and the NPU answer?", extras=("npu",))
