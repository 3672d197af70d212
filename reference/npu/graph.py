"""Small steps on ONNX graphs that rewriting them is made of."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference

_INFERRED = 1 << 16  # bytes: larger constants are no shapes


def constants(graph: onnx.GraphProto, largest: int) -> dict[str, np.ndarray]:
    """The constants of up to `largest` elements, by name."""
    found = {}
    for tensor in graph.initializer:
        if int(np.prod(tensor.dims)) <= largest and not tensor.external_data:
            found[tensor.name] = numpy_helper.to_array(tensor)
    for node in graph.node:
        if node.op_type != "Constant":
            continue
        (attribute,) = node.attribute
        if attribute.name == "value":
            if int(np.prod(attribute.t.dims)) <= largest:
                found[node.output[0]] = numpy_helper.to_array(attribute.t)
        elif attribute.name in ("value_int", "value_ints"):
            found[node.output[0]] = np.array(onnx.helper.get_attribute_value(attribute), np.int64)
        elif attribute.name in ("value_float", "value_floats"):
            found[node.output[0]] = np.array(onnx.helper.get_attribute_value(attribute), np.float32)
    return found


def static_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """The sizes of the tensors of which all are known."""
    graph = model.graph
    small = [t for t in graph.initializer if len(t.raw_data) <= _INFERRED]
    large = [
        helper.make_tensor_value_info(t.name, t.data_type, t.dims)
        for t in graph.initializer
        if len(t.raw_data) > _INFERRED
    ]
    inputs = {value.name: value for value in (*large, *graph.input)}
    light = helper.make_graph(graph.node, "shapes", inputs.values(), graph.output, small)
    whole = helper.make_model(light, opset_imports=model.opset_import, ir_version=model.ir_version)
    inferred = shape_inference.infer_shapes(whole, data_prop=True).graph
    found = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims):
            found[value.name] = tuple(d.dim_value for d in dims)
    return found


class Links:
    """Who makes and who takes each tensor of a graph, as it is now."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.made_by = {name: node for node in graph.node for name in node.output if name}
        self.taken_by: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in dict.fromkeys(node.input):
                self.taken_by.setdefault(name, []).append(node)
        self.ends = {value.name for value in graph.output}

    def only_taker(self, name: str) -> onnx.NodeProto | None:
        """The one node that takes the tensor; None for several or none, or an end of the graph."""
        takers = self.taken_by.get(name, [])
        return takers[0] if len(takers) == 1 and name not in self.ends else None


def replace(graph: onnx.GraphProto, made: Mapping[str, Sequence[onnx.NodeProto]]) -> None:
    """Puts the nodes that are `made` for a tensor in the place of the one that makes it now.

    Of a node with several outputs all are made, or none.
    """
    old = list(graph.node)
    del graph.node[:]
    for node in old:
        new = [one for name in node.output for one in made.get(name, ())]
        graph.node.extend(new or [node])


def drop_unused(graph: onnx.GraphProto) -> None:
    """Removes nodes and constants on which no output depends."""
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed & {*node.output}:
            kept.append(node)
            needed |= {*node.input, *_inside(node)}
    del graph.node[:]
    graph.node.extend(reversed(kept))
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    if len(weights) < len(graph.initializer):
        del graph.initializer[:]
        graph.initializer.extend(weights)


def _inside(node: onnx.NodeProto) -> set[str]:
    """What the graphs inside a node take from around it, and more."""
    graphs = [g for a in node.attribute for g in (a.g, *a.graphs)]
    names: set[str] = set()
    for graph in graphs:
        for inner in graph.node:
            names |= {*inner.input, *_inside(inner)}
        names |= {value.name for value in graph.output}
    return names
