"""Tensors' names in an ONNX graph and in those inside its nodes. All of it takes onnx's own objects
and changes what it is given.
"""

from collections.abc import Iterator, Mapping
from typing import Any


def graphs(graph: Any) -> Iterator[Any]:
    """A graph, then those inside its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node or inner.output:
                    yield from graphs(inner)


def names_in(graph: Any) -> Iterator[str]:
    """Those of tensors and of nodes, some more than once."""
    for each in graphs(graph):
        for value in (*each.input, *each.output, *each.initializer):
            yield value.name
        yield from (sparse.values.name for sparse in each.sparse_initializer)
        for node in each.node:
            yield from (node.name, *node.input, *node.output)


def unused(graph: Any, name: str) -> str:
    """`name`, with as many `_` behind it as make it one that is not there."""
    taken = set(names_in(graph))
    while name in taken:
        name += "_"
    return name


def rename(graph: Any, names: Mapping[str, str], *, ends: bool) -> None:
    """Gives tensors other names wherever they are named; without `ends` the list of the graph's own
    inputs and outputs stays as it is.
    """
    for each in graphs(graph):
        own = (*each.input, *each.output) if ends or each is not graph else ()
        for value in (*own, *each.initializer, *each.value_info):
            value.name = names.get(value.name, value.name)
        for sparse in each.sparse_initializer:
            sparse.values.name = names.get(sparse.values.name, sparse.values.name)
        for note in each.quantization_annotation:
            note.tensor_name = names.get(note.tensor_name, note.tensor_name)
        for node in each.node:
            for listed in (node.input, node.output):
                for place, name in enumerate(listed):
                    if name in names:
                        listed[place] = names[name]
