"""The depth score against the brute force, to the bit, and each oddity of the evaluator by name."""

import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from reference.depth.metric import DepthMean, DepthScore, _f_score, _rays, score
from reference.depth.nearest import count_near
from reference.errors import SubmissionError
from reference.tests import plain_metrics as plain

REPEATABLE = settings(derandomize=True, deadline=None, database=None, max_examples=60)
F32 = np.float32
COLUMNS = ("abs_rel", "sq_rel", "rmse", "rmse_log", "a1", "a2", "a3")
ALL = (*COLUMNS, "f_score", "precision", "recall")


def image(h=12, w=16, seed=0, spread=0.1):
    """A prediction, a truth of the same size in millimetres, and confidence 2 throughout."""
    random = np.random.default_rng(seed)
    truth = random.integers(500, 2500, (h, w)).astype(np.uint16)
    noise = random.normal(0, spread, (h, w))
    prediction = (truth / 1000 + noise).astype(F32)[None, None]
    return prediction, truth, np.full((h, w), 2, np.uint8)


def same_bits(a, b):
    return np.array_equal(np.array(a, np.float64), np.array(b, np.float64), equal_nan=True)


def official(*arrays):
    with np.errstate(all="ignore"):
        return plain.depth(*arrays)


def mine(*arrays):
    found = score(*arrays)
    return tuple(getattr(found, name) for name in ALL)


@st.composite
def images(draw):
    """Predictions and truths with holes, ties, infinities, odd sizes and scales of any sign."""
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    h, w = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    th, tw = (h, w) if draw(st.booleans()) else (draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    step = draw(st.sampled_from([1, 25, 50, 100]))  # millimetres: coarse steps make ties
    truth = (random.integers(0, 40, (th, tw)) * step).astype(np.uint16)
    confidence = random.integers(0, draw(st.integers(2, 3)), (th, tw)).astype(np.uint8)
    confidence[0, 0] = max(confidence[0, 0], 1)
    shape = Image.fromarray(confidence).resize((w, h), Image.NEAREST)
    prediction = (random.integers(0, 40, (h, w)) * step / 1000).astype(F32)
    prediction *= F32(draw(st.sampled_from([1, 1, -1, 1e-3, 7, 1e30])))
    special = draw(st.sampled_from([None, None, np.inf, -np.inf, np.nan]))
    if special is not None:
        prediction[random.random((h, w)) < draw(st.sampled_from([0.1, 0.7]))] = special
    if not (np.array(shape) >= 1).any():
        confidence[:] = 1
    return prediction[None, None], truth, confidence


@REPEATABLE
@given(images())
def test_every_column_is_the_evaluators_to_the_bit(arrays):
    assert same_bits(mine(*arrays), official(*arrays))


@pytest.mark.parametrize("spread", [0.0, 0.02, 0.1, 0.4])
def test_a_dense_image_is_the_evaluators_to_the_bit(spread):
    arrays = image(24, 32, seed=3, spread=spread)
    assert same_bits(mine(*arrays), official(*arrays))


@st.composite
def clouds(draw):
    """Two clouds on a lattice whose steps make distances of 0.1 in many ways, and next to it."""
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    step = draw(st.sampled_from([0.1, 0.05, 0.02, 0.06, 0.1 / math.sqrt(3)]))
    origin = draw(st.sampled_from([0.0, -3.0, 64.0, 4000.0]))
    made = []
    for _ in range(2):
        points = random.integers(0, 6, (draw(st.integers(1, 60)), 3)) * step + origin
        points = points.astype(F32)
        nudge = random.integers(-2, 3, points.shape)
        for _ in range(2):
            points = np.where(nudge > 0, np.nextafter(points, F32(9999)), points)
            points = np.where(nudge < 0, np.nextafter(points, F32(-9999)), points)
        made.append(points.astype(F32))
    return made


@REPEATABLE
@given(clouds())
def test_ties_at_the_threshold_fall_as_in_float32(pair):
    a, b = pair
    assert count_near(a, b) == (
        np.count_nonzero(plain.nearest(a, b) < F32(0.1)),
        np.count_nonzero(plain.nearest(b, a) < F32(0.1)),
    )


def vectorised(a, b):
    """The brute force over whole arrays, float32, for clouds of a few thousand points."""
    d = b[None] - a[:, None]
    near = (d[..., 0] * d[..., 0] + d[..., 1] * d[..., 1]) + d[..., 2] * d[..., 2] < F32(0.01)
    return near.any(1).sum(), near.any(0).sum()


@pytest.mark.parametrize(
    ("size", "apart"), [(0.05, 0.1), (0.1, 0.15), (0.3, 0), (1, 0), (3, 0), (100, 0)]
)
def test_clouds_of_any_density(size, apart):
    random = np.random.default_rng(int(size))
    a, b = (random.random((n, 3)).astype(F32) * F32(size) for n in (1500, 2500))
    b += F32([apart, 0, 0])
    found = count_near(a, b)
    assert found == vectorised(a, b)
    assert 0 < found[0] < len(a) or apart == 0


def test_thousands_of_cubes_with_a_point_each():
    random = np.random.default_rng(5)
    a = random.integers(0, 200, (9000, 3)).astype(F32)
    b = a + random.choice([0.0, 0.09, 0.12], (9000, 1)).astype(F32)
    tree = pytest.importorskip("scipy.spatial").cKDTree
    expected = np.count_nonzero(tree(b.astype(float)).query(a.astype(float))[0] < 0.1)
    assert len(np.unique(a, axis=0)) > 8000
    assert count_near(a, b)[0] == expected


def test_a_cloud_as_wide_as_float32():
    a = np.array([[1e30, 0, 0], [0, 0, 0], [-1e30, 0, 0], [np.inf, 0, 0]], F32)
    assert count_near(a, a + F32(0.05)) == (3, 3)


def test_no_multiplication_is_fused():
    """With dx = 0.1 below the threshold by an ulp of its square, a fused sum falls elsewhere."""
    random = np.random.default_rng(11)
    direction = random.normal(size=(4000, 3))
    direction *= 0.1 / np.linalg.norm(direction, axis=1, keepdims=True)
    points = direction.astype(F32)
    squares = points * points
    plain_sum = (squares[:, 0] + squares[:, 1]) + squares[:, 2]
    wide = points.astype(np.float64) ** 2
    fused = (squares[:, 0] + wide[:, 1]).astype(F32)  # fma(dy, dy, dx*dx), rounded once
    fused = (fused + wide[:, 2]).astype(F32)
    differ = (plain_sum < F32(0.01)) != (fused < F32(0.01))
    assert differ.sum() > 50
    for point in points[differ][:50]:
        expected = int(
            (point[0] * point[0] + point[1] * point[1]) + point[2] * point[2] < F32(0.01)
        )
        assert count_near(point[None], np.zeros((1, 3), F32))[0] == expected


def test_the_root_and_its_square_cut_alike():
    around = [F32(0.01)]
    for _ in range(100):
        around = [np.nextafter(around[0], F32(0)), *around, np.nextafter(around[-1], F32(1))]
    values = np.array(around)
    assert np.array_equal(np.sqrt(values) < F32(0.1), values < F32(0.01))


@pytest.mark.parametrize("shape", [(480, 640), (7, 5), (1440, 1920)])
def test_rays_are_torchs_matrix_product_to_the_bit(shape):
    expected = plain.rays(*shape)
    assert np.array_equal(np.stack(_rays(*shape, "official")), expected[:2])
    assert (expected[2] == 1).all()


def test_the_grid_is_scrambled():
    """The second pixel of the first row is seen one row down, not one column to the right."""
    across, down = (ray.reshape(3, 4) for ray in _rays(3, 4, "official"))
    assert across[0, 0] == across[0, 1] == across[0, 2] != across[0, 3]
    assert down[0, 0] < down[0, 1] < down[0, 2]


def test_the_corrected_grid_is_row_major_and_scaled_to_the_frame():
    across, down = (ray.reshape(480, 640) for ray in _rays(480, 640, "corrected"))
    assert (across == across[0]).all()
    assert (down == down[:, :1]).all()
    focal = 1591.1095 / 3
    assert across[0, 0] == pytest.approx(-945.64465 / 3 / focal)
    assert across[0, 1] - across[0, 0] == pytest.approx(1 / focal, rel=1e-4)
    assert down[479, 0] == pytest.approx((479 - 722.8234 / 3) / focal)


def test_corrected_differs_in_the_points_alone():
    arrays = image(48, 64, spread=0.1)
    as_is, corrected = score(*arrays), score(*arrays, variant="corrected")
    assert all(getattr(as_is, name) == getattr(corrected, name) for name in COLUMNS)
    assert corrected.f_score != as_is.f_score


@pytest.mark.parametrize("factor", [2.0, 0.125, -1.0, -4.0, 2.0**-60])
def test_any_scale_gives_the_same_score_even_a_negative_one(factor):
    prediction, truth, confidence = image()
    assert score(prediction * F32(factor), truth, confidence) == score(
        prediction, truth, confidence
    )


def test_the_prediction_is_not_written_to():
    prediction, truth, confidence = image()
    prediction[0, 0, 0, 0] = 0
    before = prediction.copy(), truth.copy(), confidence.copy()
    score(prediction, truth, confidence)
    for array, kept in zip((prediction, truth, confidence), before, strict=True):
        assert np.array_equal(array, kept)


def test_exact_zeros_become_a_hundredth_of_a_millimetre():
    prediction, truth, confidence = image()
    prediction[0, 0, 3, 3] = truth[3, 3] = 0
    filled = prediction.copy()
    filled[0, 0, 3, 3] = 1e-5
    assert score(prediction, truth, confidence) == score(filled, truth, confidence)
    assert math.isfinite(score(prediction, truth, confidence).rmse_log)


def test_mostly_holes_collapse_the_prediction():
    prediction, truth, confidence = image()
    truth[:7] = 0  # seven rows of twelve
    confidence[:7] = 0
    found = score(prediction, truth, confidence)
    assert (found.f_score, found.recall) == (0, 0)
    assert found.abs_rel == pytest.approx(1, abs=1e-3)


def test_pixels_without_confidence_count_for_the_median():
    prediction, truth, confidence = image()
    confidence[:9] = 0
    deeper = truth.copy()
    deeper[:9] += 1000
    assert score(prediction, deeper, confidence) != score(prediction, truth, confidence)


def test_confidence_1_serves_where_there_is_no_2():
    prediction, truth, confidence = image()
    assert score(prediction, truth, confidence // 2) == score(prediction, truth, confidence)


def test_one_pixel_of_confidence_2_takes_the_points_from_1():
    prediction, truth, confidence = image(spread=0.2)
    confidence[:] = 1
    confidence[5, 5] = 2
    assert score(prediction, truth, confidence).precision in (0, 100)


def test_points_of_no_known_confidence_give_nan():
    prediction, truth, confidence = image()
    arrays = prediction, truth, confidence + 1
    assert same_bits(mine(*arrays), official(*arrays))
    assert math.isnan(score(*arrays).f_score)


def test_no_confidence_at_all_is_an_error_and_not_the_end_of_the_run():
    prediction, truth, confidence = image()
    with pytest.raises(SubmissionError, match="no pixel of the truth has a confidence"):
        score(prediction, truth, 0 * confidence)


def test_a_nan_makes_f_zero_and_the_errors_nan():
    prediction, truth, confidence = image()
    prediction[0, 0, 0, 0] = np.nan
    found = score(prediction, truth, confidence)
    assert (found.f_score, found.precision, found.recall) == (0, 0, 0)
    assert math.isnan(found.abs_rel)
    assert (found.a1, found.a2, found.a3) == (0, 0, 0)


@pytest.mark.parametrize(
    ("precision", "recall", "expected"),
    [(9e-4, 5e-4, 9e-4), (0, 0, 0), (1e-3, 5e-4, 2 * 1e-3 * 5e-4 / 1.5e-3), (0.5, 0.5, 0.5)],
)
def test_f_is_precision_below_a_thousandth_only(precision, recall, expected):
    assert _f_score(F32(precision), F32(recall)) == pytest.approx(expected, rel=1e-6)


def test_truth_is_resized_as_pillow_accumulates_and_no_formula_does():
    prediction = np.random.default_rng(1).random((1, 1, 480, 640)).astype(F32) + F32(0.5)
    truth = np.arange(192 * 256).reshape(192, 256).astype(np.uint16)
    confidence = np.full(truth.shape, 2, np.uint8)
    metres = Image.fromarray(truth.astype(F32) / F32(1000)).resize((640, 480), Image.NEAREST)
    expected = np.rint(np.array(metres) * 1000).astype(np.uint16)
    assert score(prediction, truth, confidence) == score(
        prediction, expected, np.full((480, 640), 2, np.uint8)
    )


def test_only_the_first_of_a_batch_counts():
    prediction, truth, confidence = image()
    two = np.concatenate((prediction, prediction + 1))
    assert score(two, truth, confidence) == score(prediction, truth, confidence)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p, t, c: (p[0, 0], t, c), "predicted depth"),
        (lambda p, t, c: (p.astype(np.float64), t, c), "predicted depth is float64"),
        (lambda p, t, c: (p, t.astype(F32), c), "true depth is float32"),
        (lambda p, t, c: (p, t[None], c), "true depth"),
        (lambda p, t, c: (p, t, c[1:]), "confidence"),
        (lambda p, t, c: (p[..., :0], t, c), "predicted depth"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, words):
    with pytest.raises(SubmissionError, match=words):
        score(*change(*image()))


def test_an_unknown_variant_is_refused():
    with pytest.raises(SubmissionError, match="unknown variant"):
        score(*image(), variant="better")


def test_the_mean_is_the_evaluators():
    random = np.random.default_rng(2)
    rows = random.random((1000, 10)) * 1000 ** random.random((1000, 10))
    mean = DepthMean()
    for row in rows:
        mean.add(DepthScore(*row.tolist()))
    assert astuple(mean.mean()) == tuple(rows.mean(0).tolist())


def test_one_nan_spreads_to_the_mean():
    mean = DepthMean()
    mean.add(DepthScore(*[1.0] * 10))
    mean.add(DepthScore(*[1.0] * 9, math.nan))
    assert math.isnan(mean.mean().a3)
    assert mean.mean().f_score == 1


def test_the_mean_of_nothing_is_an_error():
    with pytest.raises(SubmissionError, match="nothing was scored"):
        DepthMean().mean()
