"""`-m device` and its options."""

from pathlib import Path

from conformance.marker import Marker

MARKER = Marker(
    "does it hold on a device of AI Hub?",
    {
        "--share": {
            "action": "store_true",
            "help": "share the compile jobs of -m device with the organisers",
        },
        "--profile-runs": {
            "type": int,
            "default": 3,
            "metavar": "N",
            "help": "profile jobs of each part, of which the median counts; default: %(default)s",
        },
        "--save": {
            "type": Path,
            "metavar": "FILE",
            "help": "compare with the last results of -m device in FILE, and add those of this run",
        },
    },
    extras=("hub", "npu"),
)
