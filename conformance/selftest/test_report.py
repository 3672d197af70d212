"""`--report` end to end: what a run leaves behind, in one process and in several."""

import json
from pathlib import Path

import jsonschema
import onnx
import pytest

from conformance.rulebook import rules_for
from conformance.selftest.gate import Gate, run_gate
from conformance.selftest.models import write
from conformance.selftest.page import read_page
from conformance.selftest.surgery import after, step
from conformance.selftest.test_gate import facts_in, poison, save_mutant
from reference.depth.contract import DEPTH_2025
from reference.errors import SubmissionError
from reference.npu.toolchain import find_toolchain
from reference.retrieval.contract import RETRIEVAL_2026

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "report.schema.json").read_text(encoding="utf-8"))
FILES = {"report.json", "report.md", "report.html", "badge.svg"}
RETRIEVAL = [
    "--track=retrieval",
    "--submission=image=image.onnx",
    "--submission=text=text.onnx",
]
MOST_PAGE_BYTES = 3_000_000


def reported(folder: Path) -> dict:
    """The report in `folder`, held to its schema; the page and the badge say the same."""
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    jsonschema.validate(report, SCHEMA)
    page = read_page((folder / "report.html").read_text(encoding="utf-8"))
    assert page.headings[0][1].lower() == f"{report['verdict']}: {report['sentence']}".lower()
    assert len(page.rules) == sum(len(s["rules"]) for s in report["subjects"])
    for place, subject in enumerate(report["subjects"], 1):
        for rule in subject["rules"]:
            words = page.rules[f"rule-{place}-{rule['id'].replace(' ', '-')}"]
            for name in (
                "id",
                "statement",
                "level",
                "seen",
                "expected",
                "source",
                "remedy",
                "again",
            ):
                assert " ".join(rule[name].split()) in words, (rule["id"], name)
    tables = [t for section in report["sections"] for t in section["tables"]]
    cells = {" ".join(cell.split()) for t in tables for row in t["rows"] for cell in row}
    assert cells <= page.cells
    assert f"conformance: {report['verdict']}</title>" in (folder / "badge.svg").read_text()
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    assert markdown.startswith(f"# LPCVC conformance: {report['verdict']}\n")
    assert len(markdown.encode()) < 2**20
    assert (folder / "report.html").stat().st_size < MOST_PAGE_BYTES
    return report


def gate_with_report(folder: Path, *options: str, suite: str = "contract") -> tuple[Gate, dict]:
    gate = run_gate(folder, *options, "--report=out", suite=suite)
    return gate, reported(folder / "out")


def section(report: dict, kind: str) -> dict:
    return next(found for found in report["sections"] if found["kind"] == kind)


def test_a_failing_submission(tmp_path: Path) -> None:
    save_mutant("depth up to 1.001", tmp_path / "my.onnx")
    options = ["--track=depth", "--submission=my.onnx", "--junitxml=junit.xml"]
    gate, report = gate_with_report(tmp_path, *options)
    assert gate.code == 1
    assert "report: out/report.html" in gate.out
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    count = len(rules_for(DEPTH_2025))
    assert report["verdict"] == "failing"
    assert report["counts"] == {"fail": 1, "warn": 0, "pass": count - 1, "skip": 0}
    (subject,) = report["subjects"]
    assert (subject["label"], subject["edition"]) == ("depth-2025, my.onnx", "2025")
    broken = next(rule for rule in subject["rules"] if rule["status"] == "fail")
    assert broken["id"] == "DEP-7"
    assert broken["expected"] == "values in [0, 1]"
    assert broken["source"].startswith("sample solution README")
    assert broken["again"] in gate.out, "the command is the one of the terminal"
    figures = section(report, "answers")["figures"]
    assert [f["caption"] for f in figures] == ["astronaut", "chelsea", "coffee", "rocket"]
    assert figures[0]["scale"]["high"] == "1.001"
    assert "from 0 (dark violet) to 1.001 (yellow)" in figures[0]["alt"]
    ((track, _, measured, budget),) = section(report, "latency")["tables"][0]["rows"]
    assert (track, measured, budget) == ("depth-2025", "not measured", "30 FPS or better")
    assert report["environment"]["onnx"] == onnx.__version__
    markdown = (tmp_path / "out" / "report.md").read_text()
    statement = "Depth lies in \\[0, 1\\] on the host, to one unit in the last place of 1."
    assert f"| **DEP-7** {statement} | documented | **FAIL** |" in markdown
    own = facts_in(tmp_path / "junit.xml")
    for rule in subject["rules"]:
        for name in ("level", "seen", "expected", "source", "remedy", "again"):
            assert own[rule["id"]][name] == rule[name]


def test_two_workers(tmp_path: Path) -> None:
    """Rows come from both, and of what both have seen the pictures come once."""
    write(RETRIEVAL_2026, tmp_path)
    gate, report = gate_with_report(tmp_path, *RETRIEVAL, "-p", "xdist", "-n", "2")
    assert gate.code == 0, gate.out
    assert report["verdict"] == "passing"
    assert report["complete"]
    ids = [rule["id"] for rule in report["subjects"][0]["rules"]]
    assert sorted(ids) == sorted(rule.id for rule in rules_for(RETRIEVAL_2026))
    assert ids[:3] == ["COM-1", "COM-2", "COM-3"], "whoever was first"
    assert [other["status"] for other in report["others"]] == ["pass", "pass"]
    assert [found["kind"] for found in report["sections"]] == ["retrieval", "facts", "latency"]
    names = [figure["caption"] for figure in section(report, "retrieval")["figures"]]
    assert names == ["astronaut", "chelsea", "coffee", "rocket"]


def test_a_run_that_ends_early_says_so(tmp_path: Path) -> None:
    save_mutant("float16 depth", tmp_path / "my.onnx")
    gate, report = gate_with_report(tmp_path, "--track=depth", "--submission=my.onnx", "-x")
    assert gate.code == 1
    assert not report["complete"]
    assert "stopping after 1 failures" in report["ended"]
    assert report["verdict"] == "failing"


def test_what_cannot_be_written(tmp_path: Path) -> None:
    write(DEPTH_2025, tmp_path)
    (tmp_path / "file").write_text("")
    options = ["--track=depth", "--submission=model.onnx"]
    gate = run_gate(tmp_path, *options, "--report=file/out")
    assert gate.code == pytest.ExitCode.USAGE_ERROR
    assert gate.err.strip() == (
        "ERROR: --report file/out cannot be written (Not a directory); name a folder of your own"
    )
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "jinja2.py").write_text("raise ImportError")
    gate = run_gate(tmp_path, *options, "--report=out", PYTHONPATH=f"{tmp_path / 'none'}:{ROOT}")
    assert gate.code == pytest.ExitCode.USAGE_ERROR
    needs = "ERROR: --report needs Jinja2, which is not installed; pip install "
    assert gate.err.startswith(needs)
    assert gate.err.strip().endswith("[report]'")
    assert "\n" not in gate.err.strip()
    poisoned = poison(tmp_path, "jinja2")
    poisoned["PYTHONPATH"] += f":{ROOT}"
    control = run_gate(tmp_path, *options, "-k=COM-1]", **poisoned)
    assert control.code == 0, "without --report it is not needed"


def test_every_suite_in_one_run(tmp_path: Path) -> None:
    """An image encoder with numbers that float16 does not have: where they come from is drawn."""
    try:
        find_toolchain()
    except SubmissionError as error:
        pytest.skip(str(error))
    write(RETRIEVAL_2026, tmp_path)
    model = onnx.load(tmp_path / "image.onnx")
    after("normalised", step("Mul", 1e5), step("Relu"), step("Mul", 1e-5))(model)
    onnx.save(model, tmp_path / "image.onnx")
    gate, report = gate_with_report(tmp_path, *RETRIEVAL, suite="contract or npu or parity")
    assert gate.code == 1
    for figure in section(report, "retrieval")["figures"]:
        values = figure["chart"]["values"]
        assert values == sorted(values, reverse=True)
        assert len(values) == 6
        assert all(-1 <= value <= 1 for value in values)
    made = section(report, "placement")
    assert "Latency on a device: not measured" in made["notes"][0]
    columns = made["tables"][0]["columns"]
    image = dict(zip(columns, made["tables"][0]["rows"][0], strict=True))
    assert (image["part"], image["compiles"], image["nodes on CPU"]) == ("image", "whole", "0")
    total = sum(int(row[columns.index("nodes on NPU")]) for row in made["tables"][0]["rows"])
    placed = next(r for s in report["subjects"] for r in s["rules"] if r["id"] == "NPU-2")
    assert placed["seen"] == f"{total} nodes, all on the NPU"
    rows = section(report, "differences")["tables"][0]["rows"]
    assert [float(row[2]) > 0.99999 for row in rows] == [False, False, True, True]
    drawn = section(report, "parity")
    (chart,) = drawn["charts"]
    assert chart["labels"][chart["marked"]] == "Mul normalised_step_0"
    assert "first at Mul 'normalised_step_0'" in drawn["notes"][0]
    assert 0 < chart["values"][chart["marked"]] < chart["limit"]
