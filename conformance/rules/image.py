"""Rules of every model that takes a picture."""

from collections.abc import Iterator
from itertools import pairwise

from conformance.evidence import Evidence, Run
from conformance.graph import Graph, Node
from conformance.look import describe, distance, is_finite, same
from conformance.rulebook import Level, Verdict, failed, passed, rule, skipped
from reference.tracks import Part, Shape

# Between the answers to two photographs in [0, 1], as a share of that in 0..255. Seen with random
# weights: 4e-5 (depth) made for 0..255, 0.5 to 1.5 (depth, PIDNet) and 8 (CLIP) made for [0, 1].
SCALE_RATIO = 0.1
_ARITHMETIC = {"Sub", "Add", "Mul", "Div", "BatchNormalization", "InstanceNormalization"}
ROUNDING = 1e-12
# What a picture in 0..255 is divided by at least: the standard deviations are near 57.
RAW_DIVISOR = 32
NO_ANSWER = "fewer than two photographs came back with finite values (COM-8 to COM-10)"
NO_PICTURE = "no graph takes a picture: see the rules of the inputs, or COM-13"
_WEIGHTED = {"Conv", "Gemm", "MatMul"}


@rule(
    "IMG-1",
    Level.DOCUMENTED,
    source="the task of every track: the answer is about the picture that is fed",
    remedy="trace with real inputs; check that no input was folded into a constant at export",
)
def image_matters(e: Evidence) -> Verdict:
    """Different photographs give different answers."""
    seen = []
    for part in e.track.parts:
        photos = e.runs("photo", part=part.name) if part.image else []
        photos = list(filter(is_finite, photos))
        if len(photos) > 1:
            if all(same(a.output, b.output) for a, b in pairwise(photos)):
                answer = f"the same for {len(photos)} photographs: {describe(photos[0].output)}"
                return failed("an answer that depends on the picture", answer, photos[0].where)
            different = len({run.output.tobytes() for run in photos})
            seen.append(f"{different} different answers to {len(photos)} photographs")
    return passed("; ".join(seen)) if seen else skipped(NO_ANSWER)


@rule(
    "IMG-2",
    Level.ADVICE,
    source="rules pages: pictures are fed as they are, normalisation belongs inside the model",
    remedy="put the scaling inside forward(): image / 255 for 0..255 tracks, nothing for [0, 1]",
)
def pixel_scale(e: Evidence) -> Verdict:
    """The model is made for the scale of pixels that is fed, 0..255 or [0, 1].

    A model tells photographs apart at its own scale. Photographs in [0, 1] are all nearly black to
    one made for 0..255, which then gives nearly the same answer to each. Where the graph divides
    the pixels by 32 or more ahead of the first weights, that settles it.
    """
    for part in e.track.parts:
        other = e.runs("rescaled", part=part.name) if part.image else []
        fed = [pair for pair in map(e.pair, other) if pair is not None]
        if len(fed) == 2 and all(map(is_finite, fed + other)):
            raw = e.track.image_high > 1
            division = _division(e.graphs[part.name], part) if raw and part.name in e.graphs else ""
            return passed(division) if division else _judge_scale(fed, other, raw=raw)
    return skipped(NO_ANSWER)


@rule(
    "IMG-3",
    Level.ADVICE,
    needs="graph",
    tracks=("retrieval", "pidnet"),
    source="retrieval participants' most frequent mistake; PidNet card: mean/std inside the model",
    remedy="subtract the mean and divide by the standard deviation inside forward()",
)
def normalisation_inside(e: Evidence) -> Verdict:
    """The mean and standard deviation of the pixels are dealt with inside the model.

    Seen as arithmetic ahead of the first weighted operator, or folded into its bias. A first
    convolution without a bias, straight on the input, subtracts no mean.
    """
    for part, graph in e.each_graph():
        if _picture(graph, part):
            seen = _normalisation(graph, part)
            return (
                passed(seen)
                if seen
                else failed(
                    "a mean and a scale",
                    "the picture goes straight into a convolution without a bias",
                )
            )
    return skipped(NO_PICTURE)


@rule(
    "IMG-4",
    Level.ADVICE,
    needs="graph",
    source="rules pages and sample solutions: every track feeds RGB",
    remedy="drop the reversal; for a network that was trained on BGR it is right",
)
def channels_as_fed(e: Evidence) -> Verdict:
    """The colour channels are not reversed ahead of the first weights.

    A network that was trained on BGR pictures needs the reversal; to any other it is a silent loss.
    """
    pictures = [(part, graph) for part, graph in e.each_graph() if _picture(graph, part)]
    for part, graph in pictures:
        for node in _up_to_weights(graph, part):
            if _reverses_channels(graph, node):
                return failed("RGB, as it is fed", f"{node.label} makes it BGR")
    return passed("no reversal of the channels") if pictures else skipped(NO_PICTURE)


def _judge_scale(fed: list[Run], other: list[Run], *, raw: bool) -> Verdict:
    """`fed` are the answers to two photographs as the track feeds them, `other` at the wrong scale.

    Distances ignore scale and offset of the answers, so that they compare across networks.
    """
    dark, bright = (other, fed) if raw else (fed, other)
    low, high = (max(distance(a.output, b.output), ROUNDING) for a, b in (dark, bright))
    if max(low, high) == ROUNDING:
        return skipped("two photographs are told apart at neither scale (IMG-1)")
    moved = [distance(a.output, b.output) for a, b in zip(fed, other, strict=True)]
    if sum(moved) / len(moved) < SCALE_RATIO * min(low, high):
        return passed("the answer does not depend on the scale of the pixels")
    seen = f"two photographs in [0, 1] are {low / high:.2g} times as far apart as in 0..255"
    if raw and low > SCALE_RATIO * high:
        seen += ": made for [0, 1] or mean/std"
        return failed("a model made for 0..255", seen, fed[0].where)
    if not raw and low < SCALE_RATIO * high:
        return failed("a model made for [0, 1]", f"{seen}: made for 0..255", fed[0].where)
    return passed(seen)


def _division(graph: Graph, part: Part) -> str:
    """What divides raw pixels ahead of the first weights, or "" where nothing is seen to.

    It settles the matter for a mask cut at its own mean, which is as clear for dark pictures.
    """
    for node in _up_to_weights(graph, part):
        least = min(_divisors(graph, node), default=0)
        if least >= RAW_DIVISOR:
            return f"{node.label} divides the pixels by {least:.3g} or more"
    return ""


def _divisors(graph: Graph, node: Node) -> list[float]:
    """The constants that a node divides by."""
    if node.op == "Div":
        return [abs(x) for name in node.inputs[1:] for x in graph.constants.get(name, ())]
    if node.op == "Mul":
        return [1 / abs(x) for name in node.inputs for x in graph.constants.get(name, ()) if x]
    return []


def _normalisation(graph: Graph, part: Part) -> str:
    """What normalises the picture ahead of the first weights, or "" where nothing can."""
    for node in _up_to_weights(graph, part):
        if node.op in _ARITHMETIC:
            return f"{node.label} ahead of the first weights"
        if node.op in _WEIGHTED and _has_bias(graph, node):
            return f"may be folded into the bias of {node.label}"
    return ""


def _picture(graph: Graph, part: Part) -> str:
    """The input that takes the picture: by name, or by its rank where it is called otherwise."""
    if part.image is None:
        return ""
    rank = len(part.image.shape)
    names = [value.name for value in graph.inputs if value.shape and len(value.shape) == rank]
    return str(part.image.name) if part.image.name in names else next(iter(names), "")


def _up_to_weights(graph: Graph, part: Part) -> Iterator[Node]:
    """The nodes that see the pixels, up to the first weighted ones and these included."""
    names, seen = [_picture(graph, part)], set[str]()
    while names:
        name = names.pop()
        seen.add(name)
        for node in graph.consumers(name):
            yield node
            if node.op not in _WEIGHTED and node.op != "Shape":
                names += [output for output in node.outputs if output not in seen]


def _reverses_channels(graph: Graph, node: Node) -> bool:
    """Whether three channels leave a node in the opposite order."""
    if node.op == "Concat":
        return [_channel(graph, name) for name in node.inputs] == [2, 1, 0]
    shape = graph.value(node.inputs[0]).shape if node.inputs else None
    given = [list(graph.constants.get(name, ())) for name in node.inputs[1:]]
    if node.op == "Gather" and given == [[2, 1, 0]]:
        return _is_three(shape, node.attributes.get("axis", 0))
    if node.op == "GatherND" and given == [[2, 1, 0]]:
        return graph.value(node.inputs[1]).shape == (3, 1) and _is_three(shape, 0)
    if node.op == "Slice" and given[3:] == [[-1]]:
        return any(_is_three(shape, axis) for axis in given[2])
    return False


def _is_three(shape: Shape | None, axis: object) -> bool:
    """Whether an axis has three elements; a damaged file may hold anything for its number."""
    shape = shape or ()
    return any(axis in (i, i - len(shape)) and size == 3 for i, size in enumerate(shape))


def _channel(graph: Graph, name: str) -> int | None:
    """Which channel a tensor is, where it was split or sliced off."""
    for node in graph.nodes:
        if name in node.outputs:
            if node.op == "Split" and len(node.outputs) == 3:
                return node.outputs.index(name)
            bounds = [list(graph.constants.get(bound, ())) for bound in node.inputs[1:3]]
            if node.op == "Slice":
                return next((i for i in range(3) if bounds == [[i], [i + 1]]), None)
    return None


def _has_bias(graph: Graph, node: Node) -> bool:
    """A third input, or an addition right behind; batch norms fold into such a bias too."""
    behind = (reader.op for output in node.outputs for reader in graph.consumers(output))
    return len(node.inputs) > 2 or any(op in {"Add", "BatchNormalization"} for op in behind)
