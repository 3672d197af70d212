"""Defects of where tensors lie, and of sizes that only a run shows."""

from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from conformance.selftest.mutants.mutant import DEP, PID, RET, SEG, Store, mutant, unchanged
from conformance.selftest.surgery import Change, after, both, redeclare, step


def _elsewhere(**entries: str) -> Store:
    """Weights in a file beside the model; what the model says of the first is changed."""

    def store(model: ModelProto, path: Path) -> None:
        onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
        stored = onnx.load(path, load_external_data=False)
        first = next(t for t in stored.graph.initializer if t.external_data)
        for entry in first.external_data:
            entry.value = entries.get(entry.key, entry.value)
        path.write_bytes(stored.SerializeToString())

    return store


def _sparse(model: ModelProto) -> None:
    """A sparse weight, whose file is lost."""
    values = numpy_helper.from_array(np.float32([1]), "lost")
    values.ClearField("raw_data")
    values.data_location = TensorProto.EXTERNAL
    values.external_data.add(key="location", value="lost.bin")
    sparse = model.graph.sparse_initializer.add(dims=[4], values=values)
    sparse.indices.CopyFrom(numpy_helper.from_array(np.array([0]), "places"))


def _by_data(output: str, *shape: int) -> Change:
    """The output by way of a Reshape to a shape that hangs on the picture."""

    def change(model: ModelProto) -> None:
        graph = model.graph
        zero = numpy_helper.from_array(np.zeros((), np.float32), "no_share")
        graph.initializer.extend([zero, numpy_helper.from_array(np.array(shape), "at_least")])
        last = next(node for node in graph.node if output in node.output)
        last.output[list(last.output).index(output)] = "of_fixed_size"
        for op, inputs, made, attributes in (
            ("ReduceMax", ["image"], "peak", {"keepdims": 0}),
            ("Mul", ["peak", "no_share"], "nothing", {}),
            ("Cast", ["nothing"], "whole", {"to": TensorProto.INT64}),
            ("Add", ["whole", "at_least"], "sizes", {}),
            ("Reshape", ["of_fixed_size", "sizes"], output, {}),
        ):
            graph.node.append(helper.make_node(op, inputs, [made], made, **attributes))

    return change


_RESHAPE = after("depth", step("Reshape", np.array([1, 1, 480, 640])))
_OPEN = redeclare("embedding", shape=(1, "width"))

MUTANTS = [
    mutant("offset below zero", DEP, unchanged, "COM-1", store=_elsewhere(offset="-4096")),
    mutant("offset is a word", SEG, unchanged, "COM-1", store=_elsewhere(offset="abc")),
    mutant("length too short", PID, unchanged, "COM-1", store=_elsewhere(length="4")),
    mutant(
        "length below zero", RET, unchanged, "COM-1", part="text", store=_elsewhere(length="-1")
    ),
    mutant("shape in another file", DEP, _RESHAPE, "COM-1", store=_elsewhere()),
    mutant("sparse weights forgotten", DEP, _sparse, "COM-1"),
    mutant("open width", RET, both(_by_data("embedding", 1, 16), _OPEN), "COM-2", part="image"),
]
