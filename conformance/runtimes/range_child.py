"""The child process that runs an ONNX model node by node on the host, to see the range of every
tensor: one forward pass, with no more tensors in memory than some later node reads.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

# It would keep a device id and a database under the user's home.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

from conformance.runtimes.ranges import Range
from conformance.submission.graph import inline_functions
from conformance.submission.order import in_order
from reference.child import Child, main
from reference.ort import host_options

_SIZES = {"Shape", "Size"}
_PLAIN = "biuf"


class RangeChild(Child):
    """Measures one model."""

    def measure(self, model: str, inputs: dict[str, str]) -> dict[str, Any]:
        """The ranges of the float tensors of the ONNX file `model` on the way from its inputs (.npy
        files by name) to its outputs, first computed first, and of its float weights. What depends
        on the shape of an input alone is not on the way, and nodes inside If and Loop are one.

        Answers how many tensors could not be looked at, too: sequences, and what depends on them.
        """
        walk = _Walk(Path(model))
        feeds = {name: np.load(path, allow_pickle=False) for name, path in inputs.items()}
        found = list(walk.run(feeds))
        return {
            "tensors": [asdict(each) for each in found],
            "weights": [asdict(each) for each in walk.weights()],
            "unseen": len(walk.unseen),
        }


class _Walk:
    """One pass over the nodes of a model."""

    def __init__(self, path: Path) -> None:
        self._folder = str(path.parent)
        self._model = inline_functions(onnx.load(path, load_external_data=False))
        graph = self._model.graph
        self._nodes = in_order(graph.node, reads, lambda node: node.output)
        self._weights = {tensor.name: tensor for tensor in graph.initializer}
        self._left = Counter(name for node in self._nodes for name in reads(node))
        self._values: dict[str, ort.OrtValue] = {}
        self.unseen: set[str] = set()

    def run(self, feeds: dict[str, np.ndarray]) -> Iterator[Range]:
        data = set(feeds)
        self._values = {k: ort.OrtValue.ortvalue_from_numpy(v) for k, v in feeds.items()}
        for node in self._nodes:
            names = sorted(reads(node))
            outputs = [name for name in node.output if name]
            if not self.unseen.isdisjoint(names):
                self.unseen.update(outputs)
                continue
            values = self._compute(node, names, outputs)
            on_the_way = node.op_type not in _SIZES and not data.isdisjoint(names)
            for name, value in zip(outputs, values, strict=True):
                if not value.is_tensor():
                    self.unseen.add(name)
                    continue
                if self._left[name]:
                    self._values[name] = value
                if on_the_way:
                    data.add(name)
                    label = f"{node.op_type} {node.name or name!r}"
                    if (seen := _range(label, name, value)) is not None:
                        yield seen
            self._forget(names)

    def weights(self) -> Iterator[Range]:
        """The ranges of the float weights."""
        for name, tensor in self._weights.items():
            if tensor.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE):
                array = numpy_helper.to_array(tensor, self._folder)
                if array.size:
                    yield _of(f"weight {name!r}", name, array)

    def _compute(self, node: Any, names: list[str], outputs: list[str]) -> list[Any]:
        """What one node returns, in a model of its own."""
        graph = helper.make_graph([node], "node", [], [], [])
        feeds = {}
        for name in names:
            if name in self._values:
                feeds[name] = self._values[name]
            elif name in self._weights:
                value = self._weight(name)
                if value is None:
                    graph.initializer.append(self._loaded(name))
                else:
                    feeds[name] = value
        for name, value in feeds.items():
            shape = value.shape()
            graph.input.append(helper.make_tensor_value_info(name, value.element_type(), shape))
        graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
        single = helper.make_model(
            graph, opset_imports=self._model.opset_import, ir_version=self._model.ir_version
        )
        options = host_options()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(
            single.SerializeToString(),
            sess_options=options,
            providers=["CPUExecutionProvider"],
            enable_fallback=0,
        )
        return list(session.run_with_ort_values(outputs, feeds))

    def _weight(self, name: str) -> Any:
        """A weight of a type that numpy has; None for another."""
        tensor = self._weights[name]
        if tensor.data_location == onnx.TensorProto.EXTERNAL or _is_plain(tensor):
            array = numpy_helper.to_array(tensor, self._folder)
            if array.dtype.kind in _PLAIN and array.dtype.isbuiltin:
                return ort.OrtValue.ortvalue_from_numpy(array)
        return None

    def _loaded(self, name: str) -> Any:
        """A weight with its data inside."""
        tensor = onnx.TensorProto()
        tensor.CopyFrom(self._weights[name])
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            onnx.external_data_helper.load_external_data_for_tensor(tensor, self._folder)
            tensor.data_location = onnx.TensorProto.DEFAULT
        return tensor

    def _forget(self, names: list[str]) -> None:
        for name in names:
            self._left[name] -= 1
            if not self._left[name]:
                self._values.pop(name, None)


def reads(node: Any) -> set[str]:
    """What a node reads, the outer tensors that its subgraphs read included."""
    names = {name for name in node.input if name}
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            own = {value.name for value in (*graph.input, *graph.initializer)}
            own.update(name for inner in graph.node for name in inner.output)
            read = {value.name for value in graph.output}.union(*map(reads, graph.node))
            names |= read - own
    return names


def _is_plain(tensor: Any) -> bool:
    try:
        return helper.tensor_dtype_to_np_dtype(tensor.data_type).kind in _PLAIN
    except KeyError:
        return False


def _range(node: str, name: str, value: Any) -> Range | None:
    """None for what is not float, and for an empty tensor."""
    if value.data_type() not in ("tensor(float)", "tensor(double)", "tensor(float16)"):
        return None
    array = value.numpy()
    return _of(node, name, array) if array.size else None


def _of(node: str, name: str, array: np.ndarray) -> Range:
    finite = array[np.isfinite(array)] if not np.isfinite(array).all() else array
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    infinite = [bool((array == sign * np.inf).any()) for sign in (-1, 1)]
    return Range(node, name, low, high, infinite[0], infinite[1])


if __name__ == "__main__":
    main(RangeChild())
