"""Rules of retrieval on made-up embeddings."""

import numpy as np
import pytest

from conformance.rules.behaviour import NO_RUN
from conformance.rules.retrieval import BIAS
from conformance.rules.values import POOLING, SCALE
from conformance.selftest.facts import judge_answers
from reference.retrieval.contract import RETRIEVAL_2026


@pytest.mark.parametrize(
    ("image", "text", "outcome", "seen"),
    [
        ((3, 4), (0, 2), "pass", "shortest 2"),
        ((3, 4), (np.inf, 2), "pass", "shortest 5"),
        ((np.nan, 4), (np.inf, 2), "skip", NO_RUN),
        ((3, 4), (0, 0), "fail", "length 0: float32 1x2, 0..0"),
        ((3, 4), (1e-25, 0), "fail", "length 0: float32 1x2, 0..1e-25"),
        ((3, 4), (1e25, 0), "fail", "length inf: float32 1x2, 0..1e+25"),
    ],
)
def test_embeddings_have_a_length(image: tuple, text: tuple, outcome: str, seen: str) -> None:
    answers = {"coffee": np.float32([image]), "long text A": np.float32([text])}
    verdict = judge_answers("RET-8", RETRIEVAL_2026, answers)
    assert (verdict.outcome, verdict.seen) == (outcome, seen)
    assert verdict.where == ("text model, probe 'long text A'" if outcome == "fail" else "")
    scaled = outcome == "fail" and any(text)
    assert verdict.remedy == ({True: SCALE, False: POOLING}[scaled] if outcome == "fail" else "")


@pytest.mark.parametrize("probe", ["black", "white", "grey", "noise"])
def test_a_picture_of_one_colour_is_advice(probe: str) -> None:
    answers = {"coffee": np.float32([[3, 4]]), probe: np.float32([[0, 0]])}
    assert judge_answers("RET-8", RETRIEVAL_2026, answers).seen == "shortest 5"
    verdict = judge_answers("RET-9", RETRIEVAL_2026, answers)
    assert (verdict.outcome, verdict.remedy) == ("fail", BIAS)
    del answers[probe]
    assert judge_answers("RET-9", RETRIEVAL_2026, answers).seen == NO_RUN


def test_embeddings_of_both_parts_are_reported_at_once() -> None:
    nothing = np.zeros((1, 2), np.float32)
    answers = {"coffee": nothing, "rocket": nothing, "long text A": nothing}
    verdict = judge_answers("RET-8", RETRIEVAL_2026, answers)
    assert verdict.seen == (
        "length 0: float32 1x2, 0..0, and 1 more (image model, probe 'coffee');"
        " length 0: float32 1x2, 0..0 (text model, probe 'long text A')"
    )


@pytest.mark.parametrize(
    ("widths", "outcome", "seen"),
    [
        ({"coffee": 2, "rocket": 2, "long text A": 2}, "pass", "image 2, text 2"),
        ({"coffee": 2, "rocket": 3, "long text A": 2}, "fail", "image 2/3, text 2"),
        ({"coffee": 2, "long text A": 3}, "fail", "image 2, text 3"),
        ({"coffee": 1, "long text A": 1}, "fail", "image 1, text 1"),
        ({"coffee": 2}, "skip", NO_RUN),
        ({}, "skip", NO_RUN),
    ],
)
def test_both_embeddings_have_one_width(widths: dict, outcome: str, seen: str) -> None:
    answers = {name: np.ones((1, width), np.float32) for name, width in widths.items()}
    verdict = judge_answers("RET-7", RETRIEVAL_2026, answers)
    assert (verdict.outcome, verdict.seen) == (outcome, seen)
