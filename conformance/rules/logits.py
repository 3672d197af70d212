"""Whether an output is logits of classes; what the rules of several tracks ask of theirs."""

import numpy as np

from conformance.contract.evidence import Evidence
from conformance.contract.look import describe, is_finite, value_range
from conformance.rulebook import Verdict, failed, passed, skipped
from conformance.rules.behaviour import NO_RUN
from conformance.submission.graph import Graph, Node

SUM_TOLERANCE = 1e-3
_SQUASHES = {
    *("ArgMax", "Hardmax", "HardSigmoid", "LogSoftmax", "OneHot", "Sigmoid", "Softmax"),
}
_BINARY = {"Add", "Sub", "Mul", "Div"}
_CARRIES = _BINARY | {
    *("Cast", "Clip", "DequantizeLinear", "Expand", "Flatten", "Identity", "QuantizeLinear"),
    *("Reshape", "Resize", "Slice", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Upsample"),
}


def judge_logits(e: Evidence) -> Verdict:
    """Answers (1, classes, ...) that are neither probabilities nor class numbers.

    Probabilities lie in [0, 1], or sum to one number everywhere, whatever they are scaled by; so do
    the exponentials of their logarithms. Where a picture has one answer, not one a pixel,
    "everywhere" is over the photographs. The graph tells as well: nothing but scales and shapes
    lies between the squashing operator and the output.
    """
    runs = list(filter(is_finite, e.runs("photo")))
    for run in runs:
        one = run.output.ndim == 2
        answers = np.concatenate([each.output for each in runs]) if one else run.output
        seen = _not_logits(np.asarray(answers, dtype=np.float64))
        if seen:
            return failed("logits", f"{seen}: {describe(run.output)}", run.where)
    for _, graph in e.each_graph():
        node = _squashing(graph)
        if node is not None:
            return failed("logits", f"{node.label} leads to the output")
    return passed(value_range(runs)) if runs else skipped(NO_RUN)


def _not_logits(x: np.ndarray) -> str:
    """What answers (N, classes, ...) are instead of logits; "" where nothing tells."""
    low, high = float(x.min()), float(x.max())
    if low == high:
        return ""  # IMG-1 speaks of these
    if low >= 0 and high <= 1:
        return "probabilities"
    if low >= 0 and high <= x.shape[1] - 1 and not (x % 1).any():
        return "class numbers"
    if low >= 0 and _one_sum(x):
        return "probabilities, scaled: one sum over the classes everywhere"
    if high <= 0 and _one_sum(np.exp(x)):
        return "logarithms of probabilities"
    return ""


def _one_sum(x: np.ndarray) -> bool:
    """Whether the classes have one sum everywhere, though they are not the same everywhere."""
    sums = x.sum(axis=1)
    nearly = SUM_TOLERANCE * np.abs(sums).max()
    positions = np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])
    moved = np.ptp(positions, axis=0).sum()
    return bool(np.ptp(sums) <= nearly < moved)


def _squashing(graph: Graph) -> Node | None:
    """The operator that makes probabilities or classes right ahead of the output, if one does."""
    name, seen = graph.outputs[0].name if graph.outputs else "", set[str]()
    while (node := graph.producer(name)) and name not in seen:  # a damaged graph may be a circle
        seen.add(name)
        if node.op in _SQUASHES:
            return node
        data = [x for x in node.inputs if x and x not in graph.weights | graph.constants]
        if node.op not in _CARRIES or not data or (node.op in _BINARY and len(data) > 1):
            return None
        name = data[0]
    return None
