"""Answers that make sense on the host and none elsewhere; what float16 may turn is no such case."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.contract.evidence import Run
from conformance.contract.sense import contrast, covered, lost, nonsense
from conformance.npu.evidence import npu_probes
from conformance.selftest import small
from reference.registry import default_tracks
from reference.retrieval.contract import RETRIEVAL_2026
from reference.tracks import Track

RNG = np.random.default_rng(4)
SIDE = small.SIDE
RAMP = np.linspace(0, 1, SIDE * SIDE, dtype=np.float32).reshape(1, 1, SIDE, SIDE)
VECTORS = RNG.normal(size=(6, 1, 16)).astype(np.float32)
MASKS = (RNG.random((6, SIDE, SIDE)) < 0.3).astype(np.float32)


def answered(track: Track, part: str, answers: Sequence[np.ndarray]) -> list[Run]:
    """The answers to the emulated probes of a part, in their order."""
    own = track.part(part)
    return [
        Run(own, probe, (np.asarray(answer, np.float32),), 0.0)
        for probe, answer in zip(probes(track, own), answers, strict=False)
    ]


probes = lru_cache(npu_probes)


def kinds(track: Track, part: str, there: Sequence[np.ndarray], host: Sequence[np.ndarray]):
    found = lost(answered(track, part, there), answered(track, part, host))
    return [each.kind for each, *_ in found]


@pytest.mark.parametrize("track", default_tracks().values(), ids=lambda track: track.id)
def test_the_probes_are_few_and_differ_in_one_thing(track: Track) -> None:
    for part in track.parts:
        probes = npu_probes(track, part)
        assert len(probes) == (4 if part.image and part.text else 3 if part.image else 2)
        assert len({probe.name for probe in probes}) == len(probes)
        if part.image and part.text:
            first, second, _, retext = (probe.feeds() for probe in probes)
            image, text = part.image.name, part.text.name
            assert np.array_equal(first[text], second[text])
            assert not np.array_equal(first[image], second[image])
            assert np.array_equal(first[image], retext[image])
            assert not np.array_equal(first[text], retext[text])


@pytest.mark.parametrize(
    ("there", "host", "expected"),
    [
        (VECTORS[:3], VECTORS[:3], []),
        (VECTORS[:3] * 0, VECTORS[:3], ["constant"]),
        (VECTORS[:3] * 0 - 0.0, VECTORS[:3] * 1e-9, ["constant"]),
        (VECTORS[:3] * 0 + 7, VECTORS[:3], ["constant"]),
        (VECTORS[[0, 0, 1]], VECTORS[:3], ["picture"]),
        (VECTORS[[0, 0, 1]] * np.array([1, 7, 1], np.float32)[:, None, None], VECTORS[:3],
         ["picture"]),
        (VECTORS[[0, 0, 1]] + np.eye(3, 16, dtype=np.float32)[:, None] * 1e-4, VECTORS[:3], []),
        (VECTORS[[0, 0, 0]], VECTORS[[0, 0, 1]], []),
        (VECTORS[:3] * 0, VECTORS[[0, 0, 1]], ["constant"]),
        (VECTORS[:3] * 0, VECTORS[:3] * 0, []),
        (VECTORS[:3], VECTORS[:3] * 0, []),
        (VECTORS[:3] * 0, VECTORS[:3] * np.nan, []),
        (VECTORS[:3] * np.nan, VECTORS[:3], []),
        (VECTORS[:3] * np.array([1, 1, 0])[:, None, None], VECTORS[:3], []),
    ],
    ids=["same", "zeros", "minus zeros of tiny", "constant", "one for two pictures",
         "one direction", "another by 1e-4", "host reads none", "zeros, host reads none",
         "zero on both", "zero on the host", "host not finite", "not finite",
         "a constant picture's alone"],
)  # fmt: skip
def test_embeddings(there: np.ndarray, host: np.ndarray, expected: list[str]) -> None:
    assert kinds(RETRIEVAL_2026, "image", there, host) == expected


def test_texts() -> None:
    assert kinds(RETRIEVAL_2026, "text", VECTORS[[0, 0]], VECTORS[:2]) == ["text"]
    assert kinds(RETRIEVAL_2026, "text", VECTORS[[0, 0]], VECTORS[[0, 0]]) == []


def test_width_one_is_not_constant() -> None:
    """A single number is what it is on the host too."""
    one = VECTORS[:3, :, :1]
    assert kinds(RETRIEVAL_2026, "image", one, one) == []


def spotted(depth: np.ndarray) -> np.ndarray:
    """One far pixel presses the rest together."""
    flat = depth * np.float32(0.01)
    flat[..., 0, 0] = 1
    return flat


@pytest.mark.parametrize(
    ("there", "host", "expected"),
    [
        ([RAMP, 1 - RAMP, RAMP], [RAMP, 1 - RAMP, RAMP], []),
        ([RAMP * 0, RAMP * 0, RAMP], [RAMP, 1 - RAMP, RAMP], ["constant"]),
        ([spotted(RAMP), RAMP, RAMP], [RAMP, 1 - RAMP, RAMP], ["constant"]),
        ([spotted(RAMP), RAMP, RAMP], [spotted(RAMP), 1 - RAMP, RAMP], []),
        ([RAMP, RAMP, RAMP], [RAMP, 1 - RAMP, RAMP], ["picture"]),
        ([RAMP, RAMP, 1 - RAMP], [RAMP, RAMP, RAMP], []),
        ([RAMP, RAMP + np.float32(1e-3), RAMP], [RAMP, 1 - RAMP, RAMP], []),
    ],
    ids=["same", "flat", "one outlier", "outlier on both", "one map", "host has one", "moved"],
)
def test_depth(there: list[np.ndarray], host: list[np.ndarray], expected: list[str]) -> None:
    assert kinds(small.DEPTH, "model", there, host) == expected


def test_a_contrast_at_the_bound_is_not_judged() -> None:
    """0.1 on the host may be 0.0999 in float16."""
    near = (np.abs(RAMP - 0.5) > 0.475) * np.float32(1) * (RAMP > 0.5) + RAMP * np.float32(0.111)
    assert 0.05 < contrast(near) < 0.1
    assert kinds(small.DEPTH, "model", [near] * 3, [RAMP, 1 - RAMP, RAMP]) == ["picture"]


def test_masks() -> None:
    track, part, other = small.SEGMENTATION, "model", MASKS[1:5]
    empty, full = MASKS[0] * 0, MASKS[0] * 0 + 1
    assert kinds(track, part, other, other) == []
    assert kinds(track, part, [empty] * 4, other) == ["constant"]
    assert kinds(track, part, [full, empty, full, full], other) == ["constant"]
    assert kinds(track, part, [empty, empty, empty, other[0]], other) == ["picture"]
    assert kinds(track, part, [other[0], other[0], empty, other[1]], other) == ["picture"]
    assert kinds(track, part, [other[0], other[1], empty, other[0]], other) == ["text"]
    assert kinds(track, part, [empty] * 4, [empty, full, empty, empty]) == []


def test_a_few_pixels_are_what_float16_flips() -> None:
    """A mask of two pixels on the host may be empty on the NPU, and two texts differ by as many."""
    empty = MASKS[0] * 0
    tiny = empty.copy()
    tiny[3, 4:6] = 1
    assert kinds(small.SEGMENTATION, "model", [empty] * 4, [tiny, empty, empty, empty]) == []
    host = [MASKS[0], MASKS[1], MASKS[2], np.maximum(MASKS[0], tiny)]
    there = [MASKS[0], MASKS[1], MASKS[2], MASKS[0]]
    assert kinds(small.SEGMENTATION, "model", there, host) == []


def test_classes() -> None:
    logits = RNG.normal(size=(3, 1, 19, 8, 8)).astype(np.float32)
    assert kinds(small.CLASSES, "model", logits, logits) == []
    assert kinds(small.CLASSES, "model", logits * 0, logits) == ["constant"]
    assert kinds(small.CLASSES, "model", logits[[0, 0, 1]], logits) == ["picture"]


def test_both_ranges_are_told() -> None:
    there = answered(RETRIEVAL_2026, "image", VECTORS[:3] * 0)
    ((found, seen, host),) = lost(there, answered(RETRIEVAL_2026, "image", VECTORS))
    assert found.seen == "all zeros, float32 1x16"
    assert found.where == "image model, probe 'astronaut'"
    assert seen == "0..0 over 2 probes"
    low, high = VECTORS[:2].min(), VECTORS[:2].max()
    assert host == f"{low:.6g}..{high:.6g} over 2 probes"


def test_other_probes_of_the_host_do_not_count() -> None:
    """Only what was asked there is compared."""
    there = answered(RETRIEVAL_2026, "image", VECTORS[:1] * 0)
    host = answered(RETRIEVAL_2026, "image", [VECTORS[0], VECTORS[0] * np.nan])
    assert [each.kind for each, *_ in lost(there, host)] == ["constant"]
    assert lost(there, []) == []


@given(st.integers(0, 9), st.floats(1e-4, 1e4))
def test_no_answer_makes_less_sense_than_itself(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    answers = rng.normal(size=(3, 1, 8)).astype(np.float32) * np.float32(scale)
    assert kinds(RETRIEVAL_2026, "image", answers, answers) == []
    rounded = answers.astype(np.float16)
    assert kinds(RETRIEVAL_2026, "image", rounded, answers) == []
    assert nonsense(answered(RETRIEVAL_2026, "image", answers)) == []


def test_the_measures() -> None:
    assert contrast(RAMP) == pytest.approx(0.9, abs=1e-3)
    assert contrast(RAMP * 0) == 0
    assert covered(np.array([0, 1, 1.0000001, 0.4])) == 0.5
