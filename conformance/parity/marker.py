"""`-m parity`."""

from conformance.marker import Marker

MARKER = Marker("do PyTorch, ONNX and the emulated NPU agree?", extras=("npu", "torch"))
