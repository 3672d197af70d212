"""How a wing is asked for: what pytest is told of it before anything of it is imported.

The standard library is enough for this.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Each is a folder with a marker, items and a test module.
WINGS = ("contract", "npu", "parity", "device", "regression")


@dataclass(frozen=True)
class Marker:
    """One wing on the command line. `conformance/<name>/marker.py` has it as MARKER.

    `question` is what its items ask of a submission. `options` are its own, by name, with the
    arguments of pytest's `addoption`; where `strict`, giving one without the wing is a mistake.
    `alone` are those that need one process. A wing that is `unasked` runs without `-m` too; the
    others take minutes at full size, an account, or a file. `extras` are what must be installed of
    this project.
    """

    question: str
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    unasked: bool = False
    strict: bool = False
    alone: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()


def markers() -> dict[str, Marker]:
    """Those of all wings, by name."""
    return {name: importlib.import_module(f"{__package__}.{name}.marker").MARKER for name in WINGS}
