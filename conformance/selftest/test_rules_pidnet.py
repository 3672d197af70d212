"""Rules of the PidNet card on made-up answers and weights."""

from dataclasses import replace

import numpy as np
import pytest

from conformance.graph import Value
from conformance.rulebook import failed, passed
from conformance.selftest.facts import GRAPH, judge, judge_answers
from reference.tracks import PIDNET


@pytest.mark.parametrize(("count", "kept"), [(7_549_458, True), (7_549_457, False)])
def test_parameters_within_a_hundredth(count: int, kept: bool) -> None:
    weights = {"w": Value("w", "float32", (count,))}
    assert (judge("PID-8", replace(GRAPH, weights=weights), PIDNET).outcome == "pass") is kept
    more = {"w": Value("w", "float32", (2 * 7_625_715 - count,))}
    assert (judge("PID-8", replace(GRAPH, weights=more), PIDNET).outcome == "pass") is kept
    unread = {**weights, "x": Value("x", "float32", (10**6,))}
    assert (
        judge("PID-8", replace(GRAPH, weights=unread), PIDNET).seen
        == f"{count:,} weights in the graph"
    )


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


@pytest.mark.parametrize(
    ("values", "seen"),
    [
        ((0.5, 0.5), ""),
        ((0.5005, 0.5), ""),
        ((0.502, 0.5), "0..0.502 over 1 probes"),
        ((1.5, -0.5), "-0.5..1.5 over 1 probes"),
        ((1.0, 1.0, 1.0), "1..1 over 1 probes"),
    ],
)
def test_probabilities_are_not_negative_and_sum_to_1(values: tuple, seen: str) -> None:
    verdict = judge_answers("PID-7", PIDNET, {"coffee": classes(*values)})
    told = "probabilities: they sum to 1 over the classes"
    assert verdict == (passed(seen) if seen else failed("logits", told, "probe 'coffee'"))
