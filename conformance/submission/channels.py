"""Which colour channel is where, from the picture to the first weights: a walk of the graph by
names, shapes and small constants; nothing is run.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from conformance.submission.graph import Graph, Node

_NAMES = "RGB"
# Operators that leave every channel where it is.
_KEEPS = {
    *("Abs", "Add", "AveragePool", "BatchNormalization", "Cast", "Ceil", "Clip", "Div", "Dropout"),
    *("DequantizeLinear", "Exp", "Floor", "Identity", "InstanceNormalization", "LeakyRelu", "Log"),
    *("Max", "MaxPool", "Min", "Mul", "Neg", "Pad", "Pow", "QuantizeLinear", "Reciprocal", "Relu"),
    *("Resize", "Round", "Sigmoid", "Sqrt", "Sub", "Tanh", "Upsample"),
}


@dataclass(frozen=True)
class Channels:
    """The channels of a tensor of `rank` axes: along `axis` they are `order`, numbers of R, G and B
    or None for anything else. Where the axis was indexed away it is None and `order` one channel.
    `by` is the node that put them so, empty while they are as fed.
    """

    rank: int
    axis: int | None
    order: tuple[int | None, ...]
    by: str = ""

    @property
    def name(self) -> str:
        """`BGR`, or "" where it is not all three."""
        colours = [channel for channel in self.order if channel is not None]
        return "".join(_NAMES[c] for c in colours) if sorted(colours) == [0, 1, 2] else ""


def arrivals(
    graph: Graph, image: str, rank: int = 4, axis: int = 1
) -> Iterator[tuple[Channels, Node | None]]:
    """The channels of each tensor, from the input `image` of `rank` axes with R, G and B along
    `axis` on, that something takes which is not followed further, such as the first weights, with
    the node that takes it; None where nothing does.
    """
    found = {image: Channels(rank, axis, (0, 1, 2))}
    taken: set[str] = set()
    for node in graph.nodes:
        sources = [name for name in node.inputs if name in found]
        outputs = _follow(graph, node, found) if sources else {}
        if outputs:
            found.update(outputs)
        else:
            yield from ((found[name], node) for name in sources)
        taken.update(sources)
    yield from ((channels, None) for name, channels in found.items() if name not in taken)


def _follow(graph: Graph, node: Node, found: dict[str, Channels]) -> dict[str, Channels]:
    """What is known of a node's outputs; empty where it is not followed."""
    step = _STEPS.get(node.op, _keep if node.op in _KEEPS else None)
    if node.domain or step is None:
        return {}
    before = {found[name].name: found[name].by for name in node.inputs if name in found}
    made = {
        name: replace(channels, by=before.get(channels.name, node.label))
        for name, channels in step(graph, node, found).items()
    }
    return made if all(_fits(graph, *item) for item in made.items()) else {}


def _fits(graph: Graph, name: str, channels: Channels) -> bool:
    """Whether what is declared or inferred of a tensor does not contradict the walk."""
    shape = graph.value(name).shape
    if shape is None:
        return True
    size = None if channels.axis is None else shape[channels.axis : channels.axis + 1]
    return len(shape) == channels.rank and size in (None, (len(channels.order),), (None,))


def _keep(graph: Graph, node: Node, found: dict[str, Channels]) -> dict[str, Channels]:
    known = {found[name].order: found[name] for name in node.inputs if name in found}
    return dict.fromkeys(node.outputs[:1], next(iter(known.values()))) if len(known) == 1 else {}


def _transpose(graph: Graph, node: Node, found: dict[str, Channels]) -> dict[str, Channels]:
    source = found[node.inputs[0]]
    order = _numbers(node.attributes.get("perm"), list(range(source.rank))[::-1])
    if source.axis is None or sorted(order) != list(range(source.rank)):
        return {}
    return {node.outputs[0]: replace(source, axis=order.index(source.axis))}


def _gather(graph: Graph, node: Node, found: dict[str, Channels]) -> dict[str, Channels]:
    source, picked = found.get(node.inputs[0]), _ints(graph, node, 1)
    if source is None or picked is None or source.axis is None:
        return {}
    axis = _axis(node.attributes.get("axis", 0), source.rank)
    scalar = graph.value(node.inputs[1]).shape == ()
    if axis != source.axis:
        moved = source.axis - (scalar and axis is not None and axis < source.axis)
        return {node.outputs[0]: replace(source, rank=source.rank - scalar, axis=moved)}
    order = _pick(source.order, picked)
    kept = None if scalar else axis
    return {node.outputs[0]: Channels(source.rank - scalar, kept, order)} if order else {}


def _gather_nd(graph: Graph, node: Node, found: dict[str, Channels]) -> dict[str, Channels]:
    source, picked = found.get(node.inputs[0]), _ints(graph, node, 1)
    column = graph.value(node.inputs[1]).shape if len(node.inputs) > 1 else None
    if source is None or picked is None or source.axis != 0 or column != (len(picked), 1):
        return {}
    order = _pick(source.order, picked)
    return {node.outputs[0]: replace(source, order=order)} if order else {}


def _slice(graph: Graph, node: Node, found: dict[str, Channels]) -> dict[str, Channels]:
    source = found.get(node.inputs[0])
    if source is None or source.axis is None:
        return {}
    starts, ends = _given(graph, node, 1, "starts"), _given(graph, node, 2, "ends")
    axes = _given(graph, node, 3, "axes", list(range(len(starts or ()))))
    steps = _given(graph, node, 4, "steps", [1] * len(starts or ()))
    if not starts or ends is None or axes is None or steps is None or 0 in steps:
        return {}
    if not len(starts) == len(ends) == len(axes) == len(steps):
        return {}
    order = source.order
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if _axis(axis, source.rank) == source.axis:
            order = order[start:end:step]
    return {node.outputs[0]: replace(source, order=order)} if order else {}


def _split(graph: Graph, node: Node, found: dict[str, Channels]) -> dict[str, Channels]:
    source = found.get(node.inputs[0])
    if source is None or source.axis is None:
        return {}
    if _axis(node.attributes.get("axis", 0), source.rank) != source.axis:
        return dict.fromkeys(node.outputs, source)
    count, length = len(node.outputs), len(source.order)
    even = [length // count] * count if length % count == 0 else None
    sizes = _given(graph, node, 1, "split", even)
    if sizes is None or sum(sizes) != length or min(sizes) < 1 or len(sizes) != count:
        return {}
    ends = [sum(sizes[: i + 1]) for i in range(count)]
    return {
        name: replace(source, order=source.order[end - size : end])
        for name, size, end in zip(node.outputs, sizes, ends, strict=True)
    }


def _concat(graph: Graph, node: Node, found: dict[str, Channels]) -> dict[str, Channels]:
    known = [found.get(name) for name in node.inputs]
    rank = next(channels.rank for channels in known if channels is not None)
    axis = _axis(node.attributes.get("axis", 0), rank)
    order: list[int | None] = []
    for name, channels in zip(node.inputs, known, strict=True):
        shape = graph.value(name).shape
        if channels is None:
            size = shape[axis] if shape and axis is not None and axis < len(shape) else None
            if size is None:
                return {}
            order += [None] * size
        elif channels.rank != rank or channels.axis not in (None, axis):
            return {}
        else:
            order += channels.order
    return {node.outputs[0]: Channels(rank, axis, tuple(order))}


def _unsqueeze(graph: Graph, node: Node, found: dict[str, Channels]) -> dict[str, Channels]:
    source, axes = found[node.inputs[0]], _given(graph, node, 1, "axes")
    if axes is None:
        return {}
    rank = source.rank + len(axes)
    new = {_axis(axis, rank) for axis in axes}
    places = [axis for axis in range(rank) if axis not in new]
    kept = None if source.axis is None else places[source.axis]
    return {node.outputs[0]: replace(source, rank=rank, axis=kept)}


def _squeeze(graph: Graph, node: Node, found: dict[str, Channels]) -> dict[str, Channels]:
    source, axes = found[node.inputs[0]], _given(graph, node, 1, "axes")
    if axes is None:
        return {}
    gone = {_axis(axis, source.rank) for axis in axes}
    left = [axis for axis in range(source.rank) if axis not in gone]
    kept = left.index(source.axis) if source.axis in left else None
    return {node.outputs[0]: replace(source, rank=len(left), axis=kept)}


def _reshape(graph: Graph, node: Node, found: dict[str, Channels]) -> dict[str, Channels]:
    """Where the axes ahead of the channels are merged or parted among themselves alone."""
    source = found.get(node.inputs[0])
    old, new = graph.value(node.inputs[0]).shape, graph.value(node.outputs[0]).shape
    if source is None or source.axis is None or not old or not new or None in (*old, *new):
        return {}
    for axis in range(len(new)):
        same = new[axis] == len(source.order) == old[source.axis]
        if same and _product(new[:axis]) == _product(old[: source.axis]):
            return {node.outputs[0]: replace(source, rank=len(new), axis=axis)}
    return {}


def _convolution(graph: Graph, node: Node, found: dict[str, Channels]) -> dict[str, Channels]:
    """A kernel of one pixel that gives each channel another place, or one kernel a channel."""
    source = found.get(node.inputs[0])
    shape = graph.value(node.inputs[1]).shape if len(node.inputs) > 1 else None
    if source is None or source.axis != 1 or not shape or len(shape) != source.rank:
        return {}
    count = len(source.order)
    if node.attributes.get("group", 1) == count == shape[0]:
        return {node.outputs[0]: source}
    kernel = graph.constants.get(node.inputs[1], ())
    if (
        shape != (count, count, *(1,) * (source.rank - 2))
        or node.attributes.get("group", 1) != 1
        or not kernel
    ):
        return {}
    return _permuted(node, source, [kernel[i * count : (i + 1) * count] for i in range(count)])


def _product_with_weights(
    graph: Graph, node: Node, found: dict[str, Channels]
) -> dict[str, Channels]:
    """A matrix behind channels-last pixels that gives each channel another place."""
    source = found.get(node.inputs[0])
    if source is None or source.axis != source.rank - 1:
        return {}
    count, matrix = len(source.order), graph.constants.get(node.inputs[1], ())
    if graph.value(node.inputs[1]).shape != (count, count) or not matrix:
        return {}
    return _permuted(node, source, [matrix[i::count] for i in range(count)])


def _permuted(node: Node, source: Channels, rows: Sequence[Sequence[float]]) -> dict[str, Channels]:
    """The channels behind weights of which each output has one: its row has one entry."""
    places = [[i for i, weight in enumerate(row) if weight] for row in rows]
    if sorted(places) != [[i] for i in range(len(rows))]:
        return {}
    return {node.outputs[0]: replace(source, order=tuple(source.order[i] for (i,) in places))}


_STEPS: dict[str, Callable[[Graph, Node, dict[str, Channels]], dict[str, Channels]]] = {
    "Concat": _concat,
    "Conv": _convolution,
    "Flatten": _reshape,
    "Gather": _gather,
    "GatherND": _gather_nd,
    "MatMul": _product_with_weights,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}


def _pick(order: tuple[int | None, ...], picked: list[int]) -> tuple[int | None, ...]:
    inside = all(-len(order) <= i < len(order) for i in picked)
    return tuple(order[i] for i in picked) if inside else ()


def _ints(graph: Graph, node: Node, place: int) -> list[int] | None:
    """The constant at one input of a node, None where it is not known."""
    name = node.inputs[place] if place < len(node.inputs) else ""
    values = graph.constants.get(name)
    return None if values is None else [int(value) for value in values]


def _given(
    graph: Graph, node: Node, place: int, attribute: str, default: list[int] | None = None
) -> list[int] | None:
    """What newer operator sets give as an input and older ones as an attribute."""
    if place < len(node.inputs) and node.inputs[place]:
        return _ints(graph, node, place)
    return _numbers(node.attributes.get(attribute), default)


def _numbers(value: object, default: list[int] | None) -> list[int]:
    listed = isinstance(value, list | tuple) and all(isinstance(x, int) for x in value)
    return list(value) if listed else default  # type: ignore[call-overload, return-value]


def _axis(value: object, rank: int) -> int | None:
    """An axis counted from the front; a damaged file may hold anything for its number."""
    if not isinstance(value, int) or not -rank <= value < rank:
        return None
    return value % rank


def _product(shape: Sequence[int | None]) -> int:
    product = 1
    for size in shape:
        product *= size or 0
    return product
