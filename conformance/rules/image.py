"""Rules of every model that takes a picture."""

from collections.abc import Iterator
from itertools import pairwise

from conformance.contract.evidence import Evidence, Run
from conformance.contract.look import describe, distance, is_finite, told_apart
from conformance.rulebook import Level, Verdict, failed, passed, rule, skipped, together
from conformance.rules.contract import of_part
from conformance.submission.channels import Channels, arrivals
from conformance.submission.graph import Graph, Node
from reference.agreement import Nothing, told, tolerances
from reference.tracks import COLOURS, Part, format_shape

# Between the answers to two photographs in [0, 1], as a share of that in 0..255. Seen with random
# weights: 4e-5 (depth) made for 0..255, 0.5 to 1.5 (depth, PIDNet) and 8 (CLIP) made for [0, 1].
SCALE_RATIO = 0.1
UNIT = "divide by the standard deviations of pixels in [0, 1], such as 0.229, 0.224, 0.225"
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
    shown_by="answers",
    source="the task of every track: the answer is about the picture that is fed",
    remedy="trace with real inputs; check that no input was folded into a constant at export",
)
def image_matters(e: Evidence) -> Verdict:
    """Different photographs give different answers, under one text where there is a text.

    To more than rounding, and as the score sees them: of embeddings the direction counts, and of a
    mask the pixels that the pictures cover.
    """
    judged = [(part, pairs) for part in e.track.parts if (pairs := _pictures(e, part))]
    offences, seen = [], []
    for part, pairs in judged:
        apart = sum(told_apart(one, other) for one, other in pairs)
        under = " under one text" if part.text else ""
        if not apart:
            first = pairs[0][0]
            answer = f"the same for {len(pairs) + 1} photographs{under}: {describe(first.output)}"
            offences.append(failed("an answer that depends on the picture", answer, first.where))
        seen.append(f"{apart} of {len(pairs)} pairs of photographs told apart{under}")
    return together(offences) or (passed("; ".join(seen)) if seen else skipped(NO_ANSWER))


def _pictures(e: Evidence, part: Part) -> list[tuple[Run, Run]]:
    """Pairs of answers of a part that differ in the photograph alone."""
    if part.image is None:
        return []
    if part.text is None:
        return list(pairwise(filter(is_finite, e.runs("photo", part=part.name))))
    again = [(e.pair(run), run) for run in e.runs("repicture", part=part.name)]
    return [(one, two) for one, two in again if one and is_finite(one) and is_finite(two)]


@rule(
    "IMG-2",
    Level.ADVICE,
    source="rules pages: pictures are fed as they are, normalisation belongs inside the model",
    remedy="begin forward() with (image / 255 - mean) / std, with what it was trained with",
)
def pixel_scale(e: Evidence) -> Verdict:
    """The model is made for the scale of pixels that is fed, 0..255 or [0, 1].

    What the graph divides the pixels by ahead of the first weights settles it: 32 or more is for
    0..255. Else the answers tell: a model tells photographs apart at its own scale, and those in
    [0, 1] are all nearly black to one made for 0..255. They are hardly apart either to one whose
    mean and std were left outside, or whose weights are not trained: where [0, 1] is fed, that is
    not judged.
    """
    raw = e.track.image_high > 1
    for part in e.track.parts:
        other = e.runs("rescaled", part=part.name) if part.image else []
        fed = [pair for pair in map(e.pair, other) if pair is not None]
        if len(fed) == 2 and all(map(is_finite, fed + other)):
            node, divisor = _division(e.graphs.get(part.name), part)
            seen = f"{node} divides the pixels by {divisor:.3g} or more"
            if divisor >= RAW_DIVISOR and not raw:
                seen += ": made for 0..255"
                return failed("a model made for [0, 1]", seen, of_part(part), UNIT)
            if node and (divisor >= RAW_DIVISOR or not raw):
                return passed(seen)
            return _judge_scale(fed, other, raw=raw)
    return skipped(NO_ANSWER)


@rule(
    "IMG-3",
    Level.ADVICE,
    of_onnx=True,
    needs="graph",
    when=lambda track: track.image_high == 1 or track.normalised_inside,
    source="retrieval participants' most frequent mistake; PidNet card: mean/std inside the model",
    remedy="subtract the mean and divide by the standard deviation inside forward()",
)
def normalisation_inside(e: Evidence) -> Verdict:
    """The mean and standard deviation of the pixels are dealt with inside the model.

    Seen as arithmetic ahead of the first weighted operator, or folded into its bias. First weights
    without a bias, straight on the input, subtract no mean.
    """
    for part, graph in e.each_graph():
        if _picture(graph, part):
            found = _normalisation(graph, part)
            if found:
                return passed(found)
            weighted = [node for node in _up_to_weights(graph, part) if node.op in _WEIGHTED]
            into = f"{weighted[0].label}, which has no bias" if weighted else "no weights at all"
            return failed("a mean and a scale", f"the picture goes straight into {into}")
    return skipped(NO_PICTURE)


@rule(
    "IMG-4",
    Level.ADVICE,
    of_onnx=True,
    needs="graph",
    source="rules pages and sample solutions: every track feeds RGB",
    remedy="drop the reversal; for a network that was trained on BGR it is right",
)
def channels_as_fed(e: Evidence) -> Verdict:
    """The colour channels come to the first weights in the order in which they are fed.

    A network that was trained on BGR pictures needs another; to any other it is a silent loss.
    """
    pictures = [(part, graph) for part, graph in e.each_graph() if _picture(graph, part)]
    offences = (
        failed("RGB, as it is fed", f"{channels.by} makes it {channels.name}", of_part(part))
        for part, graph in pictures
        for channels in dict.fromkeys(found for found, _ in _arrivals(graph, part))
        if channels.name not in ("", "RGB")
    )
    kept = passed("RGB to the first weights") if pictures else skipped(NO_PICTURE)
    return together(offences) or kept


@rule(
    "IMG-5",
    Level.ADVICE,
    shown_by="answers",
    source="the track's own measure of two answers, and its bounds for float32, as parity has them",
    remedy="check that the trained weights are loaded, and that mean/std and scale are those of"
    " the training",
)
def answers_vary(e: Evidence) -> Verdict:
    """Answers to different photographs are further apart than a model and its export may be.

    Nearer ones are told apart by nothing but rounding on a device, and by no score: the answer is
    effectively constant. Where IMG-1 fails nothing is judged here.
    """
    if not e.track.has("agreement"):
        return skipped("the track has no measure of how far two answers are apart")
    room = e.track.room("agreement")
    bounds = tolerances(room, "float32")
    offences, seen = [], []
    for part in e.track.parts:
        pairs = [pair for pair in _pictures(e, part) if told_apart(*pair)]
        found = [room.measure(one.output, two.output, Nothing()) for one, two in pairs]
        far = [any(not t.allows(getattr(each, t.measure)) for t in bounds) for each in found]
        if any(far):
            seen.append(f"{sum(far)} of {len(far)} pairs of photographs; {told(room, found[0])}")
        elif far:
            answer = f"all {len(far)} pairs of photographs as near as one: {told(room, found[0])}"
            offences.append(failed("an answer that varies", answer, pairs[0][0].where))
    return together(offences) or (passed("; ".join(seen)) if seen else skipped(NO_ANSWER))


@rule(
    "IMG-6",
    Level.ADVICE,
    of_onnx=True,
    needs="graph",
    source="view() and reshape() in the place of permute(): a mistake that no shape shows",
    remedy="move axes with permute() or transpose()",
)
def axes_are_moved(e: Evidence) -> Verdict:
    """The axis of the colour channels is moved by a transpose, never by a reshape.

    A reshape leaves the values in their order and gives them other places: what looks like three
    channels then is a mixture of pixels, frames and colours.
    """
    pictures = [(part, graph) for part, graph in e.each_graph() if _picture(graph, part)]
    offences = (
        failed("a transpose", f"{node.label} {_turned(graph, node)}", of_part(part))
        for part, graph in pictures
        for channels, node in _arrivals(graph, part)
        if node and channels.axis is not None and channels.name and _is_cut(graph, node)
    )
    return together(offences) or (
        passed("no reshape cuts across them") if pictures else skipped(NO_PICTURE)
    )


def _is_cut(graph: Graph, node: Node) -> bool:
    """Whether a node that is not followed reshapes to what has three channels all the same."""
    return node.op == "Reshape" and COLOURS in (graph.value(node.outputs[0]).shape or ())


def _turned(graph: Graph, node: Node) -> str:
    ends = (graph.value(name).shape for name in (node.inputs[0], node.outputs[0]))
    return "makes {1} of {0}".format(*map(format_shape, ends))


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
        return skipped(
            f"{seen}: made for 0..255, for mean/std that is left outside, or not trained"
        )
    return passed(seen)


def _division(graph: Graph | None, part: Part) -> tuple[str, float]:
    """The node ahead of the first weights up to which pixels are divided most, and by how much;
    "" and 0 where no constant scales them.

    It settles the matter for a mask cut at its own mean, which is as clear for dark pictures.
    """
    most = ("", 0.0)
    ahead, seen = [(_picture(graph, part), 1.0)] if graph else [], set[str]()
    while graph and ahead:
        name, so_far = ahead.pop()
        seen.add(name)
        for node in graph.consumers(name):
            divisors = _divisors(graph, node)
            divisor = so_far * min(divisors, default=1.0)
            most = max(most, (node.label, divisor), key=lambda x: x[1]) if divisors else most
            if node.op not in _WEIGHTED and node.op != "Shape":
                ahead += [(output, divisor) for output in node.outputs if output not in seen]
    return most


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


def _arrivals(graph: Graph, part: Part) -> Iterator[tuple[Channels, Node | None]]:
    assert part.image is not None, "a model of pictures"
    rank, axis = len(part.image.shape), part.image.channels
    return arrivals(graph, _picture(graph, part), rank, axis)


def _up_to_weights(graph: Graph, part: Part) -> Iterator[Node]:
    """The nodes that see the pixels, up to the first weighted ones and these included."""
    stops = {*_WEIGHTED, "Shape"}
    return graph.reached(_picture(graph, part), lambda node, _: node.op not in stops)


def _has_bias(graph: Graph, node: Node) -> bool:
    """A third input, or an addition right behind; batch norms fold into such a bias too."""
    behind = (reader.op for output in node.outputs for reader in graph.consumers(output))
    return len(node.inputs) > 2 or any(op in {"Add", "BatchNormalization"} for op in behind)
