"""Baselines as values: what compares as what, and what a file keeps."""

import json
import math
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from conformance.regression.compare import compare
from conformance.regression.document import SCHEMA, Recorded, read_baseline, write_baseline
from conformance.regression.entries import Answer, Entry, Nodes, Number, Output, from_json, to_json
from conformance.regression.environment import differences, versions
from conformance.regression.fingerprint import distance, project, summarise
from conformance.regression.tolerances import noise_of, read_tolerances
from reference.errors import SubmissionError

FIGURES = st.floats(-1e6, 1e6)
NAMES = st.text(max_size=12)
ANSWERS = st.builds(Answer, st.sampled_from(["pass", "fail", "skip"]), NAMES)
NUMBERS = st.builds(
    Number,
    FIGURES,
    NAMES,
    st.sampled_from(["higher", "lower", ""]),
    st.none() | st.tuples(FIGURES, FIGURES).map(lambda pair: (min(pair), max(pair))),
)
NODES = st.builds(Nodes, st.dictionaries(NAMES, st.tuples(NAMES, NAMES), max_size=4))
OUTPUTS = st.builds(
    Output,
    st.sampled_from(["float32", "float16"]),
    st.lists(st.integers(1, 2048), max_size=4).map(tuple),
    st.integers(0, 9),
    FIGURES,
    FIGURES,
    FIGURES,
    st.floats(0, 1e6),
    st.lists(FIGURES, max_size=64).map(tuple),
)
ROOMS = {"rules/": ANSWERS, "compiled/": NUMBERS, "CPU nodes/": NODES, "outputs/": OUTPUTS}
ENTRIES = st.fixed_dictionaries(
    {}, optional={f"{room}{name}": kind for room, kind in ROOMS.items() for name in "abc"}
)


@given(ENTRIES)
def test_a_baseline_is_the_same_as_itself(entries: dict[str, Entry]) -> None:
    changes = compare(entries, entries, [("*", 0.0)])
    assert [(c.key, c.status, c.fails) for c in changes] == [
        (key, "same", False) for key in sorted(entries)
    ]


@given(ENTRIES)
def test_json_keeps_every_entry(entries: dict[str, Entry]) -> None:
    for entry in entries.values():
        assert from_json(json.loads(json.dumps(to_json(entry)))) == entry


def sorted_pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    assert pairs == sorted(pairs, key=lambda pair: pair[0])
    return dict(pairs)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(entries={}, environment={}, label="\udcff.onnx")
@given(entries=ENTRIES, environment=st.dictionaries(NAMES, NAMES), label=NAMES)
def test_a_file_keeps_everything_and_is_canonical(
    entries: dict[str, Entry], environment: dict[str, str], label: str, tmp_path: Path
) -> None:
    path = tmp_path / "kept.json"
    baseline = {("depth-2025", label): Recorded(environment, entries)}
    write_baseline(path, baseline)
    first = path.read_bytes()
    assert read_baseline(path) == baseline
    write_baseline(path, read_baseline(path))
    assert path.read_bytes() == first
    json.loads(first, object_pairs_hook=sorted_pairs)
    assert [p.name for p in tmp_path.iterdir()] == ["kept.json"]


@given(st.floats(0.01, 1e6), st.floats(1e-6, 10), st.sampled_from(["higher", "lower", ""]))
def test_a_number_beyond_its_tolerance_is_named(value: float, share: float, better: str) -> None:
    key = "compiled/Samsung Galaxy S24/model/binary"
    bound = noise_of(key).bound
    assume(abs(share - bound) > 1e-9)
    before = Number(value, "MB", better)
    for sign in (1, -1):
        after = replace(before, value=value * (1 + sign * share))
        (change,) = compare({key: before}, {key: after})
        assert change.key == key
        if share < bound:
            assert (change.status, change.fails) == ("same", False)
            continue
        wanted = "better" if (sign > 0) == (better == "higher") else "worse"
        assert change.status == (wanted if better else "changed")
        assert change.fails == (change.status != "better")
        assert not compare({key: before}, {key: after}, [("compiled/*", math.inf)])[0].fails


@pytest.mark.parametrize(
    ("before", "after", "status", "fails"),
    [
        ("pass", "fail", "worse", True),
        ("fail", "pass", "better", False),
        ("skip", "pass", "better", False),
        ("skip", "fail", "worse", True),
        ("pass", "skip", "missing", True),
    ],
)
def test_verdicts(before, after, status: str, fails: bool) -> None:
    (change,) = compare({"rules/DEP-7": Answer(before)}, {"rules/DEP-7": Answer(after, "0..1.2")})
    assert (change.status, change.fails) == (status, fails)
    assert change.text.startswith(f"{before} -> {after}: 0..1.2")
    allowed = compare(
        {"rules/DEP-7": Answer(before)}, {"rules/DEP-7": Answer(after)}, [("rules/DEP-*", 1.0)]
    )
    assert not allowed[0].fails


def test_what_is_gone_fails_and_what_is_new_does_not() -> None:
    entries = {"outputs/model/grey": summarise(np.zeros((64, 64)))}
    (gone,), (new,) = compare(entries, {}), compare({}, entries)
    assert (gone.status, gone.fails) == ("missing", True)
    assert (new.status, new.fails) == ("new", False)


def test_an_operator_that_moves_to_the_cpu_is_named() -> None:
    key = "compiled/Samsung Galaxy S24/model/CPU nodes"
    before = Nodes({"old": ("Resize", "no cubic")})
    renamed = Nodes({"another": ("Resize", "no cubic")})
    moved = Nodes({**renamed.nodes, "/head/Erf": ("Erf", "float64 is not taken")})
    assert compare({key: before}, {key: renamed})[0].status == "same"
    (worse,) = compare({key: renamed}, {key: moved})
    assert worse.fails
    assert worse.text.startswith("moved to the CPU: Erf '/head/Erf': float64 is not taken")
    (better,) = compare({key: moved}, {key: renamed})
    assert (better.status, better.fails, better.text) == (
        "better",
        False,
        "no longer on the CPU: Erf",
    )


@given(st.floats(0.5, 2.0), st.floats(0.0, 0.3), st.floats(0.0, 0.3))
def test_scores_and_latencies_that_overlap_are_the_same(
    factor: float, spread: float, other: float
) -> None:
    def figure(value: float, spread: float) -> Number:
        return Number(value, "mIoU", "higher", (value - spread, value + spread))

    (change,) = compare({"scores/mIoU": figure(1, spread)}, {"scores/mIoU": figure(factor, other)})
    overlap = 1 - spread <= factor + other and factor - other <= 1 + spread
    assert (change.status == "same") == overlap
    assert change.fails == (not overlap and factor < 1)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.floats(1e-3, 10.0), st.sampled_from([(1, 512), (1, 19, 16, 32)]))
def test_a_projection_measures_noise(seed: int, size: float, shape: tuple[int, ...]) -> None:
    """The distance is the root mean square error, to what 64 numbers can tell."""
    rng = np.random.default_rng(seed)
    values = rng.normal(3.0, 2.0, shape)
    noise = rng.normal(0.0, size, shape)
    change = project(values + noise) - project(values)
    seen = math.sqrt(float(np.mean(change**2)))
    assert seen == pytest.approx(math.sqrt(float(np.mean(noise**2))), rel=0.4)


def test_the_projection_is_the_same_on_every_machine() -> None:
    """As kept in files: another numpy must not change it."""
    found = project(np.arange(1.0, 513.0).reshape(1, 512))
    assert found[:4].round(6).tolist() == [388.90873, -416.839448, 109.247998, 47.376154]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 63), st.floats(0.05, 5.0), st.integers(8, 70), st.integers(8, 70))
def test_a_block_that_changes_is_seen(block: int, size: float, height: int, width: int) -> None:
    values = np.random.default_rng(5).normal(0, 1, (1, 1, height, width))
    changed = values.copy()
    rows = np.array_split(np.arange(height), 8)[block // 8]
    columns = np.array_split(np.arange(width), 8)[block % 8]
    changed[:, :, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] += size
    before, after = summarise(values), summarise(changed)
    moved = np.flatnonzero(np.not_equal(before.fingerprint, after.fingerprint))
    assert moved.tolist() == [block]
    amount, _ = distance(before, after)
    assert amount >= size / 8 / before.std * 0.999, "one block of 64 weighs an eighth"


@pytest.mark.parametrize(
    ("other", "name"),
    [
        (np.zeros((1, 1, 16, 16), np.float16), "dtype"),
        (np.zeros((16, 16), np.float32), "shape"),
        (np.full((1, 1, 16, 16), np.nan, np.float32), "not_finite"),
    ],
)
def test_another_kind_of_answer_is_as_far_as_can_be(other: np.ndarray, name: str) -> None:
    before = summarise(np.zeros((1, 1, 16, 16), np.float32))
    assert distance(before, summarise(other)) == (math.inf, name)
    change = compare({"outputs/model/a": before}, {"outputs/model/a": summarise(other)})[0]
    assert change.fails
    assert name in change.text


def test_nan_in_an_answer_reaches_the_file_as_a_count() -> None:
    answer = np.ones((1, 8), np.float32)
    answer[0, 2:4] = np.nan, np.inf
    found = summarise(answer)
    assert (found.not_finite, found.min, found.max, found.mean) == (2, 1.0, 1.0, 1.0)
    json.dumps(to_json(found), allow_nan=False)


GOOD = '{"name": "lpcvc-baseline", "schema": 1, "submissions": {"depth-2025": {"my.onnx": %s}}}'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"name": "lpcvc-baseline", "schema": 0}', "holds a baseline of schema 0, this version"),
        ('{"name": "lpcvc-baseline", "schema": 2}', "holds a baseline of schema 2, this version"),
        ('{"name": "lpcvc-baseline"}', "does not hold a baseline: 'schema'"),
        (GOOD[:60], "does not hold a baseline: "),
        ("", "does not hold a baseline: Expecting value"),
        ("[1, 2]", "does not hold a baseline: it has another content"),
        ('{"schema": 1, "runs": []}', "does not hold a baseline: it has another content"),
        ("\x00\x80", "does not hold a baseline: "),
        ("[" * 100_000, "does not hold a baseline: "),
        (GOOD % "3", "does not hold a baseline: "),
        (GOOD % '{"environment": {}, "entries": {"a": {"kind": "odd"}}}', "'odd'"),
        (
            GOOD % '{"environment": {}, "entries": {"a": {"kind": "number", "value": NaN}}}',
            "NaN is no JSON",
        ),
        (
            GOOD % '{"environment": {}, "entries": {"a": {"kind": "answer", "outcome": 1}}}',
            "no outcome: 1",
        ),
    ],
)
def test_files_that_are_no_baseline_are_one_line(text: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(SubmissionError) as caught:
        read_baseline(path)
    assert problem in caught.value.problem
    assert caught.value.remedy
    assert "\n" not in str(caught.value)


@given(
    st.recursive(
        st.none() | st.booleans() | FIGURES | NAMES,
        lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner),
    )
)
def test_foreign_json_is_refused(document: object) -> None:
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        from_json(document)


@given(st.binary(max_size=200), st.integers(0, 300))
def test_a_damaged_file_is_refused_or_read(damage: bytes, place: int) -> None:
    """Whatever bytes come to stand in a baseline, nothing else is raised."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kept.json"
        write_baseline(path, {("depth-2025", "my.onnx"): Recorded({}, {"rules/a": Answer("pass")})})
        whole = path.read_bytes()
        path.write_bytes(whole[:place] + damage + whole[place + len(damage) :])
        with suppress(SubmissionError):
            read_baseline(path)


@pytest.mark.parametrize("text", ["", "0.1", "=1", "outputs/*", "outputs/*=", "a=-1", "a=nan"])
def test_tolerances_that_are_none(text: str) -> None:
    with pytest.raises(SubmissionError, match="is not ENTRY=VALUE"):
        read_tolerances([text])


def test_the_last_tolerance_counts() -> None:
    given = read_tolerances(["outputs/*=inf", "outputs/image/'a=b'=0.5"])
    assert given == [("outputs/*", math.inf), ("outputs/image/'a=b'", 0.5)]
    before, after = Number(1.0, ""), Number(2.0, "")
    key = "outputs/image/'a=b'"
    assert compare({key: before}, {key: after}, given)[0].fails
    assert not compare({key: before}, {key: after}, given[::-1])[0].fails


def test_versions() -> None:
    found = versions()
    assert found["numpy"] == np.__version__
    assert differences(found, found) == []
    other = {**found, "numpy": "1.0", "QAIRT": "2.60"}
    assert differences(other, {**found, "QAIRT": "2.61"}) == [
        "QAIRT 2.60 -> 2.61",
        f"numpy 1.0 -> {np.__version__}",
    ]


def test_the_schema_is_in_the_file(tmp_path: Path) -> None:
    write_baseline(tmp_path / "kept.json", {})
    assert json.loads((tmp_path / "kept.json").read_text())["schema"] == SCHEMA
