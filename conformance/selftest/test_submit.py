"""`lpcvc submit` and `export-card`, with a scripted AI Hub; and the device suite on a local one."""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from conformance import submit as submitting
from conformance.cli import main
from conformance.device import assessment
from conformance.device.jobs import ORGANISERS
from conformance.scoring import runtimes
from conformance.scoring.job import Job
from conformance.selftest.gate import counts, run_gate
from conformance.selftest.models import conforming, write
from conformance.selftest.scripted_hub import MB, Script, ScriptedHub
from conformance.selftest.surgery import redeclare
from conformance.submission import Model
from reference.npu.toolchain import find_toolchain
from reference.process import Limits
from reference.tracks import DEPTH_2025, RETRIEVAL_2026

pytest.importorskip("qai_hub", reason="needs the hub extra")

PAIR = ["--submission=image=image.onnx", "--submission=text=text.onnx"]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ScriptedHub:
    """A hub with a device; the working directory has conforming models."""
    own = ScriptedHub(Script([20.0], memory=(0, 90 * MB)))
    for module in (submitting, assessment):
        monkeypatch.setattr(module, "Hub", lambda kind: own)
    write(RETRIEVAL_2026, tmp_path)
    write(DEPTH_2025, tmp_path)
    monkeypatch.chdir(tmp_path)
    return own


def test_what_is_submitted_is_compiled_shared_and_kept(
    hub: ScriptedHub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["submit", "--track=retrieval", *PAIR, "--team=Us"]) == 0
    said = capsys.readouterr().out
    receipt = json.loads(Path("receipt.json").read_text())
    assert [m["sha256"] for m in receipt["models"]] == [
        hashlib.sha256(Path(f"{part}.onnx").read_bytes()).hexdigest() for part in ("image", "text")
    ]
    assert hub.client.calls == ["compile", "compile"]
    assert [job.get_sharing() for job in hub.client.jobs] == [[ORGANISERS], [ORGANISERS]]
    for part, job in zip(("image", "text"), hub.client.jobs, strict=True):
        assert f"compile job ID  {job.job_id}  ({part})" in said
        assert receipt["compile_jobs"][part] == job.job_id
    assert "team            Us" in said
    assert {row["status"] for row in receipt["report"]} <= {"pass", "skip"}
    report = json.dumps(receipt["report"], sort_keys=True).encode()
    assert receipt["report_sha256"] == hashlib.sha256(report).hexdigest()


def test_a_receipt_is_never_written_over(
    hub: ScriptedHub, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("receipt.json").write_text("mine")
    assert main(["submit", "--track=retrieval", *PAIR, "--team=Us"]) == 2
    assert "receipt.json is there already" in capsys.readouterr().err
    assert Path("receipt.json").read_text() == "mine"
    assert hub.client.calls == []


def test_a_broken_rule_stops_it_unless_forced(
    hub: ScriptedHub, capsys: pytest.CaptureFixture[str]
) -> None:
    model = conforming("depth", "model")
    redeclare("depth", shape=(1, 1, 480, 641))(model)
    onnx.save(model, "model.onnx")
    command = ["submit", "--track=depth", "--submission=model.onnx", "--team=Us"]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "required rules are broken: " in error
    assert "give --force" in error
    assert hub.client.calls == []
    assert not Path("receipt.json").exists()
    assert main([*command, "--force"]) == 0
    assert "forced          although " in capsys.readouterr().out
    assert json.loads(Path("receipt.json").read_text())["forced"] is True


def test_a_job_that_fails_is_not_shared(
    hub: ScriptedHub, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.script.fails["compile"] = "no such operator"
    assert main(["submit", "--track=retrieval", *PAIR, "--team=Us"]) == 2
    assert "(image part) failed: no such operator; nothing was shared" in capsys.readouterr().err
    assert [job.get_sharing() for job in hub.client.jobs] == [[], []]
    assert not Path("receipt.json").exists()


def test_a_card_has_a_block_and_a_row_for_each_device(
    hub: ScriptedHub, capsys: pytest.CaptureFixture[str]
) -> None:
    devices = ["--device=Samsung Galaxy S23", "--device=Samsung Galaxy S24"]
    assert main(["export-card", "--track=depth", "--submission=model.onnx", *devices]) == 0
    said = capsys.readouterr().out
    assert said.count("Estimated inference time (ms)   : 20.0") == 2
    rows = [line.split(" | ") for line in said.splitlines() if line.startswith("| model ")]
    assert [row[2] for row in rows] == ["Samsung Galaxy S23", "Samsung Galaxy S24"]
    assert {(row[5], row[6]) for row in rows} == {("20.000", "0 - 90")}


def test_a_card_of_a_model_that_does_not_compile(
    hub: ScriptedHub, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.script.fails["compile"] = "no such operator"
    assert main(["export-card", "--track=depth", "--submission=model.onnx"]) == 2
    assert "the model part: no such operator" in capsys.readouterr().err


def test_the_device_suite_on_a_local_hub(tmp_path: Path) -> None:
    """Compiled, profiled and run by way of the client; nothing that only a device can tell."""
    try:
        find_toolchain()
    except Exception as error:
        pytest.skip(str(error))
    write(RETRIEVAL_2026, tmp_path)
    options = ["--track=retrieval", *PAIR, "--hub=local", "--share", "--save=runs.json"]
    gate = run_gate(tmp_path, *options, suite="device", LPCVC_CACHE=str(tmp_path / "cache"))
    assert gate.code == 0, gate.out
    assert counts(gate)["passed"] == 8, "DEV-13 too"
    assert "retrieval-2026 on XR2 Gen 2 (Proxy) (local AI Hub), image.onnx text.onnx" in gate.out
    assert "not measured: no real device is behind" in gate.out
    (run,) = json.loads((tmp_path / "runs.json").read_text())["runs"]
    assert run["emulated"] is True
    assert run["milliseconds"] is None


def test_a_remote_hub_needs_a_configuration(tmp_path: Path) -> None:
    write(DEPTH_2025, tmp_path)
    options = ["--track=depth", "--submission=model.onnx", "--hub=remote"]
    gate = run_gate(tmp_path, *options, suite="device", HOME=str(tmp_path), QAIHUB_CLIENT_INI="")
    assert gate.code == 4
    assert "ERROR: the client of AI Hub is not configured; run `qai-hub configure " in gate.out


def test_scores_on_ai_hub(
    hub: ScriptedHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Compiled once; each pass is an inference job, and answers as the host does."""
    monkeypatch.setattr(runtimes, "Hub", lambda kind: hub)
    data = tmp_path / "data"
    job = Job("depth-2025", "model", data, (), "aihub", DEPTH_2025.device, Limits(), 1)
    model = Model("model", "onnx", "model.onnx")
    image = np.random.default_rng(0).random((1, 3, 480, 640), np.float32) * 255
    answers = []
    for name in ("aihub", "ort"):
        scratch = tmp_path / name
        scratch.mkdir()
        with runtimes.RUNTIMES[name].open(model, job, scratch, lambda _: None) as forward:
            answers.append([forward({"image": image}), forward({"image": image / 2})])
    np.testing.assert_array_equal(*answers)
    assert hub.client.calls == ["compile", "inference", "inference"]
