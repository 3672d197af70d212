"""Rules of pictures on made-up answers and graphs."""

from dataclasses import replace

import numpy as np
import pytest

from conformance.graph import Value
from conformance.rulebook import Verdict, all_rules, failed, passed, skipped
from conformance.rules.image import NO_ANSWER, NO_PICTURE
from conformance.selftest.facts import answered, graph_of, judge, judge_answers
from reference.tracks import PIDNET, RETRIEVAL_2026, RETRIEVAL_2026_DRAFT, Track


def answer(bits: int) -> np.ndarray:
    """An embedding of 1 and -1; two are an eighth apart for every bit that they differ in."""
    half = np.array([1 - 2 * (bits >> i & 1) for i in range(16)], np.float32)
    return np.concatenate([half, -half])[None]


def test_photographs_need_different_answers() -> None:
    def judged(**photos: int) -> Verdict:
        answers = {name: answer(bits) for name, bits in photos.items()}
        return judge_answers("IMG-1", RETRIEVAL_2026, answers)

    seen = "the same for 2 photographs: float32 1x32, -1..1"
    expected = "an answer that depends on the picture"
    where = "image model, probe 'astronaut'"
    assert judged(astronaut=5, coffee=5) == failed(expected, seen, where)
    assert judged(astronaut=5, coffee=6) == passed("2 different answers to 2 photographs")
    assert judged(astronaut=5, coffee=5, rocket=6).seen == "2 different answers to 3 photographs"
    assert judged(astronaut=5) == skipped(NO_ANSWER)


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
    else:
        told = {"[0, 1]": "made for [0, 1] or mean/std", "0..255": "made for 0..255"}[made_for]
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


def test_a_division_settles_nothing_for_pixels_in_0_to_1_or_without_a_graph() -> None:
    graph = graph_of("Div image,k -> x", k=(64,))
    answers = scale_answers((0, 0x3FF), (0xF000, 0xF001), RETRIEVAL_2026)
    assert judge_answers("IMG-2", RETRIEVAL_2026, answers, graph).outcome == "pass"
    answers = scale_answers((0, 0xFFFF), (0xF000, 0xF001), RETRIEVAL_2026)
    assert judge_answers("IMG-2", RETRIEVAL_2026, answers, graph).outcome == "fail"
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
    ],
)
def test_where_a_mean_may_be_subtracted(text: str, seen: str) -> None:
    verdict = judge("IMG-3", graph_of(text), PIDNET)
    nothing = "the picture goes straight into a convolution without a bias"
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


CONSTANTS = {
    "bgr": (2, 1, 0),
    "rgb": (0, 1, 2),
    "bgg": (2, 1, 1),
    "column": (2, 1, 0),
    "row": (2, 1, 0),
    "unknown": (2, 1, 0),
    "none": (-1,),
    "zero": (0,),
    "one": (1,),
    "two": (2,),
    "three": (3,),
    "far": (-(2**63),),
}
SHAPES = {
    "image": (1, 3, 480, 640),
    "rgbx": (1, 4, 480, 640),
    "rows": (3, 480, 640),
    "column": (3, 1),
    "rgb": (3, 1),
    "bgg": (3, 1),
    "row": (1, 3),
}
REVERSALS = [
    "Gather image,bgr -> x axis=1",
    "Gather image,bgr -> x axis=-3",
    "Gather rows,bgr -> x",
    "GatherND rows,column -> x",
    "Slice image,none,far,one,none -> x",
    "Split image -> r,g,b; Concat b,g,r -> x axis=1",
    "Slice image,zero,one,one -> r; Slice image,one,two,one -> g; Slice image,two,three,one -> b; "
    "Concat b,g,r -> x axis=1",
]
OTHERS = [
    "Gather image,rgb -> x axis=1",
    "Gather image,bgg -> x axis=1",
    "Gather image,bgr -> x axis=2",
    "Gather image,bgr -> x",
    "Gather rgbx,bgr -> x axis=1",
    "GatherND rows,row -> x",
    "GatherND rows,unknown -> x",
    "GatherND rows,rgb -> x",
    "GatherND rows,bgg -> x",
    "GatherND image,column -> x",
    "Slice image,none,far,zero,none -> x",
    "Slice image,none,far,two,none -> x",
    "Slice rgbx,none,far,one,none -> x",
    "Slice image,zero,three,one,two -> x",
    "Slice image,zero,three,one -> x",
    "Slice image,none,far,axis,none -> x",
    "Split image -> r,g,b; Concat r,g,b -> x axis=1",
    "Split rgbx -> r,g,b,a; Concat b,g,r -> x axis=1",
    "Split image -> r,gb; Slice image,two,three -> b; Concat b,gb,r -> x axis=1",
    "Slice image,zero,one -> r; Slice image,one,two -> g; Slice image,one,three -> gb; "
    "Concat gb,g,r -> x axis=1",
    "Conv image,w -> rows; Gather rows,bgr -> x",
]


def judge_channels(text: str) -> Verdict:
    values = {name: Value(name, "float32", shape) for name, shape in SHAPES.items()}
    source = text.split()[1].split(",")[0]
    graph = replace(graph_of(text, **CONSTANTS), values=values)
    if source != "image":
        graph = replace(graph, nodes=(*graph_of(f"Relu image -> {source}").nodes, *graph.nodes))
    return judge("IMG-4", graph, PIDNET)


@pytest.mark.parametrize("text", REVERSALS)
def test_reversed_channels(text: str) -> None:
    op = text.split(";")[-1].split()[0]
    assert judge_channels(text) == failed("RGB, as it is fed", f"{op} 'x' makes it BGR")
    for op in {line.split()[0] for line in text.split(";")}:
        for other in ("Abs", "Xor"):
            verdict = judge_channels(text.replace(f"{op} ", f"{other} "))
            assert verdict == passed("no reversal of the channels")


@pytest.mark.parametrize("text", OTHERS)
def test_channels_that_are_not_reversed(text: str) -> None:
    assert judge_channels(text) == passed("no reversal of the channels")
