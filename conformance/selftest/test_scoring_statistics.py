"""The bootstrap against what is known in closed form, and with items that belong together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.scoring.statistics import interval, mean_of, pooled_of
from conformance.scoring.summary import compare, summarise
from reference.datasets.items import Item
from reference.pidnet.metric import pooled_miou
from reference.scores import Result
from reference.segmentation.metric import METRIC


@pytest.mark.parametrize("seed", range(5))
def test_the_interval_of_a_mean_is_the_normal_one(seed: int) -> None:
    values = np.random.default_rng(seed).normal(3, 2, 400)
    found = interval(*mean_of(values, [str(n) for n in range(400)]))
    half = 1.96 * values.std() / np.sqrt(400)
    assert found.low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.15 * half)


def test_the_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    names = [str(n) for n in range(60)]
    hits = 0
    for _ in range(200):
        found = interval(*mean_of(rng.exponential(1, 60), names))
        hits += found.low <= 1 <= found.high
    assert 0.88 <= hits / 200 <= 0.98


def test_texts_of_one_picture_are_no_evidence_of_their_own() -> None:
    """25 copies of each value: the interval is that of the pictures, five times as wide."""
    values = np.random.default_rng(3).normal(0, 1, 100)
    single = interval(*mean_of(values, [str(n) for n in range(100)]))
    groups = [str(n) for n in range(100) for _ in range(25)]
    grouped = interval(*mean_of(np.repeat(values, 25), groups))
    assert (grouped.low, grouped.high) == pytest.approx((single.low, single.high))
    naive = interval(*mean_of(np.repeat(values, 25), [str(n) for n in range(2500)]))
    assert (grouped.high - grouped.low) / (naive.high - naive.low) == pytest.approx(5, rel=0.1)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(2, 5))
def test_miou_of_resamples_is_miou_of_their_sum(seed: int, frames: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    confusions = rng.integers(0, 4, (frames, classes, classes))
    names = [f"{n:03}" for n in range(frames)]
    drawn = rng.multinomial(frames, np.full(frames, 1 / frames), 4)
    statistic, count = pooled_of(pooled_miou, confusions, names)
    assert count == frames
    for weights, found in zip(drawn, statistic(drawn.astype(float)), strict=True):
        total = np.tensordot(weights, confusions, 1)
        unions = [total[c].sum() + total[:, c].sum() - total[c, c] for c in range(classes)]
        ious = [total[c, c] / unions[c] for c in range(classes) if unions[c]]
        assert found == pytest.approx(100 * np.mean(ious) if ious else 0.0)


def test_one_item_has_no_width() -> None:
    found = interval(*mean_of(np.array([0.25]), ["only"]))
    assert (found.low, found.high) == (0.25, 0.25)


def test_the_same_results_give_the_same_interval() -> None:
    values = np.random.default_rng(0).random(500)
    names = [str(n) for n in range(500)]
    assert interval(*mean_of(values, names)) == interval(*mean_of(values, names))


def synthetic(count: int, shift: float, seed: int) -> dict[str, Result]:
    rng = np.random.default_rng(seed)
    values = np.clip(rng.normal(0.5 + shift, 0.1, count), 0, 1)
    return {str(n): Result(str(n), {"iou": float(value)}) for n, value in enumerate(values)}


def test_a_difference_is_shown_where_there_is_one() -> None:
    headline = METRIC.headline
    items = [Item(str(n), "model", str(n)) for n in range(400)]
    base = synthetic(400, 0.0, 1)
    noise = np.random.default_rng(2).normal(0, 0.02, 400)
    better, same = (
        {
            name: Result(name, {"iou": result.numbers["iou"] + float(step) + gain})
            for (name, result), step in zip(base.items(), noise - noise.mean(), strict=True)
        }
        for gain in (0.01, 0.0)
    )
    shown, hidden, reverse = (
        compare(headline, items, mine, theirs, "other")
        for mine, theirs in ((better, base), (same, base), (base, better))
    )
    assert shown is not None and hidden is not None and reverse is not None  # noqa: PT018
    assert (shown.verdict, hidden.verdict, reverse.verdict) == (
        "better",
        "no difference shown",
        "worse",
    )
    assert shown.difference == pytest.approx(0.01)
    # Paired: of the runs by themselves the intervals overlap.
    first, second = (summarise(headline, items, each) for each in (better, base))
    assert first.interval is not None and second.interval is not None  # noqa: PT018
    assert first.interval.low < second.interval.high
