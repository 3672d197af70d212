"""Rules of segmentation on made-up masks."""

import numpy as np
import pytest

from conformance.rulebook import Verdict, failed, passed, skipped
from conformance.rules.behaviour import NO_RUN
from conformance.selftest.facts import judge_answers
from reference.segmentation.contract import SEGMENTATION_2025


def mask(*values: float) -> np.ndarray:
    """A mask of zeros with values from the left upper corner on."""
    array = np.zeros((1024, 1024), np.float32)
    array[0, : len(values)] = values
    return array


def judge_masks(rule: str, **masks: np.ndarray) -> Verdict:
    return judge_answers(rule, SEGMENTATION_2025, masks)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ((-0.5, 0.5), "this looks like logits"),
        ((-0.5, 255.0), "this looks like logits"),
        ((0.25, 0.75), "this looks like probabilities"),
        ((0.25, 1.0), "this looks like probabilities"),
        ((255.0,), "divide a 0/255 mask by 255"),
        ((255.0, 3.0), "divide a 0/255 mask by 255"),
        ((2.0,), ""),
        ((300.0,), ""),
    ],
)
def test_what_was_returned_instead_of_a_mask(values: tuple, told: str) -> None:
    verdict = judge_masks("SEG-7", coffee=mask(*values))
    assert verdict.outcome == "fail"
    assert verdict.remedy.startswith(told)
    assert bool(verdict.remedy) == bool(told)


def test_probabilities_above_0_everywhere() -> None:
    verdict = judge_masks("SEG-7", coffee=mask() + np.float32(0.25))
    assert verdict.remedy.startswith("this looks like probabilities")
    assert verdict.seen.endswith("1048576 of 1048576 values, first at (0, 0): 0.25")


def test_mask_pixels_in_the_padding_are_counted() -> None:
    """Coffee is 1024x682; of eight mask pixels six lie below it."""
    array = mask(1, 1)
    array[682, :6] = 1
    array[5] = 0.5
    seen = "6 mask pixels outside the 682x1024 picture, 75% of the mask"
    expected = "an empty mask in the padding"
    assert judge_masks("SEG-8", coffee=array) == failed(expected, seen, "probe 'coffee'")
    array[682, :6] = 0.5
    kept = passed("empty on 2 photographs")
    assert judge_masks("SEG-8", coffee=array, chelsea=mask()) == kept
    array[:] = 0
    array[681, 1023] = 1
    assert judge_masks("SEG-8", coffee=array, chelsea=mask()) == kept
    assert judge_masks("SEG-8") == skipped(NO_RUN)


def test_the_share_of_the_mask_is_told() -> None:
    half = mask()
    half[:256] = 1
    half[256:512] = 0.5
    empty, full = np.zeros_like(half), np.ones_like(half)
    assert judge_masks("SEG-9", coffee=half, rocket=full) == passed("coffee 25%, rocket 100%")
    neither = failed("a mask of some of the pixels", "coffee 0%, rocket 100%")
    assert judge_masks("SEG-9", coffee=empty, rocket=full) == neither
    assert judge_masks("SEG-9", coffee=empty, rocket=half) == passed("coffee 0%, rocket 25%")
    assert judge_masks("SEG-9") == skipped(NO_RUN)
