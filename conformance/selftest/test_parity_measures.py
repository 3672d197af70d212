"""The measures of parity against other ways to compute them, and on what is known."""

import itertools
import math
import statistics
from functools import partial

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import reference.agreement as numbers
import reference.depth.agreement
import reference.pidnet.agreement
from conformance.selftest.models import MODEL_TRACKS
from reference.agreement import (
    Figure,
    Nothing,
    Tolerance,
    psnr,
    rank_correlation,
    relative_error,
    tolerances,
)
from reference.retrieval.agreement import embedding_parity
from reference.segmentation.agreement import mask_parity

depth_parity = partial(reference.depth.agreement.measure, inside=Nothing())
class_parity = partial(reference.pidnet.agreement.measure, inside=Nothing())
NAN = np.nan
SHAPES = hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4)
MASKS = st.sampled_from([0.0, 1.0, np.float32(1.0000001)])
VALUES = st.integers(-100, 100).map(lambda n: n / 8)
# Few values, so that there are ties.
LEVELS = st.integers(-3, 3).map(float)

quickly = settings(max_examples=50, deadline=None)


def pairs(values):
    """Two arrays of one shape."""

    def both(shape):
        one = hnp.arrays(np.float32, shape, elements=values)
        return st.tuples(one, one)

    return SHAPES.flatmap(both)


def row(*values: float) -> np.ndarray:
    return np.array([values], np.float32)


@quickly
@given(pairs(MASKS))
def test_iou_is_that_of_sets(masks) -> None:
    a, b = ({i for i, value in enumerate(mask.flat) if value > 0.5} for mask in masks)
    found = mask_parity(*masks)
    assert found.iou == pytest.approx(len(a & b) / len(a | b) if a | b else 1.0)
    assert found.flipped == pytest.approx(len(a ^ b) / masks[0].size)
    assert found == mask_parity(*masks[::-1])


def test_margin_is_the_furthest_flipped_logit() -> None:
    logits = np.array([-3.0, -0.1, 0.2, 3.0])
    spread = statistics.pstdev(logits.tolist())
    found = mask_parity(row(0, 0, 1, 1), row(0, 1, 0, 1), logits.reshape(2, 2))
    assert (found.iou, found.flipped) == (1 / 3, 0.5)
    assert found.margin == pytest.approx(0.2 / spread)
    assert mask_parity(row(0, 0, 1, 1), row(0, 0, 1, 1), logits).margin == 0


def ranks(values: list[float]) -> list[float]:
    """The mean place of each value in sorted order, by counting."""
    return [sum(v < x for v in values) + (sum(v == x for v in values) + 1) / 2 for x in values]


@quickly
@given(pairs(st.one_of(VALUES, LEVELS)))
def test_rank_correlation_is_the_correlation_of_ranks(maps) -> None:
    one, other = (ranks(m.ravel().tolist()) for m in maps)
    assume(len(set(one)) > 1 and len(set(other)) > 1)
    expected = statistics.correlation(one, other)
    assert rank_correlation(*maps) == pytest.approx(expected, abs=1e-9)
    assert rank_correlation(*maps) == pytest.approx(rank_correlation(*maps[::-1]))
    assert rank_correlation(maps[0], np.exp(maps[0])) == pytest.approx(1)
    assert rank_correlation(maps[0], -maps[0]) == pytest.approx(-1)


def test_rank_correlation_of_constants() -> None:
    assert rank_correlation(row(2, 2), row(5, 5)) == 1
    assert rank_correlation(row(2, 2), row(1, 2)) == 0


@quickly
@given(pairs(VALUES))
def test_depth_errors(maps) -> None:
    errors = [abs(float(a) - float(b)) for a, b in zip(maps[0].flat, maps[1].flat, strict=True)]
    found = depth_parity(*maps)
    assert found.max_error == max(errors)
    assert found.mean_error == pytest.approx(statistics.fmean(errors))
    back = depth_parity(*maps[::-1])
    assert (back.max_error, back.mean_error) == (found.max_error, found.mean_error)


def test_psnr() -> None:
    """An error of a tenth of the range is 20 dB, of a hundredth 40 dB."""
    ramp = np.linspace(-1, 3, 50)
    assert psnr(ramp, ramp + 0.4) == pytest.approx(20)
    assert psnr(ramp, ramp - 0.04) == pytest.approx(40)
    assert psnr(np.ones(3), np.ones(3) + 0.1) == pytest.approx(20)


@quickly
@given(st.floats(0, math.pi), st.floats(0.01, 100), st.integers(2, 5))
def test_cosine_is_that_of_the_angle(angle: float, length: float, width: int) -> None:
    flat = np.zeros((1, width))
    turned = flat.copy()
    flat[0, 0], turned[0, :2] = 1, (length * math.cos(angle), length * math.sin(angle))
    assert embedding_parity(flat, turned).cosine == pytest.approx(math.cos(angle), abs=1e-9)
    assert embedding_parity(turned, flat) == embedding_parity(flat, turned)
    both = embedding_parity(np.vstack([flat, flat]), np.vstack([flat, turned]))
    assert both.cosine == pytest.approx(math.cos(angle), abs=1e-9), "the lowest row counts"


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_cosine_of_sizes_at_the_end_of_float32(size: float) -> None:
    assert embedding_parity(row(1, 1) * size, row(1, 0) * size).cosine == pytest.approx(0.5**0.5)


def test_top10_overlap() -> None:
    """The nearest of twelve axes are those with the largest coordinates."""
    up, gallery = np.arange(1.0, 13.0)[None], np.eye(12)
    swapped = up.copy()
    swapped[0, [0, 11]] = swapped[0, [11, 0]]  # the first takes the place of the last
    assert embedding_parity(up, up * 3, gallery).top10 == 1
    assert embedding_parity(up, swapped, gallery).top10 == pytest.approx(0.9)
    assert embedding_parity(up, -up, gallery).top10 == pytest.approx(0.8), "12 - 2 places"
    assert embedding_parity(up, up).top10 is None
    with pytest.raises(ValueError, match="more than 10 rows of 12"):
        embedding_parity(up, up, gallery[:10])


def test_classes() -> None:
    """Of four pixels of class 0 and two of class 1 one each is another class."""
    labels, others = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 2, 1, 0])
    one, other = (np.eye(3)[x].T.reshape(1, 3, 2, 3) for x in (labels, others))
    found = class_parity(one, other)
    assert found.agreement == pytest.approx(4 / 6)
    assert found.per_class[:2] == (0.75, 0.5)
    assert math.isnan(found.per_class[2])
    assert found.worst_class == 0.5


def test_a_rare_class_is_not_the_worst() -> None:
    labels = np.zeros(200, int)
    labels[0] = 1
    one, other = (np.eye(2)[x].T.reshape(1, 2, 1, 200) for x in (labels, labels * 0))
    found = class_parity(one, other)
    assert (found.per_class, found.worst_class) == ((1.0, 0.0), 1.0)
    assert found.agreement == pytest.approx(0.995)


@quickly
@example(np.full((2, 3, 2, 2), np.inf, np.float32))
@given(hnp.arrays(np.float32, (2, 3, 2, 2), elements=st.floats(width=32)))
def test_nothing_is_nearer_than_the_same(array) -> None:
    """Infinities and NaN included."""
    assert vars(mask_parity(array, array)) == {"iou": 1, "flipped": 0, "margin": None}
    depth = depth_parity(array, array)
    assert (depth.max_error, depth.mean_error, depth.psnr) == (0, 0, math.inf)
    assert depth.rank_correlation == pytest.approx(1)
    assert class_parity(array, array).agreement == 1
    assert relative_error(array, array) == 0
    rows = np.nan_to_num(array.reshape(2, 12))
    assert embedding_parity(rows, rows).cosine == pytest.approx(1)


def test_a_nan_on_one_side_breaks_every_bound() -> None:
    good = np.linspace(0, 1, 24, dtype=np.float32).reshape(1, 2, 3, 4)
    bad = good.copy()
    bad[0, 0, 0, 0] = NAN
    for one, other in ((good, bad), (bad, good)):
        assert mask_parity(one, other).flipped == pytest.approx(1 / 24)
        depth = depth_parity(one, other)
        assert (depth.max_error, depth.mean_error, depth.psnr) == (math.inf, math.inf, -math.inf)
        assert class_parity(one, other).agreement == pytest.approx(11 / 12)
        assert embedding_parity(one.reshape(1, -1), other.reshape(1, -1)).cosine == 0
        assert relative_error(one, other) == math.inf


@pytest.mark.parametrize("measure", [mask_parity, depth_parity, embedding_parity, class_parity])
def test_shapes_must_be_the_same(measure) -> None:
    with pytest.raises(ValueError, match="1x2x3x5 is not 1x2x3x4"):
        measure(np.zeros((1, 2, 3, 4)), np.zeros((1, 2, 3, 5)))


def test_relative_error_is_in_standard_deviations() -> None:
    values = np.array([100.0, 102.0, 98.0, 100.0])
    assert relative_error(values, values + 0.5) == pytest.approx(0.5 / 2**0.5)
    assert relative_error(np.full(4, 8.0), np.full(4, 9.0)) == pytest.approx(1 / 8)
    assert relative_error(np.zeros(4), np.full(4, 0.25)) == 0.25
    assert relative_error(np.array([True, False]), np.array([True, True])) == pytest.approx(2**0.5)


@pytest.mark.parametrize("lowest", [-np.inf, np.finfo(np.float32).min])
def test_any_minus_infinity_will_do(lowest: float) -> None:
    """Float16 has no -3.4e38: an attention mask is -65504 on the NPU."""
    assert relative_error(np.array([0, lowest]), np.array([0, -65504.0])) == 0
    assert relative_error(np.array([0, lowest]), np.array([0, 65504.0])) > 1
    assert relative_error(np.array([0, 1e5]), np.array([0, 65504.0])) > 0.4, "an overflow is none"


def test_a_bound_is_the_most_of_an_error_and_the_least_of_an_agreement() -> None:
    error = Tolerance("error", Figure("{}", {}, upper=True), 0.1, "")
    agreement = Tolerance("cosine", Figure("{}", {}), 0.9, "")
    assert [error.allows(x) for x in (0.0, 0.1, 0.11, NAN, None)] == [
        True,
        True,
        False,
        False,
        True,
    ]
    assert [agreement.allows(x) for x in (1.0, 0.9, 0.8, NAN)] == [True, True, False, False]


ROOMS = [track.room("agreement") for track in MODEL_TRACKS] + [numbers]


@pytest.mark.parametrize("room", dict.fromkeys(ROOMS), ids=lambda room: room.__name__)
def test_every_figure_has_tolerances_with_a_source(room) -> None:
    """The tighter the arithmetic, the tighter the bound."""
    array = np.linspace(0, 1, 16, dtype=np.float32).reshape(1, 4, 2, 2)
    found = room.measure(array, array, Nothing())
    held = [tolerances(room, precision) for precision in ("float32", "float16", "w8a8")]
    assert {t.measure for t in held[0]} == set(vars(found)) - {"per_class"}
    for one, other in itertools.pairwise(held):
        for tight, loose in zip(one, other, strict=True):
            assert tight.measure == loose.measure
            assert tight.source
            assert loose.allows(tight.bound)
            assert tight.allows(getattr(found, tight.measure))
            assert tight.figure.words.format(tight.bound)


def test_numbers_are_compared_in_their_range() -> None:
    """An error of 1 in a range of 10 is a tenth, and 20 dB where all are off by that."""
    ramp = np.linspace(-3, 7, 11)
    found = numbers.measure(ramp, ramp + 1, Nothing())
    assert (found.max_error, found.mean_error, found.psnr) == pytest.approx((0.1, 0.1, 20))
    one = ramp.copy()
    one[5] = np.nan
    assert numbers.measure(ramp, one, Nothing()).max_error == np.inf
    assert numbers.measure(one, one, Nothing()).max_error == 0
