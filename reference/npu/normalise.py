"""Writes a correct graph so that onnxruntime does not fail on it ahead of Qualcomm's compiler."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from reference.npu.faults import EMPTY_AXES, Fault, find_fault


def normalise(path: Path) -> tuple[bytes | None, list[str]]:
    """The ONNX file at `path`, written so that onnxruntime neither fails on it nor leaves a node
    without a name; None where it stays as it is. And what was rewritten, in words.

    A node without a name gets that of its output. External data is neither read nor moved.
    """
    model = onnx.load(path, load_external_data=False)
    named = [_name(node) for nodes in _all_nodes(model) for node in nodes]
    notes = []
    for node in model.graph.node:
        fault = find_fault(node.op_type, _plain(node), node.input)
        if fault is not None and (done := _rewrite(model, node, fault)):
            notes.append(f"{node.op_type} {node.name!r}: {fault.reason}; compiled {done}")
    changed = any(named) or notes
    return model.SerializeToString() if changed else None, notes


def _rewrite(model: onnx.ModelProto, node: onnx.NodeProto, fault: Fault) -> str:
    """Writes the node in another way; how, or nothing where that is not possible."""
    if fault is EMPTY_AXES:
        listed = next(a for a in node.attribute if a.name == "axes")
        node.attribute.remove(listed)
        return "without it, which means all axes too"
    return _pad_every_axis(model, node)


def _pad_every_axis(model: onnx.ModelProto, node: onnx.NodeProto) -> str:
    constants = _constants(model.graph)
    rank = _rank(model, node.input[0])
    known = [constants.get(name) for name in (node.input[1], node.input[3])]
    if rank is None or known[0] is None or known[1] is None:
        return ""
    pads, axes = (numpy_helper.to_array(tensor).astype(np.int64) for tensor in known if tensor)
    every = np.zeros((2, rank), np.int64)
    every[:, axes] = pads.reshape(2, -1)
    name = f"{node.output[0]}/pads"
    model.graph.initializer.append(numpy_helper.from_array(every.reshape(-1), name))
    value = node.input[2]
    del node.input[1:]
    node.input.extend([name, value] if value else [name])
    return "with a size for every axis"


def _rank(model: onnx.ModelProto, name: str) -> int | None:
    inferred = onnx.shape_inference.infer_shapes(model).graph
    for value in (*inferred.value_info, *inferred.input, *inferred.output):
        if value.name == name and value.type.tensor_type.HasField("shape"):
            return len(value.type.tensor_type.shape.dim)
    return None


def _constants(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """The constants that are in the file itself."""
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value":
                found[node.output[0]] = attribute.t
    external = onnx.TensorProto.EXTERNAL
    return {name: tensor for name, tensor in found.items() if tensor.data_location != external}


def _plain(node: onnx.NodeProto) -> dict[str, Any]:
    graphs = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
    plain = [a for a in node.attribute if a.type not in graphs and not a.ref_attr_name]
    return {a.name: helper.get_attribute_value(a) for a in plain}


def _name(node: onnx.NodeProto) -> bool:
    """Gives a node the name of its first output where it has none; whether it had none."""
    output = next((name for name in node.output if name), "")
    if node.name or not output:
        return False
    node.name = output
    return True


def _all_nodes(model: onnx.ModelProto) -> Iterator[Iterable[onnx.NodeProto]]:
    """The nodes of the graph, of its subgraphs and of the local functions."""
    pending = [model.graph.node, *(function.node for function in model.functions)]
    while pending:
        nodes = pending.pop()
        yield nodes
        for node in nodes:
            for attribute in node.attribute:
                pending += [graph.node for graph in (attribute.g, *attribute.graphs) if graph.node]
