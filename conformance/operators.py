"""Operators that Qualcomm's compiler rejects or leaves to the CPU, as data.

Measured by compiling some 130 small models with onnxruntime-qnn 2.7.0 (QAIRT 2.51) for Snapdragon
8 Gen 3 in float16: everything that is not listed here compiled whole.
"""

from collections.abc import Callable
from dataclasses import dataclass

from conformance.graph import Graph, Node


@dataclass(frozen=True)
class Hazard:
    """A node that will not run on the NPU, why, and what to write instead."""

    node: Node
    reason: str
    remedy: str


@dataclass(frozen=True)
class _Known:
    applies: Callable[[Graph, Node], bool]
    reason: str
    remedy: str


_ELEMENTWISE = {"Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Where", "Sqrt", "Exp", "Sigmoid"}
_HIGH_RANK = 6


def npu_hazards(graph: Graph) -> list[Hazard]:
    """The nodes of a graph that are known to leave the NPU, in graph order."""
    return [
        Hazard(node, known.reason, known.remedy)
        for node in graph.nodes
        for known in _KNOWN
        if known.applies(graph, node)
    ]


def _op(*names: str) -> Callable[[Graph, Node], bool]:
    return lambda graph, node: node.op in names


def _rank(graph: Graph, node: Node) -> int:
    """The highest rank among a node's known inputs and outputs."""
    shapes = (graph.value(name).shape for name in (*node.inputs, *node.outputs))
    return max((len(shape) for shape in shapes if shape is not None), default=0)


def _mask_head(graph: Graph, node: Node) -> bool:
    """A product of a 3-D with a 4-D tensor over the channel: Mask2Former's mask head."""
    if node.op != "Einsum":
        return False
    terms, arrow, result = str(node.attributes.get("equation", "")).replace(" ", "").partition("->")
    operands = terms.split(",")
    ranks = sorted(len(operand) for operand in operands)
    return bool(arrow) and ranks == [3, 4] and len(result) == 4


def _float64(graph: Graph, node: Node) -> bool:
    return any(graph.value(name).dtype == "float64" for name in (*node.inputs, *node.outputs))


def _empty(graph: Graph, node: Node) -> bool:
    # As a constant it stands for an optional input that is not given, such as Resize's regions.
    return node.op != "Constant" and any(
        0 in (graph.value(name).shape or ()) for name in node.outputs
    )


_KNOWN = (
    _Known(
        _op("NonZero", "NonMaxSuppression", "Unique", "Compress"),
        "its output has no fixed shape, so that it and what follows run on the CPU",
        "write the selection as arithmetic: multiply with a mask, or torch.where with two values",
    ),
    _Known(
        _op("Loop", "Scan"),
        "loops and their bodies run on the CPU",
        "unroll the loop before the export",
    ),
    _Known(
        lambda graph, node: (
            node.op == "OneHot" and any(graph.value(x).dtype == "int64" for x in node.inputs[2:])
        ),
        "int64 on/off values are not supported",
        "compare with a constant arange: (x.unsqueeze(-1) == arange).float()",
    ),
    _Known(
        lambda graph, node: node.op == "CumSum" and bool(node.attributes.get("exclusive")),
        "an exclusive CumSum runs on the CPU",
        "subtract the input from a plain one: x.cumsum(dim) - x",
    ),
    _Known(
        _mask_head,
        "the compiler's MatMul validator refuses this Einsum",
        "write it as a matrix product: q @ features.flatten(2), then reshape",
    ),
    _Known(
        lambda graph, node: node.op == "GridSample" and _rank(graph, node) > 4,
        "GridSample of 5-D tensors fails the whole compilation",
        "sample every slice with a 4-D GridSample",
    ),
    _Known(
        lambda graph, node: node.op in _ELEMENTWISE and _rank(graph, node) == _HIGH_RANK,
        "elementwise operators of 6-D tensors run on the CPU",
        "merge axes first, so that no arithmetic sees more than 5 dimensions",
    ),
    _Known(
        lambda graph, node: node.op in {"Gather", "GatherND"} and _rank(graph, node) == _HIGH_RANK,
        "Gather of 6-D tensors (unfold, deformable attention) runs on the CPU",
        "use a convolution with a fixed kernel instead of unfold, or merge axes first",
    ),
    _Known(
        lambda graph, node: _rank(graph, node) > _HIGH_RANK,
        "no operator takes tensors of more than 6 dimensions",
        "merge axes that stay together",
    ),
    _Known(
        _empty,
        "a dimension of size 0 fails the whole compilation",
        "remove the operator: it computes nothing",
    ),
    _Known(
        _float64,
        "the NPU computes it in float16, and leaves a float64 input or output to the CPU",
        "keep constants and casts in float32: .float() where a Python float or numpy array came in",
    ),
)
