"""The gate in CI: the action's own shell steps, run in order, and what they leave behind."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from conformance.ci import (
    EXTRAS,
    MOST_ANNOTATIONS,
    annotations,
    cache_key,
    command,
    gate_arguments,
    main,
    requirement,
    wheels,
)
from conformance.selftest.models import write
from conformance.selftest.test_gate import save_mutant
from reference.depth.contract import DEPTH_2025
from reference.errors import SubmissionError

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
EXPRESSION = re.compile(r"\$\{\{ *([\w.-]+) *\}\}")


@dataclass
class Job:
    """What the steps of the action left: exit codes by name, what they printed, the folder."""

    codes: dict[str, int]
    out: str
    folder: Path
    summary: str


def run_action(folder: Path, **inputs: str) -> Job:
    """The `run:` steps of action.yml but for the installation, as a runner takes them."""
    given_inputs = {name: spec.get("default", "") for name, spec in ACTION["inputs"].items()}
    values = {f"inputs.{name}": value for name, value in (given_inputs | inputs).items()}
    values |= {"runner.temp": str(folder / "temp"), "github.action_path": str(ROOT)}
    files = {name: folder / f"{name}.txt" for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    codes: dict[str, int] = {}
    out = ""
    for step in ACTION["runs"]["steps"]:
        if "run" not in step or step.get("id") == "install":
            continue
        if any(codes.values()) and "always()" not in step.get("if", ""):
            continue
        for file in files.values():
            file.touch()
        fill = lambda text: EXPRESSION.sub(lambda found: values[found[1]], text)  # noqa: E731
        own = {name: fill(text) for name, text in step["env"].items()}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=folder,
            env={
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                "GITHUB_ACTIONS": "true",
                **{name: str(file) for name, file in files.items()},
                **own,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        codes[step["name"]] = done.returncode
        out += done.stdout + done.stderr
        for line in files["GITHUB_OUTPUT"].read_text().splitlines():
            name, _, value = line.partition("=")
            values[f"steps.{step.get('id')}.outputs.{name}"] = value
        files["GITHUB_OUTPUT"].unlink()
    return Job(codes, out, folder, files["GITHUB_STEP_SUMMARY"].read_text(encoding="utf-8"))


def test_a_model_that_passes(tmp_path: Path) -> None:
    write(DEPTH_2025, tmp_path)
    job = run_action(tmp_path, track="depth", submission="model.onnx")
    assert job.codes == {"Name the wheels": 0, "Name the cache": 0, "Gate": 0, "Show": 0}, job.out
    assert not re.search("^::(error|warning)", job.out, re.MULTILINE)
    assert job.summary == (tmp_path / "lpcvc-report/report.md").read_text(encoding="utf-8")
    assert "LPCVC conformance: passing" in job.summary
    found = {path.name for path in (tmp_path / "lpcvc-report").iterdir()}
    assert found == {"report.json", "report.md", "report.html", "badge.svg"}


def test_a_model_that_fails(tmp_path: Path) -> None:
    """Its exit code is the gate's, and what comes after is shown all the same."""
    save_mutant("depth up to 1.001", tmp_path / "my model.onnx")
    job = run_action(tmp_path, track="depth", submission="my model.onnx", report="out of it")
    assert job.codes == {"Name the wheels": 0, "Name the cache": 0, "Gate": 1, "Show": 0}, job.out
    shown = re.findall("^::(error|warning) title=([^:]*)::(.*)$", job.out, re.MULTILINE)
    assert [found[:2] for found in shown] == [("error", "DEP-7")]
    text = shown[0][2]
    assert text.startswith("depth-2025, my model.onnx: float32 1x1x480x640, 0..1.001;")
    assert "%0Aremedy: end with min-max normalisation" in text
    assert "LPCVC conformance: failing" in job.summary
    assert (tmp_path / "out of it/report.html").is_file()
    token = re.search("^::stop-commands::([0-9a-f]{32})$", job.out, re.MULTILINE)
    assert token is not None
    assert f"\n::{token[1]}::\n" in job.out


def test_a_gate_that_cannot_start(tmp_path: Path) -> None:
    job = run_action(tmp_path, track="depth", submission="none.onnx")
    assert job.codes == {"Name the wheels": 0, "Name the cache": 0, "Gate": 4, "Show": 0}, job.out
    assert "no such file: none.onnx" in job.out
    assert "::error title=lpcvc::The gate ended before it had a report" in job.out
    assert job.summary.startswith("The gate ended before")


def test_no_input_reaches_the_shell(tmp_path: Path) -> None:
    """An expression inside `run:` would be pasted into the script; they stand in `env:` alone."""
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step.get("run", "")
    trap = "$(touch trapped)`touch trapped`\"; touch trapped; ' #"
    job = run_action(tmp_path, track=trap, submission=f"{trap}.onnx\n--collect-only", device=trap)
    assert job.codes["Gate"] == 4
    assert not (tmp_path / "trapped").exists()


def test_the_wheels_are_kept_by_their_pins(tmp_path: Path) -> None:
    """Nothing of the action looks into files that the runner would have to find for it: hashFiles
    and setup-python's cache take none outside of the workspace.
    """
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    assert "hashFiles" not in text
    assert "cache-dependency-path" not in text
    (tmp_path / "constraints.txt").write_text("numpy==1\n")
    first = wheels(tmp_path)
    assert Path(first["wheels"]).is_absolute()
    (tmp_path / "constraints.txt").write_text("numpy==2\n")
    assert wheels(tmp_path)["pins"] != first["pins"]


def test_every_input_is_used() -> None:
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    assert {name for name in ACTION["inputs"] if f"inputs.{name} }}" not in text} == set()
    assert ACTION["inputs"]["suites"]["default"] in EXTRAS
    uploads = [s for s in ACTION["runs"]["steps"] if "upload-artifact" in s.get("uses", "")]
    assert [step["if"] for step in uploads] == ["${{ always() }}"]


def test_the_documented_jobs_are_possible() -> None:
    """What docs/ci.md shows of the action, of GitLab and of pre-commit goes with what there is."""
    text = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    github, gitlab, hooks = map(yaml.safe_load, re.findall("```yaml\n(.*?)```", text, re.DOTALL))
    step = github["jobs"]["gate"]["steps"][-1]
    needed = {name for name, spec in ACTION["inputs"].items() if spec.get("required")}
    assert needed <= step["with"].keys() <= ACTION["inputs"].keys()
    for name in ACTION["inputs"]:
        assert f"`{name}`" in text, name
    known = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert [hook["id"] for hook in hooks["repos"][0]["hooks"]] == [known[0]["id"]]
    paths = gitlab["lpcvc"]["artifacts"]["paths"] + gitlab["lpcvc"]["cache"]["paths"]
    script = " ".join(gitlab["lpcvc"]["script"])
    assert f"--report {paths[0].rstrip('/')} " in script
    assert gitlab["lpcvc"]["variables"]["LPCVC_CACHE"].endswith(paths[1].rstrip("/"))
    assert gitlab["lpcvc"]["artifacts"]["reports"]["junit"] in script


@pytest.mark.parametrize(
    ("inputs", "extras"),
    [
        ({"SUBMISSION": "my.onnx"}, "report"),
        ({"SUBMISSION": "image=a.onnx\ntext=b.zip"}, "report"),
        ({}, "report,torch"),
        ({"SUBMISSION": "module:factory"}, "report,torch"),
        ({"SUBMISSION": "my.onnx", "SUITES": "contract, npu"}, "npu,report"),
        ({"SUBMISSION": "my.keras"}, "report,tensorflow"),
        ({"SUBMISSION": "image=a.tflite\ntext=b.pt"}, "report,tflite,torch"),
        ({"SUBMISSION": "my.onnx", "SUITES": "parity device"}, "hub,npu,report,torch"),
    ],
)
def test_requirement(inputs: dict[str, str], extras: str) -> None:
    environ = {f"LPCVC_{name}": value for name, value in inputs.items()}
    assert requirement("./a b", environ) == f"./a b[{extras}]"


def test_requirement_needs_the_standard_library_alone() -> None:
    """It says what to install before anything is."""
    code = "import sys, conformance.ci; print(*{m.partition('.')[0] for m in sys.modules})"
    run = [sys.executable, "-S", "-c", code]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(run, env=environ, check=True, capture_output=True, text=True)
    others = set(done.stdout.split()) - sys.stdlib_module_names - {"__main__"}
    assert others == {"conformance", "reference"}


def test_gate_arguments() -> None:
    environ = {
        "LPCVC_TRACK": "retrieval",
        "LPCVC_SUBMISSION": "image=a.onnx\n\n text=b c.onnx ",
        "LPCVC_DEVICE": "Samsung Galaxy S24\nSnapdragon X Elite CRD",
        "LPCVC_BASELINE": "base.json",
        "LPCVC_STRICT": "True",
        "LPCVC_SUITES": "contract,npu",
        "LPCVC_REPORT": "out",
    }
    assert gate_arguments(environ) == [
        *("--pyargs", "conformance", "-m", "contract or npu or regression"),
        *("--track=retrieval", "--submission=image=a.onnx", "--submission=text=b c.onnx"),
        *("--device=Samsung Galaxy S24", "--device=Snapdragon X Elite CRD"),
        *("--baseline=base.json", "--strict", "--report=out"),
    ]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [("SUITES", "not npu", "no suite is called 'not'"), ("STRICT", "yes", "strict cannot be")],
)
def test_inputs_that_cannot_be(
    name: str, value: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {f"LPCVC_{name}": value, "LPCVC_REPORT": "out"}
    with pytest.raises(SubmissionError, match=told):
        gate_arguments(environ)
    assert main(["gate"], environ) == 2
    told_user = capsys.readouterr()
    assert told_user.err.startswith(f"::error title=lpcvc::{told}")
    assert told_user.err.count("\n") == 1


def test_the_key_goes_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    keys = set()
    for name, data in (("a.onnx", "1"), ("b.onnx", "1"), ("a.onnx", "2"), ("a.onnx.data", "3")):
        Path(name).write_text(data)
        keys.add(cache_key({"LPCVC_SUBMISSION": f"image={name.removesuffix('.data')}"}))
    assert len(keys) == 3, "two files of one content have one key"
    assert all(re.fullmatch(r"lpcvc-[\w.]+-[0-9a-f]{16}", key) for key in keys)


@given(st.text(), st.text())
def test_a_command_is_one_line_and_says_what_it_was_given(title: str, message: str) -> None:
    line = command("error", title, message)
    assert not set("\r\n") & set(line)
    head, _, data = line.removeprefix("::error title=").partition("::")
    assert not set(":,") & set(head)
    unescaped = {"%0D": "\r", "%0A": "\n", "%3A": ":", "%2C": ",", "%25": "%"}
    back = [re.sub("%..", lambda found: unescaped[found[0]], text) for text in (head, data)]
    assert back == [title, message]


def test_annotations_of_many() -> None:
    """GitHub shows ten of a kind: required rules come first, and the last says what is left."""
    report = _report("documented", 12)
    report["subjects"][0]["rules"].append(_rule("SEG-1", "required", "fail"))
    report["subjects"][0]["rules"].append(_rule("COM-5", "advice", "warn"))
    lines = annotations(report)
    errors = [line for line in lines if line.startswith("::error")]
    assert len(errors) == MOST_ANNOTATIONS
    assert errors[0].startswith("::error title=SEG-1::")
    assert errors[-1] == "::error title=lpcvc::4 more are in the summary and in report.html"
    assert lines[len(errors) :] == [
        "::warning title=COM-5::depth, my.onnx: seen%0AA rule.%0Aremedy: mend it"
    ]


def test_a_run_that_ended_early_is_an_error() -> None:
    report = _report("required", 0) | {"complete": False, "sentence": "The run ended early."}
    assert annotations(report) == ["::error title=lpcvc::The run ended early."]


def _report(level: str, number: int) -> dict[str, Any]:
    rules = [_rule(f"DEP-{index + 1}", level, "fail") for index in range(number)]
    text = json.dumps({"subjects": [{"label": "depth, my.onnx", "rules": rules}], "others": []})
    return {**json.loads(text), "complete": True, "sentence": ""}


def _rule(id: str, level: str, status: str) -> dict[str, str]:
    told = {"statement": "A rule.", "seen": "seen", "expected": "", "remedy": "mend it"}
    return {"id": id, "level": level, "status": status, **told}


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("github-actions", ["action.yml"]),
        ("github-workflows", [".github/workflows/test.yml", ".github/workflows/release.yml"]),
        ("gitlab-ci", ["docs/ci.md"]),
    ],
)
def test_what_the_runners_read_keeps_their_schemas(
    schema: str, files: list[str], tmp_path: Path
) -> None:
    """GitHub's and GitLab's, as `check-jsonschema` brings them."""
    pytest.importorskip("check_jsonschema")
    paths = [ROOT / name for name in files]
    if schema == "gitlab-ci":
        page = paths[0].read_text(encoding="utf-8")
        (block,) = (b for b in re.findall("```yaml\n(.*?)```", page, re.DOTALL) if "script:" in b)
        paths = [tmp_path / "gitlab.yml"]
        paths[0].write_text(block)
    known = ["--builtin-schema", f"vendor.{schema}"]
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", *known, *map(str, paths)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
