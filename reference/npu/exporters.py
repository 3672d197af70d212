"""One graph for what exporters write in several ways, so that a model has one estimate.

The same network comes with shapes computed in the graph, with GELU or LayerNorm written out, or
with queries, keys and values cut from one projection after it was moved about; Qualcomm's compiler
simulates some of that up to 25 times slower than what it stands for.
"""

import numpy as np
import onnx
from onnx import helper, inliner, numpy_helper
from onnx.reference import ReferenceEvaluator

from reference.npu.fuse import fuse_gelu, fuse_layer_norm
from reference.npu.graph import constants, drop_unused, static_shapes
from reference.npu.spelling import drop_guards, order_biases
from reference.npu.unpack import unpack_projections

_LARGEST_FOLDED = 1 << 16  # elements: shapes, masks and scales, no weights
_ROUNDS = 8  # of folding, each of which makes more shapes known
# Not the same at each run, or with graphs inside.
_NOT_FOLDED = ("Random", "Bernoulli", "Multinomial", "If", "Loop", "Scan", "Quantize", "Dequantize")

_REWRITES = (
    (unpack_projections, "projection moved about before it is cut in parts", "Split first"),
    (order_biases, "bias added to its product from the left", "added from the right"),
    (drop_guards, "Softmax with a mask of zeros or a guard against NaN", "Softmax"),
    (fuse_layer_norm, "layer normalisation written out", "LayerNormalization"),
    (fuse_gelu, "GELU written out", "Gelu"),  # last: its operator hides the shapes behind it
)


def rewrite(model: onnx.ModelProto) -> tuple[str, ...]:
    """Changes `model`, with its weights loaded, to the same function in the operators that the
    compiler knows; what was changed, in words.

    Constants and static shapes are folded where something is left to be changed; that alone is not
    told. Large weights stay as they are. A graph that is not understood stays as it is.
    """
    if model.functions:
        model.CopyFrom(inliner.inline_local_functions(model))
    _fold_constants(model)
    notes = []
    for change, what, becomes in _REWRITES:
        if count := change(model):
            notes.append(f"{count} x {what}: simulated as {becomes}")
    drop_unused(model.graph)
    return tuple(notes)


def _fold_constants(model: onnx.ModelProto) -> None:
    """Computes what depends on constants and on static shapes alone."""
    for _ in range(_ROUNDS):
        if not _fold_once(model):
            return


def _fold_once(model: onnx.ModelProto) -> bool:
    """One pass over the graph; whether anything was folded."""
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    ends = {value.name for value in graph.output}
    known = constants(graph, _LARGEST_FOLDED)
    shapes = static_shapes(model)
    other_names: dict[str, str] = {}
    left = []
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = other_names.get(name, name)
        value = None
        if node.op_type != "Constant" and len(node.output) == 1 and not ends & {*node.output}:
            if node.op_type == "Identity" and node.input[0] in weights:
                other_names[node.output[0]] = node.input[0]
                continue
            value = _value(node, known, shapes, model)
        if value is None:
            left.append(node)
        else:
            known[node.output[0]] = value
            graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
    folded = len(left) < len(graph.node)
    left = [onnx.NodeProto.FromString(node.SerializeToString()) for node in left]
    del graph.node[:]
    graph.node.extend(left)
    return folded


def _value(
    node: onnx.NodeProto,
    known: dict[str, np.ndarray],
    shapes: dict[str, tuple[int, ...]],
    model: onnx.ModelProto,
) -> np.ndarray | None:
    """What the node computes, where that is known without any input of the model."""
    if node.op_type == "Shape" and not node.attribute and node.input[0] in shapes:
        return np.array(shapes[node.input[0]], np.int64)
    names = [name for name in node.input if name]
    if not names or any(name not in known for name in names) or node.domain:
        return None
    if node.op_type.startswith(_NOT_FOLDED):
        return None
    result = helper.make_tensor_value_info(node.output[0], onnx.TensorProto.UNDEFINED, None)
    tensors = [numpy_helper.from_array(known[name], name) for name in dict.fromkeys(names)]
    graph = helper.make_graph([node], "folded", [], [result], tensors)
    try:
        one = helper.make_model(graph, opset_imports=model.opset_import)
        value = np.asarray(ReferenceEvaluator(one).run(None, {})[0])
    except Exception:  # of many kinds: what it cannot compute stays in the graph
        return None
    return value if value.size <= _LARGEST_FOLDED else None
