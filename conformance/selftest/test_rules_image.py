"""Rules of pictures on made-up answers and graphs."""

from dataclasses import replace

import numpy as np
import pytest

from conformance.rulebook import Verdict, all_rules, failed, passed, skipped
from conformance.rules.image import NO_ANSWER, NO_PICTURE
from conformance.selftest.facts import answered, graph_of, judge, judge_answers
from conformance.submission.graph import Value
from reference.pidnet.contract import PIDNET
from reference.retrieval.contract import RETRIEVAL_2026, RETRIEVAL_2026_DRAFT
from reference.segmentation.contract import SEGMENTATION_2025
from reference.tracks import Track

WEIGHTED = {"Conv", "Gemm", "MatMul"}


def answer(bits: int) -> np.ndarray:
    """An embedding of 1 and -1; two are an eighth apart for every bit that they differ in."""
    half = np.array([1 - 2 * (bits >> i & 1) for i in range(16)], np.float32)
    return np.concatenate([half, -half])[None]


def test_photographs_need_different_answers() -> None:
    def judged(**photos: np.ndarray) -> Verdict:
        return judge_answers("IMG-1", RETRIEVAL_2026, photos)

    seen = "the same for 2 photographs: float32 1x32, -1..1"
    expected = "an answer that depends on the picture"
    where = "image model, probe 'astronaut'"
    one, other = answer(5), answer(6)
    nudged = one + np.float32(1e-7) * other
    assert judged(astronaut=one, coffee=one) == failed(expected, seen, where)
    assert judged(astronaut=one, coffee=other) == passed("1 of 1 pairs of photographs told apart")
    assert judged(astronaut=one, coffee=one, rocket=other).outcome == "pass"
    assert judged(astronaut=one) == skipped(NO_ANSWER)
    assert judged(astronaut=one, coffee=nudged).outcome == "fail", "by rounding"
    assert judged(astronaut=one, coffee=one * 3).outcome == "fail", "the score divides by length"
    assert judged(astronaut=one, coffee=one + np.float32(1e-4) * other).outcome == "pass"


def mask(*rows: slice) -> np.ndarray:
    array = np.zeros((1024, 1024), np.float32)
    for each in rows:
        array[each] = 1
    return array


def test_pictures_are_compared_under_one_text_and_inside_their_frame() -> None:
    def judged(*answers: dict[str, np.ndarray]) -> Verdict:
        every = {name: answer for each in answers for name, answer in each.items()}
        return judge_answers("IMG-1", SEGMENTATION_2025, every)

    cat, cup = mask(slice(100, 300)), mask(slice(400, 500))
    # The frames are 681 and 682 rows high: what lies between them tells nothing of a picture.
    framed = mask(slice(100, 300), slice(681, 682))
    others = {"astronaut": cup, "rocket": mask(slice(0, 9))}
    chelsea, coffee = "coffee, the text of chelsea", "chelsea, the text of coffee"
    blind = {"chelsea": cat, chelsea: cat, "coffee": cup, coffee: cup}
    verdict = judged(others, blind)
    assert verdict.outcome == "fail", "each text has its own mask, whatever the picture"
    assert verdict.seen.startswith("the same for 3 photographs under one text")
    assert judged(others, {"chelsea": cat, chelsea: framed}).outcome == "fail"
    assert judged(blind, {chelsea: cup}).outcome == "pass"
    assert judged(others) == skipped(NO_ANSWER)


NO_SCALE = passed("the answer does not depend on the scale of the pixels")
SAME = skipped("two photographs are told apart at neither scale (IMG-1)")
WHERE = "image model, probe 'chelsea'"


def scale_answers(
    raw: tuple[int, int], unit: tuple[int, int], track: Track
) -> dict[str, np.ndarray]:
    """Answers to two photographs, and to the same at the scale that the track does not feed."""
    fed, other = (raw, unit) if track.image_high == 255 else (unit, raw)
    answers = {name: answer(bits) for name, bits in zip(("chelsea", "coffee"), fed, strict=True)}
    for name, bits in zip(tuple(answers), other, strict=True):
        answers[f"{name} at the wrong scale"] = answer(bits)
    return answers


@pytest.mark.parametrize(
    ("raw", "unit", "ratio", "made_for"),
    [
        ((0, 0x3FF), (0xF000, 0xF001), 0.1, "0..255 or [0, 1]"),
        ((0, 0x3FF), (0xF000, 0xF003), 0.2, "[0, 1]"),
        ((0, 0xFFFF), (0xF000, 0xF001), 0.062, "0..255"),
        ((0, 0xFFFF), (0xF000, 0xF003), 0.12, "[0, 1]"),
        ((0, 0x3FF), (0xF000, 0xF000), 8e-13, "0..255"),
        ((0, 0), (0xF000, 0xF001), 1.2e11, "[0, 1]"),
        ((0, 1), (0xF000, 0xF3FF), 10, "[0, 1]"),
        ((0, 0x3FF), (1, 0x3FE), 1, "[0, 1]"),
        ((0, 0x3FF), (1, 0x3FF), 0.9, "any"),
        ((0, 0xFFFF), (1, 0xFFFE), 1, "any"),
        ((0, 0), (0xF000, 0xF000), 1, "none"),
    ],
)
@pytest.mark.parametrize("track", [RETRIEVAL_2026, RETRIEVAL_2026_DRAFT], ids=lambda t: t.id)
def test_the_scale_that_tells_photographs_apart(raw, unit, ratio, made_for, track) -> None:
    verdict = judge_answers("IMG-2", track, scale_answers(raw, unit, track))
    seen = f"two photographs in [0, 1] are {ratio:.2g} times as far apart as in 0..255"
    wanted = "0..255" if track.image_high == 255 else "[0, 1]"
    if made_for in ("any", "none"):
        assert verdict == {"any": NO_SCALE, "none": SAME}[made_for]
    elif wanted in made_for:
        assert verdict == passed(seen)
    elif wanted == "[0, 1]":
        told = "made for 0..255, for mean/std that is left outside, or not trained"
        assert verdict == skipped(f"{seen}: {told}")
    else:
        told = "made for [0, 1] or mean/std"
        assert verdict == failed(f"a model made for {wanted}", f"{seen}: {told}", WHERE)


def test_the_scale_is_judged_by_two_photographs() -> None:
    answers = scale_answers((0, 0x3FF), (0xF000, 0xF003), RETRIEVAL_2026_DRAFT)
    for name in answers:
        fewer = {other: array for other, array in answers.items() if other != name}
        assert judge_answers("IMG-2", RETRIEVAL_2026_DRAFT, fewer) == skipped(NO_ANSWER)
        broken = {**answers, name: answers[name] * np.float32("nan")}
        assert judge_answers("IMG-2", RETRIEVAL_2026_DRAFT, broken) == skipped(NO_ANSWER)


@pytest.mark.parametrize(
    ("text", "constant", "divisor"),
    [
        ("Div image,k -> x", (32,), "32"),
        ("Div image,k -> x", (31.5,), ""),
        ("Div image,k -> x", (58.4, 57.1, 57.4), "57.1"),
        ("Div image,k -> x", (58.4, 1, 57.4), ""),
        ("Div image,k -> x", (-64,), "64"),
        ("Div k,image -> x", (64,), ""),
        ("Div image,other -> x", (64,), ""),
        ("Mul image,k -> x", (1 / 32,), "32"),
        ("Mul image,k -> x", (1 / 31.5,), ""),
        ("Mul k,image -> x", (0.0, -0.03), "33.3"),
        ("Mul image,k -> x", (64,), ""),
        ("Mul image,k -> x", (0.0,), ""),
        ("Add image,k -> x", (64,), ""),
        ("Add image,k -> x", (0.01,), ""),
        ("Sub image,k -> x", (64,), ""),
        ("Sub image,k -> x", (0.01,), ""),
        ("Relu image -> y; Div y,k -> x", (64,), "64"),
        ("Conv image,w -> y; Div y,k -> x", (64,), ""),
    ],
)
def test_a_division_of_the_pixels_settles_their_scale(text, constant, divisor) -> None:
    answers = scale_answers((0, 0x3FF), (0xF000, 0xF003), RETRIEVAL_2026_DRAFT)
    graph = graph_of(text, k=constant)
    verdict = judge_answers("IMG-2", RETRIEVAL_2026_DRAFT, answers, graph)
    if divisor:
        op = text.split(";")[-1].split()[0]
        assert verdict == passed(f"{op} 'x' divides the pixels by {divisor} or more")
    else:
        assert verdict.outcome == "fail"


def test_a_division_settles_the_scale_of_pixels_in_0_to_1_too() -> None:
    answers = scale_answers((0, 0x3FF), (0xF000, 0xF003), RETRIEVAL_2026)
    for text, made_for_255 in (
        ("Div image,k -> x", True),
        ("Mul image,white -> x; Div x,k -> y", False),
        ("Div image,eight -> x; Relu x -> y; Div y,eight -> z", True),
        ("Div image,eight -> x", False),
    ):
        graph = graph_of(text, k=(58.4, 57.1, 57.4), white=(255,), eight=(8,))
        verdict = judge_answers("IMG-2", RETRIEVAL_2026, answers, graph)
        assert (verdict.outcome == "fail") is made_for_255, text
        assert "made for 0..255" in verdict.seen or not made_for_255


def test_without_a_graph_the_answers_tell() -> None:
    answers = scale_answers((0, 0x3FF), (0xF000, 0xF003), RETRIEVAL_2026_DRAFT)
    own = answered(RETRIEVAL_2026_DRAFT, answers)
    own.graphs = {}
    assert all_rules()["IMG-2"].check(own).outcome == "fail"


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("Sub image,mean -> x; Conv x,w -> y", "Sub 'x' ahead of the first weights"),
        ("Relu image -> x; Div x,std -> y", "Div 'y' ahead of the first weights"),
        ("Conv image,w,b -> x", "may be folded into the bias of Conv 'x'"),
        ("MatMul image,w -> x; Add x,b -> y", "may be folded into the bias of MatMul 'x'"),
        (
            "Conv image,w -> x; BatchNormalization x,s -> y",
            "may be folded into the bias of Conv 'x'",
        ),
        ("Conv image,w -> x; Relu x -> y; Add y,b -> z", ""),
        ("Clip image,low,high -> x; Conv x,w -> y", ""),
        ("Shape image -> s; Sub s,one -> t; Conv image,w -> y", ""),
        ("Conv image,w -> x", ""),
        ("Gemm image,w -> x", ""),
        ("Relu image -> x", ""),
    ],
)
def test_where_a_mean_may_be_subtracted(text: str, seen: str) -> None:
    verdict = judge("IMG-3", graph_of(text), PIDNET)
    first = next((line.split() for line in text.split("; ") if line.split()[0] in WEIGHTED), [])
    into = f"{first[0]} {first[3]!r}, which has no bias" if first else "no weights at all"
    nothing = f"the picture goes straight into {into}"
    assert verdict == (passed(seen) if seen else failed("a mean and a scale", nothing))


@pytest.mark.parametrize(
    ("shape", "outcome"), [((1, 3, 8, 8), "pass"), ((3, 8, 8), "skip"), ((1, 1, 3, 8, 8), "skip")]
)
def test_a_picture_of_another_name_is_known_by_its_rank(shape: tuple, outcome: str) -> None:
    graph = replace(graph_of("Sub x,mean -> y"), inputs=(Value("x", "float32", shape),))
    for rule in ("IMG-3", "IMG-4"):
        verdict = judge(rule, graph, PIDNET)
        assert verdict.outcome == outcome
        assert outcome == "pass" or verdict == skipped(NO_PICTURE)
