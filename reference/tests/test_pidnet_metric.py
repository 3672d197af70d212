"""mIoU over Cityscapes classes and AI Hub's PSNR, against torch, torchmetrics and plain loops."""

import math

import numpy as np
import pytest
import torch
import torchmetrics
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.errors import SubmissionError
from reference.pidnet.metric import CLASSES, IGNORED, Confusion, psnr
from reference.pidnet.upsample import labels
from reference.tests import plain_metrics as plain

REPEATABLE = settings(derandomize=True, deadline=None, database=None, max_examples=60)


def picture(h=6, w=8, seed=0, scale=8):
    random = np.random.default_rng(seed)
    logits = random.standard_normal((1, CLASSES, h, w)).astype(np.float32)
    truth = random.integers(0, CLASSES, (h * scale, w * scale)).astype(np.uint8)
    truth[random.random(truth.shape) < 0.1] = IGNORED
    return logits, truth


@REPEATABLE
@given(*(st.integers(1, 12),) * 2, *(st.integers(1, 60),) * 2, st.integers(0, 999))
def test_classes_are_those_of_torchs_interpolate(h, w, height, width, seed):
    """Any two sizes. Where torch's own rounding may decide, between near equals, either will do."""
    logits = np.random.default_rng(seed).standard_normal((1, CLASSES, h, w)).astype(np.float32)
    full = torch.nn.functional.interpolate(
        torch.from_numpy(logits), (height, width), mode="bilinear"
    )[0].numpy()
    found = labels(logits[0], height, width)
    clear = np.subtract(*np.sort(full, axis=0)[[-1, -2]]) > 1e-5
    assert np.array_equal(found[clear], full.argmax(0)[clear])
    assert clear.mean() > 0.9


def test_the_first_of_equal_classes_and_a_nan_win():
    logits = np.zeros((CLASSES, 1, 1), np.float32)
    assert labels(logits, 2, 2).tolist() == [[0, 0], [0, 0]]
    logits[3], logits[5] = np.nan, np.inf
    assert labels(logits, 1, 1).tolist() == [[int(torch.from_numpy(logits).argmax(0))]] == [[3]]


def test_against_a_plain_count_and_torchmetrics():
    logits, truth = picture()
    confusion = Confusion()
    confusion.add(logits, truth)
    found = confusion.score()
    assert found.iou == pytest.approx(plain.class_iou(logits, truth))
    assert found.miou == pytest.approx(np.mean(found.iou))
    assert found.pixels == np.count_nonzero(truth != IGNORED)
    peer = torchmetrics.JaccardIndex(task="multiclass", num_classes=CLASSES, ignore_index=IGNORED)
    full = torch.nn.functional.interpolate(torch.from_numpy(logits), truth.shape, mode="bilinear")
    expected = peer(full.argmax(1), torch.from_numpy(truth.astype(int))[None])
    assert found.miou == pytest.approx(100 * float(expected), abs=1e-4)


def test_pictures_add_up():
    confusion, one = Confusion(), Confusion()
    parts = [picture(seed=seed) for seed in range(3)]
    for part in parts:
        confusion.add(*part)
    one.add(
        np.concatenate([labels(p[0], *t.shape) for p, t in parts]),
        np.concatenate([t for _, t in parts]),
    )
    assert confusion.score() == one.score()


def test_a_class_that_is_nowhere_does_not_count():
    truth = np.array([[0, 0, 1, 1]], np.uint8)
    confusion = Confusion()
    confusion.add(np.array([[0, 1, 1, 1]]), truth)
    found = confusion.score()
    assert found.iou[:2] == pytest.approx((50, 200 / 3))
    assert all(math.isnan(value) for value in found.iou[2:])
    assert found.miou == pytest.approx((50 + 200 / 3) / 2)


def test_a_class_that_is_only_predicted_counts_as_nothing_found():
    confusion = Confusion()
    confusion.add(np.array([[0, 18]]), np.array([[0, 0]]))
    assert confusion.score().miou == 25


@pytest.mark.parametrize("ignored", [255, -1, 19])
def test_pixels_of_no_class_do_not_count(ignored):
    confusion = Confusion()
    confusion.add(np.array([[0, 1, 2]]), np.array([[0, ignored, ignored]]))
    assert confusion.score().pixels == 1
    assert confusion.score().miou == 100


@pytest.mark.parametrize(
    ("prediction", "truth", "words"),
    [
        (np.zeros((1, 18, 2, 2), np.float32), np.zeros((4, 4), int), "prediction is float32"),
        (np.zeros((2, 2), int), np.zeros((4, 4), int), "of the shape of the truth"),
        (np.zeros((4, 4)), np.zeros((4, 4), int), "prediction is float64"),
        (np.full((4, 4), 19), np.zeros((4, 4), int), r"classes are in 19\.\.19"),
        (np.zeros((4, 4), int), np.zeros((4, 4)), "true classes are float64"),
        (np.zeros((4, 4), int), np.zeros((1, 4, 4), int), "true classes are int64"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(prediction, truth, words):
    with pytest.raises(SubmissionError, match=words):
        Confusion().add(prediction, truth)


def test_no_known_pixel_is_an_error():
    confusion = Confusion()
    confusion.add(np.zeros((2, 2), int), np.full((2, 2), IGNORED))
    with pytest.raises(SubmissionError, match="no pixel of the truth"):
        confusion.score()


def test_psnr_is_torchmetrics_with_the_largest_magnitude_as_peak():
    a, b = np.random.default_rng(0).standard_normal((2, 1, 19, 8, 8)).astype(np.float32)
    b[0, 0, 0, 0] = -9
    peer = torchmetrics.functional.image.peak_signal_noise_ratio(
        torch.from_numpy(a), torch.from_numpy(b), data_range=9.0
    )
    assert psnr(a, b) == pytest.approx(float(peer), abs=1e-3)
    assert psnr(a, b) != psnr(b, a)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([0.0, 1.0], [0.0, 1.0], 20 * math.log10((1 + 1e-5) / 1e-10)),
        ([0.9, 0.9], [1.0, 1.0], 20 * math.log10((1 + 1e-5) / (0.1 + 1e-10))),
        ([0.0], [0.0], 100),
        ([1.0], [0.0], -100),
    ],
)
def test_psnr_of_known_errors(a, b, expected):
    assert psnr(np.array(a), np.array(b)) == pytest.approx(expected)


@pytest.mark.parametrize(("a", "b"), [((2, 3), (3, 2)), ((0,), (0,))])
def test_psnr_refuses_what_cannot_be_compared(a, b):
    with pytest.raises(SubmissionError, match="two of one shape"):
        psnr(np.zeros(a), np.zeros(b))
