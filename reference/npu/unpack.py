"""Queries, keys and values cut from one projection: first the cut, then each moved by itself.

Exporters write it in many ways, from a Reshape with a 3 and a Transpose to torch's chain of
Unsqueeze, Transpose and Squeeze, and cut by Gather, Slice or Split. What they do to the order of
the elements is followed on their indices, so that no way has to be known.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from reference.npu.graph import Links, constants, replace, static_shapes

_MOVES = {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity"}
_CUTS = {"Gather", "Slice", "Split"}
_LARGEST_CONSTANT = 64  # elements: shapes, axes and indices
_LARGEST = 1 << 24  # elements of a projection that is followed
_SIZES_OPERAND = 13  # the opset from which Split takes its sizes as an input


@dataclass(frozen=True)
class _Part:
    """The part of the projection's last axis from `start` to `stop`, moved to become `name`.

    It is reshaped to `inner`, transposed by `axes` and reshaped to `shape`.
    """

    name: str
    start: int
    stop: int
    inner: tuple[int, ...]
    axes: tuple[int, ...]
    shape: tuple[int, ...]


def unpack_projections(model: onnx.ModelProto) -> int:
    """Rewrites each projection that is moved about before it is cut; how many were."""
    graph = model.graph
    shapes, known = static_shapes(model), constants(graph, _LARGEST_CONSTANT)
    links = Links(graph)
    parts: dict[str, list[_Part]] = {}
    for node in graph.node:
        root = _root(node, links, shapes)
        for name in node.output if root else ():
            followed = _follow(root, node, name, links, shapes, known)
            if followed is not None:
                parts.setdefault(root, []).append(followed)
    order = {name: index for index, node in enumerate(graph.node) for name in node.output}
    made: dict[str, Sequence[onnx.NodeProto]] = {}
    count = 0
    for root, found in parts.items():
        ordered = sorted(found, key=lambda part: part.start)
        edges = [0, *(part.stop for part in ordered)]
        if edges[:-1] != [p.start for p in ordered] or edges[-1] != shapes[root][-1]:
            continue
        split, cuts = _split(root, ordered, _opset(model), graph)
        first = min(ordered, key=lambda part: order[part.name])
        for part, cut in zip(ordered, cuts, strict=True):
            made[part.name] = [*([split] if part is first else []), *_moved(part, cut, graph)]
        count += 1
    replace(graph, made)
    return count


def _opset(model: onnx.ModelProto) -> int:
    return next((int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)


def _root(cut: onnx.NodeProto, links: Links, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """What the cut is made from before anything moves it; empty where it is cut at once."""
    if cut.op_type not in _CUTS or cut.domain:
        return ""
    name, moved = cut.input[0], False
    while (node := links.made_by.get(name)) is not None and node.op_type in _MOVES:
        moved = moved or node.op_type == "Transpose"
        name = node.input[0]
    size = int(np.prod(shapes[name])) if shapes.get(name) else 0
    return name if moved and node is not None and 0 < size <= _LARGEST else ""


def _follow(
    root: str,
    cut: onnx.NodeProto,
    name: str,
    links: Links,
    shapes: Mapping[str, tuple[int, ...]],
    known: Mapping[str, np.ndarray],
) -> _Part | None:
    """How one output of the cut, moved on as long as that is all, comes from the projection."""
    way = [cut]
    while way[0].input[0] != root:
        way.insert(0, links.made_by[way[0].input[0]])
    end = name
    while (node := links.only_taker(end)) is not None and node.op_type in _MOVES:
        if node.input[0] != end:
            break
        way.append(node)
        end = node.output[0]
    size = int(np.prod(shapes[root]))
    index = np.arange(size, dtype=np.int32).reshape(shapes[root])
    for node in way:
        output = name if node is cut else node.output[0]
        moved = _moved_indices(index, node, output, shapes, known)
        if moved is None:
            return None
        index = moved
    width = shapes[root][-1]
    columns = index % width
    start, stop = int(columns.min()), int(columns.max()) + 1
    if index.size * width != size * (stop - start):
        return None
    inner = _inner(index // width * (stop - start) + columns - start)
    return None if inner is None else _Part(end, start, stop, *inner, index.shape)


def _moved_indices(
    index: np.ndarray,
    node: onnx.NodeProto,
    output: str,
    shapes: Mapping[str, tuple[int, ...]],
    known: Mapping[str, np.ndarray],
) -> np.ndarray | None:
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "Transpose":
        return index.transpose(attributes.get("perm", range(index.ndim)[::-1]))
    shape = shapes.get(output)
    if shape is None:
        return None
    if node.op_type in _MOVES:
        return index.reshape(shape)
    found = _cut(index, node, output, attributes, known, shapes)
    return found if found is not None and found.shape == shape else None


def _cut(
    index: np.ndarray,
    node: onnx.NodeProto,
    output: str,
    attributes: Mapping[str, Any],
    known: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
) -> np.ndarray | None:
    if node.op_type == "Split":
        axis = attributes.get("axis", 0)
        lengths = [shapes.get(name, (0,) * index.ndim)[axis] for name in node.output]
        at = list(node.output).index(output)
        start = sum(lengths[:at])
        return index.take(range(start, start + lengths[at]), axis)
    operands = [known.get(name) for name in node.input[1:] if name]
    if not operands or any(operand is None for operand in operands):
        return None
    values = [operand for operand in operands if operand is not None]
    if node.op_type == "Gather":
        return index.take(values[0], attributes.get("axis", 0)) if values[0].size == 1 else None
    starts, stops, axes, steps = (
        [int(v) for v in values[i].reshape(-1)] if i < len(values) else None for i in range(4)
    )
    if starts is None or stops is None:
        return None
    for at, axis in enumerate(axes or range(len(starts))):
        step = steps[at] if steps else 1
        chosen = range(index.shape[axis])[starts[at] : stops[at] : step]
        index = index.take(list(chosen), axis)
    return index


def _inner(index: np.ndarray) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The shape and the permutation that give these indices but for a last Reshape."""
    sizes: list[int] = []
    strides: list[int] = []
    for axis, size in enumerate(index.shape):
        line = np.moveaxis(index, axis, -1).reshape(-1, size)[0] - index.flat[0]
        if size == 1:
            factors = [(1, 0)]
        elif not (factors := list(_factors(line))):
            return None
        sizes += [size for size, _ in factors]
        strides += [stride for _, stride in factors]
    # Axes of one element come first: anywhere would do.
    order = sorted(range(len(sizes)), key=lambda i: (sizes[i] > 1, -strides[i]))
    inner = tuple(sizes[i] for i in order)
    axes = tuple(order.index(i) for i in range(len(sizes)))
    told = np.arange(index.size, dtype=np.int32).reshape(inner).transpose(axes)
    same = np.array_equal(told.reshape(index.shape), index)
    return (inner, axes) if same else None


def _factors(line: np.ndarray) -> Iterator[tuple[int, int]]:
    """(size, stride) of the axes that were merged into this one, the outer ones first."""
    step = int(line[1])
    even = np.flatnonzero(line != step * np.arange(len(line)))
    run = int(even[0]) if len(even) else len(line)
    if len(line) % run:
        return
    if run < len(line):
        yield from _factors(line[::run])
    yield run, step


def _split(
    root: str, parts: Sequence[_Part], opset: int, graph: onnx.GraphProto
) -> tuple[onnx.NodeProto, list[str]]:
    sizes = [part.stop - part.start for part in parts]
    cuts = [f"{root}/part_{index}" for index in range(len(parts))]
    if opset < _SIZES_OPERAND:
        node = helper.make_node("Split", [root], cuts, f"{root}/split", axis=-1, split=sizes)
    else:
        operand = _constant(graph, f"{root}/sizes", sizes)
        node = helper.make_node("Split", [root, operand], cuts, f"{root}/split", axis=-1)
    return node, cuts


def _moved(part: _Part, cut: str, graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    nodes, name = [], cut
    steps: list[tuple[str, tuple[int, ...]]] = [("Reshape", part.inner)]
    if part.axes != tuple(range(len(part.axes))):
        steps.append(("Transpose", part.axes))
    moved = tuple(part.inner[axis] for axis in part.axes)
    if moved != part.shape:
        steps.append(("Reshape", part.shape))
    for number, (op, value) in enumerate(steps):
        output = part.name if number == len(steps) - 1 else f"{cut}/{number}"
        if op == "Transpose":
            node = helper.make_node(op, [name], [output], f"{cut}/{op}", perm=value)
        else:
            operand = _constant(graph, f"{cut}/shape_{number}", value)
            node = helper.make_node(op, [name, operand], [output], f"{cut}/{op}_{number}")
        nodes.append(node)
        name = output
    return nodes


def _constant(graph: onnx.GraphProto, name: str, values: Sequence[int]) -> str:
    graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
    return name
