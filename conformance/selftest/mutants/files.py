"""Defects of the file: external weights, ONNX versions, and what nothing reads."""

from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto

from conformance.selftest.mutants.mutant import (
    DEP,
    PID,
    RET,
    SEG,
    Store,
    mutant,
    unchanged,
)
from conformance.selftest.surgery import Change, add_weight, versions


def _apart(location: str = "weights.bin", *, keep: float = 1.0) -> Store:
    """Weights in a file beside the model, of which a share is kept, none for 0."""

    def store(model: ModelProto, path: Path) -> None:
        onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
        file = path.parent / "weights.bin"
        data = file.read_bytes()
        file.write_bytes(data[: int(len(data) * keep)])
        if not keep:
            file.unlink()
        stored = onnx.load(path, load_external_data=False)
        for tensor in stored.graph.initializer:
            for entry in tensor.external_data:
                entry.value = location if entry.key == "location" else entry.value
        path.write_bytes(stored.SerializeToString())

    return store


def _unread(*shape: int) -> Change:
    return add_weight("unread", np.zeros(shape, np.float32))


MUTANTS = [
    mutant("weights forgotten", SEG, unchanged, "COM-1", store=_apart(keep=0)),
    mutant("weights forgotten", RET, unchanged, "COM-1", part="text", store=_apart(keep=0)),
    mutant("weights cut short", DEP, unchanged, "COM-1", store=_apart(keep=0.5)),
    mutant("weights above the folder", DEP, unchanged, "COM-1", store=_apart("../weights.bin")),
    mutant("weights by absolute path", PID, unchanged, "COM-1", store=_apart("/models/pid.bin")),
    mutant("IR version too new", DEP, versions(ir=12), "COM-3"),
    mutant("opset too new", DEP, versions(ir=10, opset=24), "COM-3"),
    mutant("IR version too new", RET, versions(ir=13), "COM-3", part="text"),
    mutant("forgotten head", DEP, _unread(1000), "COM-7"),
    mutant("unread text encoder", SEG, _unread(100, 512), "COM-7"),
    mutant("unread visual tokens", RET, _unread(50, 768), "COM-7", part="image"),
]
