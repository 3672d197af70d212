"""Regression as a user runs it: what is saved, what is compared, and what is said of it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from conformance.device.history import Saved, save
from conformance.regression.assessment import RegressionOptions, RegressionRun
from conformance.regression.document import Recorded, read_baseline, write_baseline
from conformance.scoring.kept import Score, keep_score
from conformance.selftest.gate import Gate, counts, run_gate
from conformance.selftest.models import conforming, write
from conformance.selftest.mutants import MUTANTS
from conformance.subject import Subject
from reference.errors import SubmissionError
from reference.registry import find_track
from reference.retrieval.contract import RETRIEVAL_2026
from reference.tests.npu_models import needs_compiler

OPTIONS = ("--track=retrieval", "--submission=image=image.onnx", "--submission=text=text.onnx")
LABEL = "retrieval-2026", "image.onnx text.onnx"


def run(folder: Path, *options: str) -> Gate:
    return run_gate(folder, *OPTIONS, *options, suite="regression")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and its baseline."""
    folder = tmp_path_factory.mktemp("saved")
    write(RETRIEVAL_2026, folder)
    gate = run(folder, "--save-baseline=kept.json")
    assert gate.code == 0, gate.out
    assert counts(gate)["passed"] == 3, "rules, and the outputs of two parts"
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    for file in saved.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def change_table(folder: Path, factor: float) -> None:
    """Scales one row of the text model's table: that of the word dog."""
    model = conforming("retrieval", "text")
    table = next(t for t in model.graph.initializer if t.name == "table")
    values = np.array(numpy_helper.to_array(table))
    values[1929] *= np.float32(factor)
    table.CopyFrom(numpy_helper.from_array(values, "table"))
    onnx.save(model, folder / "text.onnx")


def test_a_model_compares_with_itself(folder: Path) -> None:
    gate = run(folder, "--baseline=kept.json")
    assert gate.code == 0, gate.out
    kept = read_baseline(folder / "kept.json")[LABEL]
    assert kept.entries["rules/RET-1"].outcome == "pass"
    assert kept.environment["onnxruntime"]
    answers = sum(key.startswith("outputs/text/") for key in kept.entries)
    assert f"  pass  outputs/text (baseline): {answers} same" in gate.out
    assert "versions" not in gate.out


def test_one_weight_is_noticed_measured_and_named(folder: Path) -> None:
    change_table(folder, 3.0)
    gate = run(folder, "--baseline=kept.json")
    assert gate.code == 1, gate.out
    assert counts(gate) == {**counts(gate), "failed": 1, "passed": 2}
    assert "outputs/text: 2 of " in gate.out
    assert "  changed  outputs/text/'dog.': " in gate.out
    assert "  changed  outputs/text/long text B: " in gate.out, "which ends with the word"
    assert "standard deviations away" in gate.out
    tolerant = run(folder, "--baseline=kept.json", "--tolerance=outputs/text/*=inf")
    assert tolerant.code == 0, tolerant.out


def test_a_rule_that_newly_fails(folder: Path) -> None:
    own = [m for m in MUTANTS if m.track == LABEL[0] and m.part == "text"]
    mutant = next(m for m in own if "RET-7" in m.rules)
    model = conforming("retrieval", "text")
    mutant.change(model)
    onnx.save(model, folder / "text.onnx")
    gate = run(folder, "--baseline=kept.json", "-k", "rules")
    assert gate.code == 1, gate.out
    assert "  worse    rules/RET-7: pass -> fail: " in gate.out
    assert "  versions all as in the baseline" in gate.out
    assert "--with" not in gate.out


def test_another_version_is_named(folder: Path) -> None:
    text = (folder / "kept.json").read_text()
    version = json.loads(text)["submissions"][LABEL[0]][LABEL[1]]["environment"]["onnxruntime"]
    (folder / "kept.json").write_text(
        text.replace(f'"onnxruntime": "{version}"', '"onnxruntime": "1.2"')
    )
    gate = run(folder, "--baseline=kept.json", "-k", "rules")
    assert gate.code == 0, gate.out
    assert f"versions that are not the baseline's: onnxruntime 1.2 -> {version}" in gate.out


def test_saving_says_what_it_replaces_and_keeps_the_rest(folder: Path) -> None:
    before = (folder / "kept.json").read_text()
    document = json.loads(before)
    document["submissions"]["depth-2025"] = {"other.onnx": {"entries": {}, "environment": {}}}
    (folder / "kept.json").write_text(json.dumps(document))
    again = run(folder, "--save-baseline=kept.json")
    assert again.code == 0
    assert "was replaced" not in again.out
    kept = read_baseline(folder / "kept.json")
    assert ("depth-2025", "other.onnx") in kept
    change_table(folder, 3.0)
    gate = run(folder, "--save-baseline=kept.json", "-k", "text")
    assert gate.code == 0
    assert "outputs/text/'dog.' was replaced: changed, " in gate.out
    now = read_baseline(folder / "kept.json")
    differ = [k for k, v in now[LABEL].entries.items() if kept[LABEL].entries[k] != v]
    assert differ == ["outputs/text/'dog.'", "outputs/text/long text B"], (
        "what is within its noise stays as it was"
    )
    assert now[LABEL].entries.keys() == kept[LABEL].entries.keys()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ([], "-m regression needs a baseline; add --baseline FILE, or --save-baseline FILE"),
        (["--baseline=none.json"], "none.json cannot be read (No such file or directory);"),
        (
            ["--save-baseline=a.json", "-p", "xdist", "-n", "2"],
            "--save-baseline needs one process;",
        ),
    ],
)
def test_options_that_cannot_be_used_are_one_line(
    options: list[str], problem: str, folder: Path
) -> None:
    gate = run(folder, *options)
    assert gate.code == pytest.ExitCode.USAGE_ERROR
    assert [line for line in gate.lines if line.startswith("ERROR: ")] == [gate.lines[-1]]
    assert gate.lines[-1].startswith(f"ERROR: {problem}")
    assert "Traceback" not in gate.out + gate.err


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"baseline": "image.onnx"}, "image.onnx does not hold a baseline: "),
        ({"save": "image.onnx"}, "image.onnx does not hold a baseline: "),
        ({"save": "image.onnx/kept.json"}, "image.onnx/kept.json cannot be written (what"),
        ({"baseline": "kept.json", "tolerances": ["x"]}, "--tolerance 'x' is not ENTRY=VALUE;"),
    ],
)
def test_what_cannot_be_used_is_refused_at_once(
    options: dict[str, Any], problem: str, saved: Path
) -> None:
    given = {k: v if k == "tolerances" else saved / v for k, v in options.items()}
    with pytest.raises(SubmissionError) as caught:
        RegressionRun(RegressionOptions(**given))
    assert problem in str(caught.value)


def subject(track: str, label: str) -> Subject:
    return Subject(find_track(track), label, opener=pytest.fail)


def test_whose_baseline_it_is(tmp_path: Path) -> None:
    """The submission of that name; else the only one of the track; else none."""
    path = tmp_path / "kept.json"
    one, other = (Recorded({"numpy": version}, {}) for version in "12")
    write_baseline(path, {("depth-2025", "one.onnx"): one})
    run = RegressionRun(RegressionOptions(baseline=path))
    assert run.recorded(subject("depth", "later.onnx")) == one
    with pytest.raises(SubmissionError, match=r"'my\.onnx' of pidnet, .* has: none"):
        run.recorded(subject("pidnet", "my.onnx"))
    write_baseline(path, {("depth-2025", "one.onnx"): one, ("depth-2025", "other.onnx"): other})
    run = RegressionRun(RegressionOptions(baseline=path))
    assert run.recorded(subject("depth", "other.onnx")) == other
    with pytest.raises(SubmissionError, match=r"has: one\.onnx; other\.onnx"):
        run.recorded(subject("depth", "later.onnx"))


def test_a_baseline_is_not_for_other_suites(folder: Path) -> None:
    gate = run_gate(folder, *OPTIONS, "--baseline=kept.json")
    assert gate.code == pytest.ExitCode.USAGE_ERROR
    assert gate.lines == ["ERROR: --baseline is for -m regression; add that"]


@needs_compiler
def test_an_operator_that_leaves_the_npu(folder: Path, tmp_path: Path) -> None:
    """Mod by a float is an operator that the NPU does not have."""
    cache = {"LPCVC_CACHE": str(tmp_path / "cache")}
    options = [*OPTIONS, "--with=compile", "-k", "compiled and image"]
    gate = run_gate(folder, *options, "--save-baseline=kept.json", suite="regression", **cache)
    assert gate.code == 0, gate.out
    model = onnx.load(folder / "image.onnx")
    last = model.graph.node[-1]
    (name,) = last.output
    last.output[0] = "before"
    size = numpy_helper.from_array(np.float32(1e6), "size")
    model.graph.initializer.append(size)
    model.graph.node.append(onnx.helper.make_node("Mod", ["before", "size"], [name], "mod", fmod=1))
    onnx.save(model, folder / "image.onnx")
    gate = run_gate(folder, *options, "--baseline=kept.json", suite="regression", **cache)
    assert gate.code == 1, gate.out
    key = "compiled/XR2 Gen 2 (Proxy)/image/CPU nodes"
    assert f"  worse    {key}: moved to the CPU: Mod 'mod': " in gate.out
    assert " --with compile" in gate.out


def test_latencies_of_a_device_run(folder: Path) -> None:
    device = Saved(
        "2026-05-01T00:00:00+00:00", *LABEL, "XR2 Gen 2 (Proxy)", "qnn_dlc", emulated=False,
        milliseconds=20.0, spread=(19.9, 20.1), memory=None, units={}, parts={},
    )  # fmt: skip
    save(folder / "runs.json", [device])
    options = ["--save=runs.json", "-k", "latency"]
    assert run(folder, *options, "--save-baseline=kept.json").code == 0
    save(folder / "runs.json", [replace(device, milliseconds=23.0, spread=(22.5, 23.5))])
    gate = run(folder, *options, "--baseline=kept.json")
    assert gate.code == 1
    assert "worse    latency/XR2 Gen 2 (Proxy)/qnn_dlc: 20 -> 23 ms, measured (+15" in gate.out


def test_scores_that_were_kept(folder: Path) -> None:
    score = Score(
        *LABEL, "my_data", "ab", "ort", "onnxruntime 1", "Recall@10", 50.0, (48.0, 52.0), 10, 0
    )
    keep_score(folder / "scores.json", score)
    options = ["--scores=scores.json", "-k", "scores"]
    assert run(folder, *options, "--save-baseline=kept.json").code == 0
    keep_score(folder / "scores.json", replace(score, value=47.0, interval=(45.0, 49.0)))
    assert run(folder, *options, "--baseline=kept.json").code == 0
    keep_score(folder / "scores.json", replace(score, value=44.0, interval=(42.0, 46.0)))
    gate = run(folder, *options, "--baseline=kept.json", "--report=out")
    assert gate.code == 1
    assert "worse    scores/ort/my_data: 50 -> 44 Recall@10" in gate.out
    assert "scores/ort/my_data" in (folder / "out" / "report.json").read_text()
