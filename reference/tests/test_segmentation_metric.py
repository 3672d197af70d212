"""The mask score against the evaluator's own lines, and the hazards of its arithmetic by name."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.errors import SubmissionError
from reference.segmentation.metric import MaskMean, MaskScore, score
from reference.tests import plain_metrics as plain

REPEATABLE = settings(derandomize=True, deadline=None, database=None, max_examples=150)
KINDS = (np.float32, np.float64, np.float16, np.uint8, np.int64, np.bool_)


@st.composite
def masks(draw):
    """A prediction of any type with NaN, infinities and values at the threshold, and a truth."""
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    shape = draw(st.sampled_from([(1, 1), (3, 5), (64, 9), (40, 60)]))
    kind = draw(st.sampled_from(KINDS))
    if np.issubdtype(kind, np.floating):
        choices = [0, 1, 0.5, np.nextafter(kind(0.5), kind(1)), -0.0, 1e-7, -1, np.nan, np.inf]
        prediction = random.choice(np.array(choices, kind), shape)
    else:
        prediction = random.integers(0, 2, shape).astype(kind)
    if draw(st.booleans()):
        prediction = prediction.T.copy().T
    truth = random.random(shape) < draw(st.sampled_from([0, 0.3, 1]))
    return prediction, truth.astype(draw(st.sampled_from([np.uint8, np.int64, np.bool_, np.int8])))


@REPEATABLE
@given(masks())
def test_the_score_is_the_evaluators_to_the_bit(pair):
    prediction, truth = pair
    assert score(prediction, truth).iou == plain.iou(prediction, truth)


@REPEATABLE
@given(masks())
def test_the_page_cuts_at_zero_and_counts_in_percent(pair):
    prediction, truth = pair
    found = score(prediction, truth, rule="page")
    assert found.iou == 100 * plain.iou(np.where(prediction > 0, 1.0, 0.0), truth)


def test_blocks_do_not_show():
    """More pixels than one block of the kernel, all true: the counts do not overflow."""
    ones = np.ones((200, 500), np.float32)
    assert score(ones, ones.astype(np.uint8)) == MaskScore(100000 / (100000 + 1e-6), 100000, 100000)


@pytest.mark.parametrize("empty", [0.1, 1.0])
def test_against_torchmetrics(empty):
    torch = pytest.importorskip("torch")
    torchmetrics = pytest.importorskip("torchmetrics")
    random = np.random.default_rng(4)
    prediction, truth = random.random((2, 64, 64)).astype(np.float32)
    truth = (truth < empty).astype(np.uint8)
    jaccard = torchmetrics.JaccardIndex(task="binary", threshold=0.5)
    expected = float(jaccard(torch.from_numpy(prediction), torch.from_numpy(truth.astype(int))))
    assert score(prediction, truth).iou == pytest.approx(expected, abs=1e-6)


def test_one_half_and_nan_are_false():
    prediction = np.array([[0.5, np.nan, 0.50001, 1]], np.float32)
    assert score(prediction, np.ones((1, 4), np.uint8)).intersection == 2


def test_two_empty_masks_have_no_overlap():
    assert score(np.zeros((4, 4)), np.zeros((4, 4), np.uint8)).iou == 0


def test_a_perfect_mask_is_just_below_one():
    found = score(np.ones((1024, 1024), np.float32), np.ones((1024, 1024), np.uint8)).iou
    assert 1 - 1e-12 < found < 1
    assert score(np.ones((1, 1)), np.ones((1, 1), np.uint8)).iou == 1 / (1 + 1e-6)


def test_a_truth_of_0_and_255_is_refused_and_not_scored_at_a_hundredth():
    prediction, truth = np.ones((8, 8), np.float32), np.full((8, 8), 255, np.uint8)
    assert plain.iou(prediction, truth) == pytest.approx(1 / 255)
    with pytest.raises(SubmissionError, match=r"values in 255\.\.255, not 0 and 1"):
        score(prediction, truth)


@pytest.mark.parametrize("value", [-1, 2, 256, 257])
def test_other_numbers_in_the_truth_are_refused(value):
    with pytest.raises(SubmissionError, match="not 0 and 1"):
        score(np.ones((2, 2)), np.array([[0, 1], [1, value]]))


def test_a_truth_of_floats_is_refused():
    with pytest.raises(TypeError):
        plain.iou(np.ones((2, 2)), np.ones((2, 2)))
    with pytest.raises(SubmissionError, match="true mask is float64"):
        score(np.ones((2, 2)), np.ones((2, 2)))


@pytest.mark.parametrize("shape", [(1, 4), (4, 1), (4,), (2, 4, 4), ()])
def test_shapes_that_would_broadcast_are_refused(shape):
    prediction, truth = np.ones((4, 4)), np.ones(shape, np.uint8)
    assert plain.iou(prediction, truth) > 0
    with pytest.raises(SubmissionError, match="give both the same height and width"):
        score(prediction, truth)


def test_axes_of_one_in_front_do_no_harm():
    random = np.random.default_rng(0)
    prediction, truth = random.random((1, 1, 6, 7)), random.integers(0, 2, (6, 7))
    assert score(prediction, truth).iou == plain.iou(prediction, truth)


def test_an_unknown_rule_is_refused():
    with pytest.raises(SubmissionError, match="unknown rule"):
        score(np.ones((2, 2)), np.ones((2, 2), np.uint8), rule="coco")


def test_the_mean_is_summed_in_order():
    values = np.random.default_rng(1).random(500).tolist()
    mean = MaskMean()
    for value in values:
        mean.add(MaskScore(value, 1, 1))
    assert mean.mean() == sum(values) / len(values)


def test_an_empty_list_is_an_error():
    with pytest.raises(SubmissionError, match="nothing was scored"):
        MaskMean().mean()
