"""Rules of retrieval on made-up embeddings."""

import numpy as np
import pytest

from conformance.rules.common import NO_RUN
from conformance.selftest.facts import judge_answers
from reference.tracks import RETRIEVAL_2026


@pytest.mark.parametrize(
    ("image", "text", "outcome", "seen"),
    [
        ((3, 4), (0, 2), "pass", "shortest 2"),
        ((3, 4), (np.inf, 2), "pass", "shortest 5"),
        ((np.nan, 4), (np.inf, 2), "skip", NO_RUN),
        ((3, 4), (0, 0), "fail", "all zeros, float32 1x2"),
    ],
)
def test_embeddings_have_a_length(image: tuple, text: tuple, outcome: str, seen: str) -> None:
    answers = {"coffee": np.float32([image]), "long text A": np.float32([text])}
    verdict = judge_answers("RET-8", RETRIEVAL_2026, answers)
    assert (verdict.outcome, verdict.seen) == (outcome, seen)
    assert verdict.where == ("text model, probe 'long text A'" if outcome == "fail" else "")


@pytest.mark.parametrize(
    ("widths", "outcome", "seen"),
    [
        ({"coffee": 2, "rocket": 2, "long text A": 2}, "pass", "image 2, text 2"),
        ({"coffee": 2, "rocket": 3, "long text A": 2}, "fail", "image 2/3, text 2"),
        ({"coffee": 2, "long text A": 3}, "fail", "image 2, text 3"),
        ({"coffee": 2}, "skip", NO_RUN),
        ({}, "skip", NO_RUN),
    ],
)
def test_both_embeddings_have_one_width(widths: dict, outcome: str, seen: str) -> None:
    answers = {name: np.ones((1, width), np.float32) for name, width in widths.items()}
    verdict = judge_answers("RET-7", RETRIEVAL_2026, answers)
    assert (verdict.outcome, verdict.seen) == (outcome, seen)
