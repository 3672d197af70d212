"""Latencies that were measured, by the user or in public, to which an estimate is tied.

A file is a JSON list of objects: `model` (an ONNX file, relative to the list), `device` (as AI Hub
calls it), `ms` (milliseconds of one inference) and, if known, `runtime` (as `--runtime` has it).
"""

import json
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from reference.closest import unknown
from reference.data import fixture
from reference.errors import SubmissionError
from reference.npu.calibration import RUNTIMES, Simulated, kind_of
from reference.npu.devices import Device, find_device

PUBLISHED = "latency/anchors.json"

_KEYS = {"model", "device", "ms"}


@dataclass(frozen=True)
class Anchor:
    """One measured latency; `runtime` is None where the user did not say."""

    model: Path
    device: Device
    ms: float
    runtime: str | None = None

    def holds_for(self, runtime: str) -> bool:
        """Whether it was measured with that runtime, or one that compiles the same graph."""
        return self.runtime is None or kind_of(self.runtime) == kind_of(runtime)

    @property
    def label(self) -> str:
        """`net.onnx on Samsung Galaxy S24, 5.2 ms`."""
        return f"{self.model.name} on {self.device.name}, {self.ms:.3g} ms"


def read_anchors(path: Path) -> tuple[Anchor, ...]:
    """The measured latencies in the file at `path`.

    Raises SubmissionError for a file that is not as described above.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SubmissionError(
            f"the anchors {path} cannot be read ({error})", 'write [{"model": ..., "ms": ...}, ...]'
        ) from None
    if not isinstance(found, list):
        raise SubmissionError(f"the anchors {path} are not a list", "put [ and ] around them")
    return tuple(_anchor(entry, number, path) for number, entry in enumerate(found, 1))


@cache
def published_anchors() -> tuple[tuple[Anchor, Simulated], ...]:
    """Published latencies on devices that the calibration lacks, with the models' simulations.

    The baseline of the LPCVC 2026 Track 1 leaderboard on the XR2 Gen 2, in two parts; there is no
    file of these models, `fixtures/latency/README.md` says what was simulated for them.
    """
    entries = json.loads(fixture(PUBLISHED).read_text(encoding="utf-8"))
    return tuple(
        (
            Anchor(
                Path(entry["model"]), find_device(entry["device"]), entry["ms"], entry["runtime"]
            ),
            Simulated(**entry["simulated"]),
        )
        for entry in entries
    )


def _anchor(entry: Any, number: int, path: Path) -> Anchor:
    where = f"anchor {number} of {path.name}"
    if not isinstance(entry, dict) or not entry.keys() >= _KEYS:
        raise SubmissionError(f"{where} lacks something", "give each its model, device and ms")
    ms, runtime = entry["ms"], entry.get("runtime")
    if isinstance(ms, bool) or not isinstance(ms, int | float) or not 0 < ms < math.inf:
        raise SubmissionError(f"{where} has {ms!r} for ms", "give milliseconds, more than 0")
    if runtime is not None and runtime not in RUNTIMES:
        raise unknown(f"{where} has the unknown runtime {runtime!r}", str(runtime), RUNTIMES)
    model = path.parent / str(entry["model"])
    if not model.is_file():
        raise SubmissionError(f"{where}: there is no {model}", "give the ONNX file that was timed")
    return Anchor(model, find_device(str(entry["device"])), float(ms), runtime)
