"""Rules of depth on made-up maps."""

import numpy as np
import pytest

from conformance.rulebook import Verdict, failed, passed
from conformance.selftest.facts import judge_answers
from reference.depth.contract import DEPTH_2025

LITTLE = ", less apart than a tenth of the range"


def judge_depth(rule: str, **answers: np.ndarray) -> Verdict:
    return judge_answers(rule, DEPTH_2025, answers)


def levels(low: float, half: float, other: float, high: float) -> np.ndarray:
    """A map of two levels in equal parts, but for one pixel of each extreme."""
    array = np.full((1, 1, 480, 640), half, np.float32)
    array[..., 240:, :] = other
    array[..., 0, 0], array[..., -1, -1] = low, high
    return array


@pytest.mark.parametrize(
    ("low", "high", "bad"),
    [
        (0, 1, ""),
        (-0.25, 1, "1 of 307200 values, first at (0, 0, 0, 0): -0.25"),
        (0, np.nextafter(np.float32(1), np.float32(2)), None),
        (-1e-7, 1, None),
        (0, 1.5, "1 of 307200 values, first at (0, 0, 479, 639): 1.5"),
        (-0.25, 1.5, "2 of 307200 values, first at (0, 0, 0, 0): -0.25"),
    ],
)
def test_depth_within_0_and_1(low: float, high: float, bad: str | None) -> None:
    if bad is None:  # one unit in the last place
        assert judge_depth("DEP-7", noise=levels(low, 0.5, 0.75, high)).outcome == "pass"
        return
    seen = f"float32 1x1x480x640, {low}..{high}; {bad}"
    broken, kept = failed("values in [0, 1]", seen, "probe 'noise'"), passed("0..1 over 1 probes")
    verdict = judge_depth("DEP-7", noise=levels(low, 0.5, 0.75, high))
    assert verdict == (broken if bad else kept)
    nan = judge_depth("DEP-7", noise=levels(np.nan, 0.5, 0.75, 2))
    assert nan.outcome == "skip", "COM-10 speaks of these"


def depth_answer(sky: float, ground: float, low: float = 0, high: float = 1) -> np.ndarray:
    """A map between low and high with an upper third and a lower eighth of their own."""
    array = np.full((1, 1, 480, 640), (low + high) / 2, np.float32)
    array[..., :160, :] = sky
    array[..., 420:, :] = ground
    array[..., 200, :2] = low, high
    return array


@pytest.mark.parametrize(
    ("values", "outcome", "told"),
    [
        ((0.9, 0.2), "pass", "sky 0.90, ground 0.20"),
        ((0.2, 0.9), "fail", "sky 0.20, ground 0.90"),
        ((0.45, 0.5), "skip", "undecided: sky 0.45, ground 0.50" + LITTLE),
        ((0.375, 0.5), "fail", "sky 0.38, ground 0.50"),
        ((106, 105, 100, 110), "pass", "sky 106.00, ground 105.00"),
        ((105, 106, 100, 110), "fail", "sky 105.00, ground 106.00"),
        ((105, 105.5, 100, 110), "skip", "undecided: sky 105.00, ground 105.50" + LITTLE),
        ((3, 3, 3, 3), "skip", "undecided: sky 3.00, ground 3.00" + LITTLE),
    ],
)
def test_direction_of_depth(values: tuple, outcome: str, told: str) -> None:
    verdict = judge_depth("DEP-8", rocket=depth_answer(*values))
    assert (verdict.outcome, verdict.seen) == (outcome, told)
    assert verdict.where == ("probe 'rocket'" if outcome == "fail" else "")
    other = judge_depth("DEP-8", coffee=depth_answer(*values))
    assert other.outcome == "skip", "judged by the rocket alone"


def test_sky_is_the_upper_third_and_ground_the_lower_eighth() -> None:
    rows = np.zeros((1, 1, 480, 640), np.float32) + np.arange(480, dtype=np.float32)[:, None]
    assert judge_depth("DEP-8", rocket=rows).seen == "sky 79.50, ground 449.50"
    assert judge_depth("DEP-8", rocket=479 - rows) == passed("sky 399.50, ground 29.50")


@pytest.mark.parametrize(
    ("values", "outcome", "seen"),
    [
        ((0, 0, 1, 1), "pass", "at least 100% of the range"),
        ((100, 104, 105, 110), "pass", "at least 10% of the range"),
        ((100, 104, 105, 120), "fail", "0.05 of 100..120"),
        ((0, 0.5, 0.5, 1), "fail", "0 of 0..1"),
        ((0.5, 0.5, 0.5, 0.5), "fail", "0 of 0.5..0.5"),
    ],
)
def test_flat_maps(values: tuple, outcome: str, seen: str) -> None:
    verdict = judge_depth("DEP-9", astronaut=levels(0, 0, 1, 1), coffee=levels(*values))
    assert (verdict.outcome, verdict.seen) == (outcome, seen)
    assert verdict.where == ("probe 'coffee'" if outcome == "fail" else "")
    assert judge_depth("DEP-9", noise=levels(*values)).outcome == "skip", "photographs alone"
