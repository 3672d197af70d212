"""What a mutant is, and the small words that the rooms of mutants share."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto

from conformance.selftest.models import conforming, write
from conformance.selftest.surgery import Change, Step, step
from reference.registry import all_tracks

FLOAT, DOUBLE, HALF = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16
BOOL, UINT8, INT32, INT64 = (
    TensorProto.BOOL,
    TensorProto.UINT8,
    TensorProto.INT32,
    TensorProto.INT64,
)
SEG, DEP, PID = "segmentation-2025", "depth-2025", "pidnet"
CLS = "classification-2025"
ACT, NCTHW = "action-2026", "action-2026-ncthw"
RET, DRAFT = "retrieval-2026", "retrieval-2026-draft"

Store = Callable[[ModelProto, Path], None]


@dataclass(frozen=True)
class Mutant:
    """One defect: `change` edits the conforming model of one part of a track in place.

    `store` writes the edited model to a file; defects of the file itself are made there. A
    `factory` (`module:class`) is submitted instead of a file.
    """

    name: str
    track: str
    change: Change
    rules: frozenset[str]
    part: str = "model"
    store: Store = onnx.save
    factory: str = ""

    def submit(self, folder: Path) -> list[str]:
        """Writes the submission; the conforming models are its other parts."""
        if self.factory:
            return [self.factory]
        paths = write(all_tracks()[self.track], folder)
        model = conforming(self.track, self.part)
        self.change(model)
        paths[self.part].unlink()
        self.store(model, paths[self.part])
        return [f"{part}={path}" for part, path in paths.items()]


def mutant(
    name: str,
    track: str,
    change: Change,
    *rules: str,
    part: str = "model",
    store: Store = onnx.save,
) -> Mutant:
    return Mutant(name, track, change, frozenset(rules), part, store)


def unchanged(model: ModelProto) -> None:
    """No change of the graph."""


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def cast(to: int) -> Step:
    return step("Cast", to=to)


def reshape(*shape: int) -> Step:
    return step("Reshape", ints(*shape))


def nothing() -> Step:
    """Whatever came before, as zero: it runs and changes no value."""
    return step("Mul", 0.0)
