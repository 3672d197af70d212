"""Which sizes a graph leaves open, where that begins, and what helps there."""

from collections.abc import Iterator

from conformance.rulebook import Verdict, failed
from conformance.submission.graph import Graph, Node, Value
from reference.tracks import format_shape

_FIX_INPUTS = "export without dynamic_axes, or use onnxruntime.tools.make_dynamic_shape_fixed"
_TENSOR = "take and return the tensor itself: no list, tuple, dict or None in forward()"


def open_sizes(graph: Graph) -> Iterator[Verdict]:
    """The inputs and outputs that are no tensors of fixed sizes."""
    open_inputs = [value for value in graph.inputs if not _fixed(value)]
    for value in (*graph.inputs, *graph.outputs):
        if value.kind != "tensor":
            yield failed("a tensor", value.label, remedy=_TENSOR)
        elif value in open_inputs or (open_inputs and not _fixed(value)):
            yield failed("a fixed shape", value.label, remedy=_FIX_INPUTS)
        elif not _fixed(value):
            node = _first_open(graph)
            where = f", open from {node.label} on" if node else ""
            remedy = (
                f"the inputs are fixed: give the result of {node.op} a fixed size inside forward()"
                if node
                else "declare the sizes that it has, all of them fixed"
            )
            yield failed("a fixed shape", value.label + where, remedy=remedy)


def sizes_seen(graph: Graph) -> str:
    """How many tensors are fixed, and which outputs are declared more loosely than they are."""
    loose = [
        f"{own.name} is declared {format_shape(own.shape)}, the graph gives it"
        f" {format_shape(fixed.shape)}"
        for own, fixed in zip(graph.declared, graph.outputs, strict=False)
        if own.shape != fixed.shape
    ]
    count = f"{len(graph.inputs) + len(graph.outputs)} tensors, all fixed"
    return "; ".join([count, *loose])


def _fixed(value: Value) -> bool:
    return value.shape is not None and None not in value.shape


def _first_open(graph: Graph) -> Node | None:
    """The first operator that makes a tensor of open size out of tensors of fixed sizes."""
    for node in graph.nodes:
        if any(name and not _fixed(graph.value(name)) for name in node.outputs):
            return node
    return None
