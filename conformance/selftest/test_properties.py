"""Properties of the value checks and of verdicts, whatever the arrays and the order of asking."""

import random
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.contract.assessment import Assessment
from conformance.contract.evidence import Evidence, Run
from conformance.contract.probes import probes_for
from conformance.rulebook import Verdict, all_rules
from conformance.selftest.gate import run_gate
from conformance.selftest.models import conforming
from conformance.selftest.surgery import Change, after, step
from conformance.subject import opened
from conformance.submission.model import Model, Submission
from conformance.submission.opening import open_submission
from reference.depth.contract import DEPTH_2025
from reference.process import Limits
from reference.retrieval.contract import RETRIEVAL_2026
from reference.segmentation.contract import SEGMENTATION_2025
from reference.tracks import Track, fits

REPEATABLE = settings(derandomize=True, deadline=None, database=None, max_examples=60)

ULP = 2.0**-23  # of 1, in float32
TINY = np.float32(1e-45)
SPECIAL = [
    np.nan,
    np.inf,
    -np.inf,
    -0.0,
    0.0,
    1.0,
    0.5,
    float(TINY),
    float(-TINY),
    float(np.nextafter(np.float32(1), np.float32(2))),
    float(np.nextafter(np.float32(1), np.float32(0))),
    float(np.nextafter(np.float32(0), np.float32(-1))),
    255.0,
    -1.0,
]
values = st.lists(st.sampled_from(SPECIAL) | st.floats(width=32), min_size=0, max_size=6)
DTYPES = ["float32", "float64", "float16", "int64", "int32", "uint8", "int8", "bool"]


def evidence(track: Track, answers: dict[str, list[np.ndarray]]) -> Evidence:
    """Evidence of a model that gave these answers, part by part, to the first probes."""
    models = {part.name: Model(part.name, "onnx", "none.onnx") for part in track.parts}
    own = Evidence(track, Submission("made up", models), Path(), lambda text: None, Limits())
    for part in track.parts:
        probes = probes_for(track, part)
        own._attempts[part.name, "own"] = [
            Run(part, probe, (array,), 0.0)
            for probe, array in zip(probes, answers[part.name], strict=False)
        ]
    return own


def judge(rule: str, own: Evidence) -> Verdict:
    return all_rules()[rule].check(own)


def holding(shape: tuple[int, ...], contents: list[float], places: random.Random) -> np.ndarray:
    """Zeros of a shape with `contents` in random places of their own."""
    array = np.zeros(shape, np.float32)
    flat = array.reshape(-1)
    flat[places.sample(range(array.size), len(contents))] = contents
    return array


@REPEATABLE
@given(contents=values, places=st.randoms(use_true_random=False))
def test_a_mask_is_binary_when_each_value_is_0_or_1(contents, places) -> None:
    array = holding((1024, 1024), contents, places)
    verdict = judge("SEG-7", evidence(SEGMENTATION_2025, {"model": [array]}))
    bad = [value for value in np.float32(contents) if value not in (0.0, 1.0)]
    assert (verdict.outcome == "fail") == bool(bad)
    assert not bad or f"{len(bad)} of 1048576 values" in verdict.seen


@REPEATABLE
@given(contents=values, places=st.randoms(use_true_random=False))
def test_depth_is_within_0_and_1_when_each_value_is(contents, places) -> None:
    array = holding((1, 1, 480, 640), contents, places)
    verdict = judge("DEP-7", evidence(DEPTH_2025, {"model": [array]}))
    if not all(np.isfinite(np.float32(contents))):
        assert verdict.outcome == "skip", "COM-10 speaks of these"
    else:
        bad = [value for value in map(float, np.float32(contents)) if not -ULP <= value <= 1 + ULP]
        assert (verdict.outcome == "fail") == bool(bad)


@REPEATABLE
@given(contents=values, places=st.randoms(use_true_random=False), probe=st.integers(0, 7))
def test_finite_when_each_value_is(contents, places, probe) -> None:
    """COM-10 answers for photographs and noise, COM-11 for the constant images."""
    arrays = [np.zeros((1, 1, 480, 640), np.float32)] * 8
    arrays[probe] = holding((1, 1, 480, 640), contents, places)
    own = evidence(DEPTH_2025, {"model": arrays})
    role = own.attempts()[probe].probe.role
    bad = not all(np.isfinite(np.float32(contents)))
    assert (judge("COM-10", own).outcome == "fail") == (bad and role in ("photo", "noise"))
    assert (judge("COM-11", own).outcome == "fail") == (bad and role == "constant")


@REPEATABLE
@given(contents=values, places=st.randoms(use_true_random=False))
def test_an_embedding_has_no_length_where_float32_has_none_of_its_squares(contents, places) -> None:
    array = holding((1, 8), contents, places)
    ones = np.ones((1, 8), np.float32)
    verdict = judge("RET-8", evidence(RETRIEVAL_2026, {"image": [ones], "text": [array]}))
    with np.errstate(over="ignore"):
        squares = np.sum(np.square(array))
    finite = bool(np.isfinite(array).all())
    assert (verdict.outcome == "fail") == (finite and not 0 < squares < np.inf)


@REPEATABLE
@given(
    dtype=st.sampled_from(DTYPES),
    shape=st.lists(st.sampled_from([0, 1, 2, 480, 640]), max_size=5).map(tuple)
    | st.just((1, 1, 480, 640)),
)
def test_answers_are_judged_when_shape_and_type_are_the_contracts(dtype, shape) -> None:
    if np.prod(shape, dtype=np.int64) > 10**6:
        shape = shape[:1]
    own = evidence(DEPTH_2025, {"model": [np.ones(shape, dtype)]})
    keeps = dtype == "float32" and shape == (1, 1, 480, 640)
    assert judge("COM-9", own).outcome == ("pass" if keeps else "fail")
    for rule in ("DEP-7", "DEP-8", "DEP-9", "COM-10", "IMG-1", "IMG-2"):
        assert keeps or judge(rule, own).outcome == "skip"


sizes = st.none() | st.integers(0, 3)


@REPEATABLE
@given(found=st.lists(sizes, max_size=4).map(tuple), wanted=st.lists(sizes, max_size=4).map(tuple))
def test_shapes_fit_when_some_choice_of_the_free_sizes_makes_them_equal(found, wanted) -> None:
    def choices(shape: tuple) -> list[tuple]:
        grown: list[tuple] = [()]
        for size in shape:
            options = range(4) if size is None else [size]
            grown = [(*head, option) for head in grown for option in options]
        return grown

    assert fits(found, wanted) == bool(set(choices(found)) & set(choices(wanted)))


CHANGES: dict[str, Change] = {
    "conforming": lambda model: None,
    "above 1": after("depth", step("Mul", 1.5)),
    "inverse": after("depth", step("Neg"), step("Add", 1.0)),
    "picture ignored": after("image", step("Mul", 0.0)),
}


def assessment(change: str, folder: Path) -> Assessment:
    model = conforming("depth")
    CHANGES[change](model)
    folder.mkdir()
    onnx.save(model, folder / "my.onnx")
    submission = open_submission(DEPTH_2025, [str(folder / "my.onnx")], folder)
    return Assessment(opened(DEPTH_2025, submission), folder)


@pytest.mark.parametrize("change", CHANGES)
def test_verdicts_depend_on_neither_order_nor_selection(change: str, tmp_path: Path) -> None:
    whole = assessment(change, tmp_path / "whole")
    expected = {rule.id: whole.verdict(rule) for rule in whole.rules}
    backwards = assessment(change, tmp_path / "backwards")
    assert {rule.id: backwards.verdict(rule).outcome for rule in reversed(whole.rules)} == {
        id: verdict.outcome for id, verdict in expected.items()
    }
    for rule in whole.rules:
        own = whole.evidence
        random.Random(rule.id).shuffle(own._attempts["model", "own"])
        assert rule.check(own).outcome == expected[rule.id].outcome, "another order of probes"
    alone = assessment(change, tmp_path / "alone")
    for rule in random.Random(change).sample(whole.rules, 3):
        alone = assessment(change, tmp_path / rule.id)
        assert alone.verdict(rule).outcome == expected[rule.id].outcome


@pytest.mark.slow
def test_verdicts_do_not_depend_on_xdist(tmp_path: Path) -> None:
    model = conforming("depth")
    CHANGES["inverse"](model)
    onnx.save(model, tmp_path / "my.onnx")
    options = ["--track=depth", "--submission=my.onnx"]
    one, two = run_gate(tmp_path, *options), run_gate(tmp_path, *options, "-p", "xdist", "-n", "2")

    def rows(text: str) -> set[str]:
        table = [line for line in text.splitlines() if line.startswith("  ")]
        times = ("each on this host", " s each, about ")
        return {line for line in table if not any(each in line for each in times)}

    assert one.code == two.code == 0
    assert "1 warned" in two.out.splitlines()[-1]
    assert rows(one.out) == rows(two.out)
    assert "DEP-8   advice      warn" in two.out
