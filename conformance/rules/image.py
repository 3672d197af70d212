"""Rules of every model that takes a picture."""

from itertools import pairwise

from conformance.evidence import Evidence, Run
from conformance.graph import Graph, Node
from conformance.look import describe, distance, is_finite, same
from conformance.rulebook import Level, Verdict, failed, passed, rule, skipped
from conformance.rules.contract import NO_GRAPH
from reference.tracks import Part

# Between the answers to two photographs in [0, 1], as a share of that in 0..255. Seen with random
# weights: 4e-5 (depth) made for 0..255, 0.5 to 1.5 (depth, PIDNet) and 8 (CLIP) made for [0, 1].
SCALE_RATIO = 0.1
_ARITHMETIC = {"Sub", "Add", "Mul", "Div", "BatchNormalization", "InstanceNormalization"}
ROUNDING = 1e-12
NO_ANSWER = "fewer than two photographs came back with finite values (COM-8 to COM-10)"
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
    one made for 0..255, which then gives nearly the same answer to each.
    """
    for part in e.track.parts:
        other = e.runs("rescaled", part=part.name) if part.image else []
        fed = [pair for pair in map(e.pair, other) if pair is not None]
        if len(fed) == len(other) == 2 and all(map(is_finite, fed + other)):
            return _judge_scale(fed, other, raw=e.track.image_high > 1)
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
        if part.image:
            seen = _normalisation(graph, part)
            return (
                passed(seen)
                if seen
                else failed(
                    "a mean and a scale",
                    "the picture goes straight into a convolution without a bias",
                )
            )
    return skipped(NO_GRAPH)


def _judge_scale(fed: list[Run], other: list[Run], *, raw: bool) -> Verdict:
    """`fed` are the answers to two photographs as the track feeds them, `other` at the wrong scale.

    Distances ignore scale and offset of the answers, so that they compare across networks.
    """
    dark, bright = (other, fed) if raw else (fed, other)
    low, high = (max(distance(a.output, b.output), ROUNDING) for a, b in (dark, bright))
    if low == high == ROUNDING:
        return skipped("two photographs are told apart at neither scale (IMG-1)")
    if distance(fed[0].output, other[0].output) < SCALE_RATIO * min(low, high):
        return passed("the answer does not depend on the scale of the pixels")
    seen = f"two photographs in [0, 1] are {low / high:.2g} times as far apart as in 0..255"
    if raw and low > SCALE_RATIO * high:
        seen += ": made for [0, 1] or mean/std"
        return failed("a model made for 0..255", seen, fed[0].where)
    if not raw and low < SCALE_RATIO * high:
        return failed("a model made for [0, 1]", f"{seen}: made for 0..255", fed[0].where)
    return passed(seen)


def _normalisation(graph: Graph, part: Part) -> str:
    """What normalises the picture ahead of the first weights, or "" where nothing can."""
    assert part.image is not None, "asked of picture models only"
    names, seen = [str(part.image.name)], set[str]()
    while names:
        name = names.pop()
        seen.add(name)
        for node in graph.consumers(name):
            if node.op in _ARITHMETIC:
                return f"{node.label} ahead of the first weights"
            if node.op not in _WEIGHTED:
                names += [output for output in node.outputs if output not in seen]
            elif _has_bias(graph, node):
                return f"may be folded into the bias of {node.label}"
    return ""


def _has_bias(graph: Graph, node: Node) -> bool:
    """A third input, or an addition right behind; batch norms fold into such a bias too."""
    behind = (reader.op for output in node.outputs for reader in graph.consumers(output))
    return len(node.inputs) > 2 or any(op in {"Add", "BatchNormalization"} for op in behind)
