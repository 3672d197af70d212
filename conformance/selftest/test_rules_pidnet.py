"""Rules of the PidNet card on made-up answers and weights."""

import math
from dataclasses import replace

import numpy as np
import pytest

from conformance.rulebook import failed, passed
from conformance.rules.pidnet import KERNELS
from conformance.selftest.facts import GRAPH, graph_of, judge, judge_answers
from conformance.submission.graph import Value
from reference.pidnet.contract import PIDNET
from reference.pidnet.model import PIDNet


@pytest.mark.parametrize(
    ("kernels", "told"),
    [(KERNELS, ""), (KERNELS + 2, "2 too many"), (KERNELS - 73_812, "73,812 too few")],
)
def test_kernels_are_counted_exactly(kernels: int, told: str) -> None:
    """What is one a channel, as folded batch norms are, is not counted; nor what nothing reads."""
    weights = {
        "w": Value("w", "float32", (kernels // 2, 2, 1, 1)),
        "b": Value("b", "float32", (1, 19, 1, 1)),
        "unread": Value("unread", "float32", (3, 1000)),
        "colours": Value("colours", "float32", (3, 3)),
    }
    verdict = judge("PID-8", replace(GRAPH, weights=weights), PIDNET)
    whole = f"{(kernels + 19) / 1e6:.2f} M in all"
    seen = f"{kernels:,} weights in kernels, {whole}"
    assert verdict == (failed(f"{KERNELS:,}", f"{seen}: {told}") if told else passed(seen))


def test_the_kernels_are_those_of_the_reference() -> None:
    parameters = [parameter.shape for parameter in PIDNet().parameters()]
    kernels = (shape for shape in parameters if sum(size > 1 for size in shape) > 1)
    assert sum(map(math.prod, kernels)) == KERNELS
    assert sum(map(math.prod, parameters)) == 7_625_715


@pytest.mark.parametrize(("mib", "kept"), [(29.0, True), (29.39, True), (29.4, False)])
def test_weights_within_a_hundredth_of_the_cards_size(mib: float, kept: bool) -> None:
    weights = {"w": Value("w", "float32", (int(mib * 2**18),))}
    verdict = judge("PID-9", replace(GRAPH, weights=weights), PIDNET)
    assert (verdict.outcome == "pass") is kept
    assert verdict.seen == f"{mib:.1f} MiB of weights"


def classes(first: float, second: float, rest: float = 0.0) -> np.ndarray:
    """An answer of 19 classes that is the same everywhere."""
    array = np.full((1, 19, 128, 256), rest, np.float32)
    array[:, 0], array[:, 1] = first, second
    return array


KINDS = {"probabilities", "class numbers", "logarithms of probabilities"}
PROBABILITIES = {
    "softmax": lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True),
    "softmax in percent": lambda x: 100 * np.exp(x) / np.exp(x).sum(1, keepdims=True),
    "log softmax": lambda x: x - np.log(np.exp(x).sum(1, keepdims=True)),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh moved": lambda x: (np.tanh(x) + 1) / 2,
    "clipped": lambda x: np.clip(x, 0, 1),
    "class numbers": lambda x: x.argmax(1)[:, None] + 0 * x,
    "one-hot": lambda x: (x == x.max(1, keepdims=True)).astype(x.dtype),
}
SCORES = {
    "logits": lambda x: x,
    "scaled": lambda x: 50 * x - 7,
    "of a ReLU": lambda x: np.maximum(x, 0) * 3,
    "softly capped": lambda x: 30 * np.tanh(x / 30),
    "of equal sums": lambda x: x - x.mean(1, keepdims=True),
    "rounded by quantisation": lambda x: np.round(4 * x) / 4,
    "all alike": lambda x: 0 * x + 1,
}
ANSWER = np.random.default_rng(1).normal(0, 2, (1, 19, 128, 256)).astype(np.float32)


@pytest.mark.parametrize("kind", PROBABILITIES)
def test_what_is_no_logit_is_known_by_its_values(kind: str) -> None:
    answer = PROBABILITIES[kind](ANSWER).astype(np.float32)
    verdict = judge_answers("PID-7", PIDNET, {"coffee": answer})
    assert (verdict.outcome, verdict.where) == ("fail", "probe 'coffee'")
    assert verdict.seen.split(":")[0].split(",")[0] in KINDS


@pytest.mark.parametrize("kind", SCORES)
def test_scores_of_any_scale_are_logits(kind: str) -> None:
    answer = SCORES[kind](ANSWER).astype(np.float32)
    assert judge_answers("PID-7", PIDNET, {"coffee": answer}).outcome == "pass"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Conv image,w -> x; Sigmoid x -> y; Mul y,k -> depth", "Sigmoid 'y'"),
        ("Conv image,w -> x; Softmax x -> y; Resize y,k -> z; Sub z,k -> depth", "Softmax 'y'"),
        ("Conv image,w -> x; ArgMax x -> y; Cast y -> z; Expand z,k -> depth", "ArgMax 'y'"),
        ("Conv image,w -> x; Sigmoid x -> y; Mul x,y -> depth", ""),
        ("Conv image,w -> x; Sigmoid x -> y; Conv y,w -> depth", ""),
        ("Mul depth,k -> depth", ""),
    ],
)
def test_what_squashes_ahead_of_the_output_is_known_by_the_graph(text: str, told: str) -> None:
    graph = graph_of(text, k=(100.0,))
    verdict = judge_answers("PID-7", PIDNET, {"coffee": 40 * ANSWER}, graph)
    assert verdict.seen == f"{told} leads to the output" if told else verdict.outcome == "pass"
