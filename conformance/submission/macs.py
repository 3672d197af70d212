"""How many multiply-adds an ONNX graph computes, from the shapes of its tensors.

Only products of matrices and convolutions are counted, as is usual: what adds, compares or
normalises costs little beside them. A Loop's body is counted once.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from conformance.submission.graph import Graph, Node, elements

# Operators that multiply matrices in a way of their own, which is not counted.
_OTHERS = {"Attention", "DeformConv", "GroupQueryAttention", "MultiHeadAttention", "QAttention"}


@dataclass(frozen=True)
class Macs:
    """Multiply-adds by type of operator, and the nodes whose number is not known."""

    by_op: dict[str, int]
    unknown: tuple[Node, ...]

    @property
    def total(self) -> int:
        """All that were counted."""
        return sum(self.by_op.values())


def count_macs(graph: Graph) -> Macs:
    """Of every node; one of which a size is open is among the unknown."""
    found: Counter[str] = Counter()
    unknown = []
    for node in graph.nodes:
        rule = _RULES.get(node.op)
        if rule is None and node.op not in _OTHERS:
            continue
        count = rule(graph, node) if rule else None
        if count is None:
            unknown.append(node)
        else:
            found[node.op] += count
    return Macs(dict(found.most_common()), tuple(unknown))


def _sizes(graph: Graph, name: str) -> tuple[int, ...] | None:
    shape = graph.value(name).shape
    if shape is None or not all(isinstance(size, int) for size in shape):
        return None
    return tuple(size for size in shape if isinstance(size, int))


def _convolution(weight: int) -> Callable[[Graph, Node], int | None]:
    """Each output value is a sum over a filter's (channels / groups, kernel...)."""

    def count(graph: Graph, node: Node) -> int | None:
        filters, out = _sizes(graph, node.inputs[weight]), _sizes(graph, node.outputs[0])
        return None if filters is None or out is None else math.prod(out) * math.prod(filters[1:])

    return count


def _transposed(graph: Graph, node: Node) -> int | None:
    """Each input value goes into a filter's (channels / groups, kernel...)."""
    taken, filters = (_sizes(graph, name) for name in node.inputs[:2])
    return None if taken is None or filters is None else math.prod(taken) * math.prod(filters[1:])


def _product(left: int, transposed: str = "") -> Callable[[Graph, Node], int | None]:
    """Each output value is a sum over the last axis of the left matrix, or the first of two."""

    def count(graph: Graph, node: Node) -> int | None:
        one, out = _sizes(graph, node.inputs[left]), _sizes(graph, node.outputs[0])
        if not one or out is None:
            return None
        across = one[0] if transposed and node.attributes.get(transposed) else one[-1]
        return math.prod(out) * across

    return count


def _einsum(graph: Graph, node: Node) -> int | None:
    """A product over all letters; None for an ellipsis."""
    equation = str(node.attributes.get("equation", "")).replace(" ", "")
    terms = equation.partition("->")[0].split(",")
    sizes: dict[str, int] = {}
    for term, name in zip(terms, node.inputs, strict=False):
        shape = _sizes(graph, name)
        if shape is None or len(shape) != len(term) or "." in term:
            return None
        sizes.update(zip(term, shape, strict=True))
    return math.prod(sizes.values()) if len(node.inputs) > 1 else 0


def _recurrent(graph: Graph, node: Node) -> int | None:
    """Every step of every sequence multiplies both tables of weights."""
    steps = _sizes(graph, node.inputs[0])
    tables: Sequence[int] = [elements(graph.value(name)) for name in node.inputs[1:3]]
    return None if steps is None or not all(tables) else math.prod(steps[:2]) * sum(tables)


_RULES: dict[str, Callable[[Graph, Node], int | None]] = {
    "Conv": _convolution(1),
    "ConvInteger": _convolution(1),
    "QLinearConv": _convolution(3),
    "ConvTranspose": _transposed,
    "MatMul": _product(0),
    "MatMulInteger": _product(0),
    "QLinearMatMul": _product(0),
    "Gemm": _product(0, "transA"),
    "Einsum": _einsum,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
}
