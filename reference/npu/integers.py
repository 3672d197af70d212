"""Whether an ONNX graph is quantised, and in a way of which the latency can be estimated."""

import re

import onnx
from onnx import TensorProto

from reference.npu.calibration import ATTENTION_SOFTMAX
from reference.npu.graph import Links

_OTHER = re.compile(r"DynamicQuantizeLinear|QLinear\w+|\w+Integer")
_QUANTIZE, _DEQUANTIZE = _PAIR = "QuantizeLinear", "DequantizeLinear"
_BITS = {
    TensorProto.UINT4: 4,
    TensorProto.INT4: 4,
    TensorProto.UINT8: 8,
    TensorProto.INT8: 8,
    TensorProto.UINT16: 16,
    TensorProto.INT16: 16,
}
# What has weights: each of them has to compute in integers.
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm")


def is_quantised(model: onnx.ModelProto) -> bool:
    """Whether any operator computes in integers, or is given them."""
    return any(_OTHER.fullmatch(n.op_type) or n.op_type in _PAIR for n in model.graph.node)


def find_uncovered(model: onnx.ModelProto) -> str:
    """What of a quantised model has no estimate, as `it is w8a16`; empty for w8a8 convolution.

    That is QDQ, of weights and activations of 8 bits in every convolution.
    """
    graph = model.graph
    other = next((n.op_type for n in graph.node if _OTHER.fullmatch(n.op_type)), "")
    if other:
        return f"it has {other} in place of QuantizeLinear and DequantizeLinear"
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    weights, activations = set(), set()
    for node in graph.node:
        if node.op_type == _QUANTIZE:
            activations.add(_BITS.get(_made_type(node, types), 0))
        elif node.op_type == _DEQUANTIZE and types.get(node.input[0]) in _BITS:
            weights.add(_BITS[types[node.input[0]]])
    if 0 in activations:
        return "it is quantised to floats of 8 bits"
    if not activations:
        return "its weights alone are quantised"
    if weights - {8} or activations != {8}:
        least, most = min(weights, default=8), max(activations)
        return f"it is w{least}a{most}"
    softmax = sum(node.op_type == "Softmax" for node in graph.node)
    if softmax >= ATTENTION_SOFTMAX:
        return f"it is attention ({softmax} Softmax)"
    links = Links(graph)
    for node in graph.node:
        made = [links.made_by.get(name) for name in node.input[:2]]
        if node.op_type in _WEIGHTED and any(m is None or m.op_type != _DEQUANTIZE for m in made):
            return f"{node.op_type} {node.name!r} computes in float"
    return ""


def _made_type(node: onnx.NodeProto, types: dict[str, int]) -> int:
    if len(node.input) > 2 and node.input[2] in types:
        return types[node.input[2]]
    given = {attribute.name: attribute.i for attribute in node.attribute}
    return int(given.get("output_dtype") or TensorProto.UINT8)
