"""`-m parity` and its option."""

from conformance.marker import Marker

MARKER = Marker(
    "do PyTorch, ONNX and the emulated NPU agree?",
    {
        "--layers": {
            "action": "store_true",
            "help": "have the report of -m parity show the error after each layer on the emulated"
            " NPU where that agrees, too; it takes another pass, longer than the first",
        }
    },
    strict=True,
    extras=("npu", "torch"),
)
