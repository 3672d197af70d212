"""Where onnxruntime fails on a correct graph ahead of Qualcomm's compiler, and the same graph
written so that it does not.

Measured with onnxruntime 1.31.1: its transpose optimiser, which makes the graph channels-last for
the NPU, gives a wrong rank to some operators, and wrong axes to others.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper


@dataclass(frozen=True)
class Fault:
    """What onnxruntime's optimiser fails on, and what the exporter's user writes instead."""

    reason: str
    remedy: str
    applies: Callable[[str, Mapping[str, Any], Sequence[str]], bool]


def _reduces_to_nothing(op: str, attributes: Mapping[str, Any], inputs: Sequence[str]) -> bool:
    listed = attributes.get("axes")
    if not op.startswith("Reduce") or attributes.get("keepdims", 1):
        return False
    return listed is not None and len(listed) == 0


def _pads_some_axes(op: str, attributes: Mapping[str, Any], inputs: Sequence[str]) -> bool:
    return op == "Pad" and len(inputs) > 3 and bool(inputs[3])


_EMPTY_AXES = Fault(
    "onnxruntime's optimiser fails on its empty list of axes",
    "name the axes in the model: y.amin(dim=(1, 2, 3), keepdim=True) and the like, or export with"
    " dynamo=True",
    _reduces_to_nothing,
)
_SOME_AXES = Fault(
    "onnxruntime's optimiser takes its axes for others",
    "pad all axes, those that stay by 0, instead of naming some",
    _pads_some_axes,
)
FAULTS = (_EMPTY_AXES, _SOME_AXES)


def find_fault(op: str, attributes: Mapping[str, Any], inputs: Sequence[str]) -> Fault | None:
    """What onnxruntime's optimiser fails on in one operator of the standard domain, if anything.

    `attributes` are its plain attributes by name; it fails where the operator comes behind one that
    depends on the layout, such as a convolution.
    """
    return next((fault for fault in FAULTS if fault.applies(op, attributes, inputs)), None)


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
    if fault is _EMPTY_AXES:
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
