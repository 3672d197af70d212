"""`-m regression` and its options."""

from pathlib import Path

from conformance.marker import Marker

MARKER = Marker(
    "is anything lost against a baseline?",
    {
        "--baseline": {
            "type": Path,
            "metavar": "FILE",
            "help": "the baseline that -m regression compares with",
        },
        "--save-baseline": {
            "type": Path,
            "metavar": "FILE",
            "help": "keep what -m regression finds in FILE; other submissions there stay",
        },
        "--with": {
            "action": "append",
            "choices": ("compile", "npu", "parity"),
            "help": "what -m regression looks at beside the contract: what the NPU compiler makes"
            " of it, that and the emulated NPU's answers, or how far those are from the host's;"
            " repeatable",
        },
        "--scores": {
            "type": Path,
            "metavar": "FILE",
            "help": "for -m regression: what `lpcvc score --keep FILE` kept of the submission",
        },
        "--tolerance": {
            "action": "append",
            "metavar": "ENTRY=VALUE",
            "help": "how far an entry of the baseline may be off, * in its key stands for anything:"
            " 'outputs/*=0.01', 'rules/DEP-8=inf'; repeatable",
        },
    },
    strict=True,
    alone=("--save-baseline",),
)
