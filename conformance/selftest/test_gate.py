"""The gate end to end: what a user types and what comes back."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import onnx
import pytest

from conformance.rulebook import rules_for
from conformance.selftest.gate import counts, run_gate
from conformance.selftest.models import conforming, write
from conformance.selftest.mutants import MUTANTS
from reference.depth.contract import DEPTH_2025
from reference.retrieval.contract import RETRIEVAL_2026
from reference.segmentation.contract import SEGMENTATION_2025

ROOT = Path(__file__).parents[2]


def save_mutant(name: str, path: Path) -> Path:
    found = next(mutant for mutant in MUTANTS if mutant.name == name)
    model = conforming(found.track, found.part)
    found.change(model)
    onnx.save(model, path)
    return path


def test_a_conforming_model_passes_every_rule(tmp_path: Path) -> None:
    write(SEGMENTATION_2025, tmp_path)
    gate = run_gate(tmp_path, "--track=segmentation", "--submission=model.onnx", "--strict", "-v")
    assert gate.code == 0, gate.out
    rules = [rule.id for rule in rules_for(SEGMENTATION_2025)]
    for rule in rules:
        assert f"test_contract[segmentation-2025::{rule}] PASSED" in gate.out
        assert re.search(rf"^  pass  {rule} \(\w+\): [A-Z]", gate.out, re.MULTILINE), rule
    assert counts(gate)["passed"] == len(rules) + 2, "the tokenizer has two items of its own"
    assert f"segmentation-2025, model.onnx: {len(rules)} pass" in gate.out


def test_two_parts(tmp_path: Path) -> None:
    write(RETRIEVAL_2026, tmp_path)
    parts = ["--submission=image=image.onnx", "--submission=text=text.onnx"]
    gate = run_gate(tmp_path, "--track=retrieval", *parts, "-v")
    assert gate.code == 0, gate.out
    assert re.search(r"^  pass  RET-7 \(required\): .*\n {8}image 16, text 16$", gate.out, re.M)


def test_a_failure_says_what_to_know_and_the_command_repeats_it(tmp_path: Path) -> None:
    save_mutant("depth up to 1.001", tmp_path / "my.onnx")
    gate = run_gate(tmp_path, "--track=depth", "--submission=my.onnx")
    assert gate.code == 1
    assert counts(gate)["failed"] == 1
    assert (
        "DEP-7 (documented): Depth lies in [0, 1] on the host, to one unit in the last place of 1."
        in gate.out
    )
    assert re.search(r"^  source +sample solution README, section 2", gate.out, re.MULTILINE)
    assert re.search(r"^  expected +values in \[0, 1\]", gate.out, re.MULTILINE)
    seen = r"^  seen +float32 1x1x480x640, 0\.\.1\.001; \d+ of 307200 values, first at \(0, 0, \d+"
    assert re.search(seen, gate.out, re.MULTILINE)
    assert re.search(r"^  at +probe 'astronaut'", gate.out, re.MULTILINE)
    assert re.search(r"^  remedy +end with min-max", gate.out, re.MULTILINE)
    command = re.search(r"^  again +pytest (.*)$", gate.out, re.MULTILINE)
    assert command is not None
    again = subprocess.run(
        f"{sys.executable} -m pytest {command[1]}",
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 1
    assert "1 failed" in again.stdout.splitlines()[-1]
    assert "DEP-7 (documented)" in again.stdout


@pytest.mark.parametrize(
    ("mutant", "options", "code"),
    [
        ("inverse depth", [], 0),  # advice
        ("inverse depth", ["--strict"], 1),
        ("depth up to 1.001", [], 1),  # documented
        ("depth up to 1.001", ["--as-evaluated"], 0),
        ("float16 depth", [], 1),  # required
        ("float16 depth", ["--as-evaluated"], 1),
    ],
)
def test_levels(mutant: str, options: list[str], code: int, tmp_path: Path) -> None:
    save_mutant(mutant, tmp_path / "my.onnx")
    gate = run_gate(tmp_path, "--track=depth", "--submission=my.onnx", *options)
    assert gate.code == code, gate.out
    if code == 0:
        assert counts(gate)["warned"] == 1
        assert "warn  " in gate.out
        assert "-> " in gate.out, "the remedy stands under a warning"


def poison(folder: Path, *names: str) -> dict[str, str]:
    """An environment in which importing one of `names` ends the process, whoever does it."""
    for name in names:
        (folder / "poison" / name).mkdir(parents=True)
        source = f"import os\nos.write(2, b'{name} was imported')\nos._exit(9)\n"
        (folder / "poison" / name / "__init__.py").write_text(source)
    return {"PYTHONPATH": str(folder / "poison")}


def test_a_broken_file_is_reported_before_anything_runs(tmp_path: Path) -> None:
    """Without onnxruntime even; how long it takes is benchmarks/test_gate_cost.py's matter."""
    save_mutant("float16 depth", tmp_path / "my.onnx")
    poisoned = poison(tmp_path, "onnxruntime")
    gate = run_gate(tmp_path, "--track=depth", "--submission=my.onnx", **poisoned)
    assert gate.code == 1
    assert counts(gate)["skipped"] == sum(r.needs == "runs" for r in rules_for(DEPTH_2025))
    assert "not run: the file itself breaks DEP-6; mend that first" in gate.out
    write(DEPTH_2025, tmp_path)
    control = run_gate(tmp_path, "--track=depth", "--submission=model.onnx", **poisoned)
    assert "onnxruntime was imported" in control.out, "a whole file is run, so the poison works"


def facts_in(file: Path) -> dict[str, dict[str, str]]:
    """What JUnit XML has of each rule, by its id."""
    cases = ET.parse(file).getroot().iter("testcase")
    texts = [out.text or "" for case in cases for out in case.iter("system-out")]
    found = [dict(line.split(": ", 1) for line in text.splitlines()) for text in texts]
    return {facts["rule"]: facts for facts in found}


def test_junit_holds_the_rules(tmp_path: Path) -> None:
    """As xunit2 has it, without a warning."""
    save_mutant("inverse depth", tmp_path / "my.onnx")
    options = ["--junitxml=report.xml", "-W", "error"]
    gate = run_gate(tmp_path, "--track=depth", "--submission=my.onnx", *options)
    assert gate.code == 0, gate.out + gate.err
    found = facts_in(tmp_path / "report.xml")
    assert found.keys() == {rule.id for rule in rules_for(DEPTH_2025)}
    assert found["DEP-8"]["status"] == "warn"
    assert found["DEP-8"]["level"] == "advice"
    assert found["DEP-7"]["seen"] == "0..1 over 9 probes"
    for case in ET.parse(tmp_path / "report.xml").getroot().iter("testcase"):
        assert case.attrib.keys() == {"classname", "name", "time"}
        assert {child.tag for child in case} == {"system-out"}


def test_onnx_needs_neither_torch_nor_transformers(tmp_path: Path) -> None:
    """Their place is taken by modules that end the process that imports them."""
    write(RETRIEVAL_2026, tmp_path)
    parts = ["--submission=image=image.onnx", "--submission=text=text.onnx"]
    poisoned = poison(tmp_path, "torch", "transformers")
    gate = run_gate(tmp_path, "--track=retrieval", *parts, **poisoned)
    assert gate.code == 0, gate.out + gate.err
    poisoned["LPCVC_CACHE"] = str(tmp_path / "cache")  # an export that is kept needs no torch
    control = run_gate(tmp_path, "--track=retrieval", **poisoned)
    assert control.code == pytest.ExitCode.USAGE_ERROR
    assert "torch was imported" in control.out, "the reference needs it, so the poison works"


def test_the_wheel_checks_a_model_from_any_folder(tmp_path: Path) -> None:
    """Built as the documents say, installed apart, and run elsewhere, with its own fixtures."""
    build = [sys.executable, "-m", "build", "--no-isolation", "-o", str(tmp_path)]
    subprocess.run([*build, str(ROOT)], check=True, capture_output=True)
    wheel = next(tmp_path.glob("*.whl"))
    site, work = tmp_path / "site", tmp_path / "work"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--no-compile",
        "--target",
        str(site),
    ]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    work.mkdir()
    write(DEPTH_2025, work)
    options = ["--track=depth", "--submission=model.onnx", "-v", "-s", "--report=out"]
    gate = run_gate(work, *options, PYTHONPATH=str(site))
    assert gate.code == 0, gate.out + gate.err
    assert counts(gate)["passed"] == len(rules_for(DEPTH_2025))
    where = [sys.executable, "-c", "from reference.data import fixture; print(fixture('photos'))"]
    found = subprocess.run(
        where, cwd=work, env={"PYTHONPATH": str(site)}, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == str(site / "reference" / "fixtures" / "photos")
    assert (work / "out" / "report.html").exists(), "its templates are in the wheel"
    (info,) = site.glob("lpcvc_conformance-*.dist-info")
    tops = {path.name for path in site.iterdir()} - {"bin", "__pycache__"}
    assert tops == {"conformance", "reference", "lpcvc_pytest.py", info.name}
    assert "[pytest11]\nlpcvc = lpcvc_pytest\n" in (info / "entry_points.txt").read_text()
    assert not (site / "conformance" / "selftest").exists()
    assert not (site / "reference" / "tests").exists()
