"""The tensors inside an ONNX model: which can be looked at, what they depend on, and how to see
them.
"""

from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from conformance.submission.graph import Graph, Node, inline_functions, nbytes, read_graph
from reference.errors import SubmissionError

_SIZES = {"Shape", "Size"}
_QUANTISED = {"int8", "uint8", "int16", "uint16"}
_LARGEST = 2**31 - 2**24  # bytes in one protobuf, less some room


class Flow:
    """How values flow through the ONNX file at `path`; nodes inside If and Loop count as one.

    Raises SubmissionError where the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.graph: Graph = read_graph(path)
        # Nodes of subgraphs come after those of the graph itself, which count.
        nodes = reversed(self.graph.nodes)
        self._nodes = {name: node for node in nodes for name in node.outputs if name}
        self._producers = {
            name: node for node in self._model.graph.node for name in node.output if name
        }

    @cached_property
    def tensors(self) -> tuple[str, ...]:
        """The tensors of the data path, first computed first: float ones and their quantised form
        that depend on an input, and not on its shape alone.

        Arithmetic on shapes is constant, and exposed it fails onnxruntime's change of the layout.
        """
        live = {value.name for value in self.graph.inputs}
        found = []
        for node in self._model.graph.node:
            if node.op_type in _SIZES or live.isdisjoint(_reads(node)):
                continue
            live.update(node.output)
            found += [name for name in node.output if name and self._carries_data(name)]
        return tuple(found)

    @property
    def output(self) -> str:
        """The first output, the one that is scored."""
        return self.graph.outputs[0].name

    def producer(self, tensor: str) -> Node | None:
        """The node that computes a tensor, None for an input or a weight."""
        return self._nodes.get(tensor)

    def nbytes(self, tensor: str) -> int:
        """The size of a tensor; 0 where its shape is not known."""
        return nbytes(self.graph.value(tensor))

    def ancestors(self, *tensors: str) -> set[str]:
        """Everything that `tensors` are computed from, without themselves."""
        found: set[str] = set()
        pending = list(tensors)
        while pending:
            producer = self._producers.get(pending.pop())
            fresh = _reads(producer) - found if producer is not None else set()
            found |= fresh
            pending += fresh
        return found

    def expose(self, tensors: Collection[str], path: Path) -> set[str]:
        """Writes the part of the model that computes `tensors`, as its outputs, to `path`.

        Returns the inputs that are left. Raises SubmissionError for a model above 2 GiB.
        """
        import onnx
        from onnx import helper

        needed = self.ancestors(*tensors) | set(tensors)
        part = onnx.ModelProto()
        part.CopyFrom(self._bare)
        graph, whole = part.graph, self._model.graph
        graph.node.extend(node for node in whole.node if not needed.isdisjoint(node.output))
        graph.initializer.extend(t for t in whole.initializer if t.name in needed)
        graph.sparse_initializer.extend(whole.sparse_initializer)
        graph.input.extend(value for value in whole.input if value.name in needed)
        for name in tensors:
            kind = helper.np_dtype_to_tensor_dtype(self._dtype(name))
            shape = self.graph.value(name).shape
            graph.output.append(helper.make_tensor_value_info(name, kind, shape))
        if sum(len(tensor.raw_data) for tensor in graph.initializer) > _LARGEST:
            raise SubmissionError(
                f"{self.graph.path.name} is too large to look inside",
                "make a smaller model with the same defect",
            )
        onnx.save(part, path)
        return {value.name for value in graph.input}

    def modules(self) -> dict[str, str]:
        """The deepest PyTorch module that returns a tensor, by tensor; names as the exporter gives
        them: `/blocks.0/norm1/Add` belongs to `blocks.0.norm1` and to `blocks.0`.
        """
        members: dict[str, list[Any]] = {}
        for node in self._model.graph.node:
            for scope in _scopes(node.name):
                members.setdefault(scope, []).append(node)
        found = {}
        for scope in sorted(members, key=lambda name: name.count(".")):
            own = members[scope]
            inner = {id(node) for node in own}
            read = {self.output}.union(
                *(_reads(node) for node in self._model.graph.node if id(node) not in inner)
            )
            results = {name for node in own for name in node.output} & read
            if len(results) == 1:
                found[results.pop()] = scope
        return found

    @cached_property
    def _model(self) -> Any:
        import onnx

        return inline_functions(onnx.load(self.graph.path))

    @cached_property
    def _bare(self) -> Any:
        """The model without its graph's contents."""
        import onnx

        bare = onnx.ModelProto(ir_version=self._model.ir_version)
        bare.opset_import.extend(self._model.opset_import)
        bare.graph.name = self._model.graph.name
        return bare

    def _carries_data(self, name: str) -> bool:
        dtype = self._dtype(name)
        return dtype is not None and (dtype.kind == "f" or dtype.name in _QUANTISED)

    def _dtype(self, name: str) -> np.dtype[Any] | None:
        try:
            return np.dtype(self.graph.value(name).dtype)
        except TypeError:
            return None


def spread(tensors: Sequence[str], count: int) -> list[str]:
    """`count` of `tensors`, evenly spaced, or all if there are fewer."""
    if len(tensors) <= count:
        return list(tensors)
    return [tensors[int((index + 0.5) * len(tensors) / count)] for index in range(count)]


def _reads(node: Any) -> set[str]:
    """What a node reads, the outer tensors that its subgraphs read included."""
    return {name for name in node.input if name}.union(*map(_captured, _subgraphs(node)))


def _captured(graph: Any) -> set[str]:
    own = {value.name for value in (*graph.input, *graph.initializer)}
    own.update(name for node in graph.node for name in node.output)
    return set[str]().union(*map(_reads, graph.node), (v.name for v in graph.output)) - own


def _subgraphs(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _scopes(name: str) -> Iterator[str]:
    """The modules of a node: `net`, `net.0`, `net.0.conv` for `/net/net.0/conv/Conv`."""
    path: list[str] = []
    for step in name.split("/")[1:-1]:
        if path and step.startswith(f"{path[-1]}."):  # a Sequential and its member
            path.pop()
        path.append(step)
        yield ".".join(path)
