"""Shape inference that computes what operators do to shapes, where ONNX's own does not.

An exporter that is told of no fixed size writes sizes as arithmetic (Shape, Gather, Div, Concat).
ONNX follows some of these operators only; a runtime computes them all once it knows the inputs.
"""

import contextlib
import math
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

MOST_ELEMENTS = 64  # of a shape, axes and the like: what is larger is no size
_MOST_ROUNDS = 8  # each is one more Reshape or Resize whose target hangs on the one before
_ARITHMETIC = {
    *("Abs", "Add", "Cast", "Ceil", "Concat", "Constant", "Div", "Equal", "Floor", "Gather"),
    *("Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul"),
    *("Neg", "Pow", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum", "Reshape", "Round"),
    *("ScatterND", "Slice", "Sqrt", "Squeeze", "Sub", "Transpose", "Unsqueeze", "Where"),
}


def infer_shapes(model: Any) -> Any:
    """`model` with what can be known of its inner tensors; its nodes may become initializers.

    Raises what onnx.shape_inference raises.
    """
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    if any(_dims(value) is None for value in model.graph.input):
        return inferred
    for _ in range(_MOST_ROUNDS):
        if all(_dims(value) is not None for value in inferred.graph.output):
            break
        if not _fold(model, inferred):
            break
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    return inferred


def _dims(value: Any) -> tuple[int, ...] | None:
    """The shape of a tensor, None where it is not fixed."""
    if not value.type.tensor_type.HasField("shape"):
        return None
    dims = value.type.tensor_type.shape.dim
    return tuple(d.dim_value for d in dims) if all(d.HasField("dim_value") for d in dims) else None


def _fold(model: Any, inferred: Any) -> bool:
    """Makes initializers of the nodes whose values are known; whether there were any."""
    graph = model.graph
    values = (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output)
    shapes = {value.name: _dims(value) for value in values}
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    left = []
    for node in graph.node:
        found = None
        with contextlib.suppress(Exception):  # a damaged node computes nothing
            found = _value(node, known, shapes, model.opset_import)
        if found is None:
            left.append(node)
        else:
            known[node.output[0]] = found
            graph.initializer.append(numpy_helper.from_array(found, node.output[0]))
    folded = len(left) < len(graph.node)
    if folded:
        kept = onnx.GraphProto(node=left)
        del graph.node[:]
        graph.node.extend(kept.node)
    return folded


def _value(node: Any, known: dict[str, Any], shapes: dict[str, Any], opsets: Any) -> Any:
    """What a node computes, None where that is not known or is no size."""
    if node.domain not in ("", "ai.onnx") or len(node.output) != 1:
        return None
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type in ("Shape", "Size"):
        dims = shapes.get(node.input[0])
        if dims is None:
            return None
        if node.op_type == "Size":
            return np.array(math.prod(dims), np.int64)
        return np.array(dims[attributes.get("start", 0) : attributes.get("end")], np.int64)
    if node.op_type == "ConstantOfShape" and node.input[0] in known:
        shape = tuple(known[node.input[0]])
        fill = np.zeros(1, np.float32)
        if "value" in attributes:
            fill = numpy_helper.to_array(attributes["value"])
        small = math.prod(shape) <= MOST_ELEMENTS
        return np.full(shape, fill.item(), fill.dtype) if small else None
    given = [name for name in node.input if name]
    if node.op_type not in _ARITHMETIC or not all(name in known for name in given):
        return None
    from onnx.reference import ReferenceEvaluator

    graph = helper.make_graph(
        [node],
        "one",
        [onnx.ValueInfoProto(name=name) for name in given],
        [onnx.ValueInfoProto(name=node.output[0])],
    )
    one = helper.make_model(graph, opset_imports=opsets)
    found = np.asarray(ReferenceEvaluator(one).run(None, {name: known[name] for name in given})[0])
    return found if found.size <= MOST_ELEMENTS else None
