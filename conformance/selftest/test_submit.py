"""`lpcvc submit` and `export-card`, with a scripted AI Hub; and the device suite on a local one."""

import contextlib
import hashlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from conformance.cli import main
from conformance.device import items
from conformance.device.assessment import DeviceOptions
from conformance.device.hub import Hub
from conformance.device.items import DeviceWing
from conformance.device.jobs import ORGANISERS
from conformance.rulebook import Level, all_rules
from conformance.scoring import runtimes
from conformance.scoring.job import Job
from conformance.selftest.gate import counts, run_gate
from conformance.selftest.models import conforming, write
from conformance.selftest.mutants import MUTANTS
from conformance.selftest.mutants.mutant import Mutant
from conformance.selftest.scripted_hub import MB, Script, ScriptedHub
from conformance.selftest.surgery import redeclare
from conformance.submission.model import Model
from conformance.suite import Suite
from conformance.verbs import submit as submitting
from reference.aihub.local import LocalHub, local_hub
from reference.depth.contract import DEPTH_2025
from reference.errors import SubmissionError
from reference.npu.toolchain import find_toolchain
from reference.process import Limits
from reference.retrieval.contract import RETRIEVAL_2026
from reference.segmentation.contract import SEGMENTATION_2025

pytest.importorskip("qai_hub", reason="needs the hub extra")
pytestmark = pytest.mark.usefixtures("one_process")

PAIR = ["--submission=image=image.onnx", "--submission=text=text.onnx"]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ScriptedHub:
    """A hub with a device; the working directory has conforming models."""
    own = ScriptedHub(Script([20.0], memory=(0, 90 * MB)))
    for module in (submitting, items):
        monkeypatch.setattr(module, "Hub", lambda *_: own)
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
    assert "leaderboard of retrieval-2026: its documents give no address" in said
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
    assert "the gate fails: " in error
    assert "give --force" in error
    assert hub.client.calls == []
    assert not Path("receipt.json").exists()
    assert main([*command, "--force"]) == 0
    said = capsys.readouterr().out
    assert "forced          although " in said
    assert said.splitlines()[-2:] == [
        "submission form of depth-2025: https://lpcv.ai/2025LPCVC/submission/track3",
        "leaderboard of depth-2025: https://lpcv.ai/2025LPCVC/leaderboard/track3",
    ]
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
    assert {(row[5], row[6]) for row in rows} == {("20.0 ms", "0 - 90 MB")}
    assert {(row[4], row[8]) for row in rows} == {("TFLITE", "model.tflite |")}, "the default"


def test_a_card_is_for_each_runtime_that_is_asked_for(
    hub: ScriptedHub, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["export-card", "--track=retrieval", *PAIR, "--device=QCS8550 (Proxy)"]
    assert main([*command, "--runtime=tflite", "--runtime=onnx"]) == 0
    said = capsys.readouterr().out
    assert [line[34:] for line in said.splitlines() if line.startswith("Runtime ")] == [
        "TFLITE",
        "ONNX",
    ]
    assert hub.client.options == [
        f"--target_runtime {runtime} --truncate_64bit_io"
        for runtime in ("tflite", "onnx")
        for _ in PAIR
    ]
    assert main([*command, "--runtime=onnx", "--json"]) == 0
    (card,) = json.loads(capsys.readouterr().out)
    assert (card["device"], card["runtime"]) == ("QCS8550 (Proxy)", "onnx")
    assert (card["inference_ms"], card["peak_memory_bytes"]) == (40.0, [0, 90 * MB])
    assert main([*command, "--runtime=abacus"]) == 2
    assert "'abacus' is not one of 'tflite', 'qnn_dlc'" in capsys.readouterr().err


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
    assert "runs.json: retrieval-2026 on XR2 Gen 2 (Proxy): kept; there is no earlier" in gate.out


@pytest.mark.slow
def test_two_inputs_on_the_device_of_the_track(tmp_path: Path) -> None:
    """A picture and a text in one context binary, at full size: minutes in the emulator."""
    write(SEGMENTATION_2025, tmp_path)
    options = ["--track=segmentation", "--submission=model.onnx", "--hub=local"]
    gate = run_gate(tmp_path, *options, suite="device", LPCVC_CACHE=str(tmp_path / "cache"))
    assert gate.code == 0, gate.out
    assert counts(gate)["passed"] == 8
    assert "segmentation-2025 on Snapdragon X Elite CRD (local AI Hub), model.onnx" in gate.out


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """A local hub that the client is configured for, as docs/local-hub.md says."""
    with local_hub(tmp_path / "state", runner="reference.tests.hub_runner:run") as own:
        ini = tmp_path / "client.ini"
        lines = [f"{name} = {own.url}" for name in ("api_url", "web_url")]
        ini.write_text("\n".join(["[api]", *lines, f"api_token = {own.token}", "verbose = False"]))
        monkeypatch.setenv("QAIHUB_CLIENT_INI", str(ini))
        monkeypatch.chdir(tmp_path)
        yield own


def test_what_answers_says_that_it_is_a_rehearsal(
    configured: LocalHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing in the configuration does; a scripted hub with a device is none (above)."""
    write(RETRIEVAL_2026, tmp_path)
    assert main(["submit", "--track=retrieval", *PAIR, "--team=Us"]) == 0
    said = capsys.readouterr().out
    receipt = json.loads(Path("receipt.json").read_text())
    assert (receipt["rehearsal"], receipt["shared_with"]) == (True, None)
    assert "A rehearsal on a local hub: nothing was sent to the organisers." in said
    assert ORGANISERS not in said
    assert "form" not in said
    hub = Hub("remote")
    assert (hub.own, hub.name) == (False, "AI Hub"), "not asked yet"
    assert (hub.local, hub.name) == (True, "local AI Hub")
    with pytest.raises(SubmissionError, match="the local AI Hub has no device 'Abacus'"):
        hub.device("Abacus")
    job = Job("depth-2025", "model", tmp_path, (), "aihub", DEPTH_2025.device, Limits(), 1)
    assert runtimes.RUNTIMES["aihub"].label(job).startswith("local AI Hub, emulated ")
    assert main(["doctor", "--online"]) in (0, 1)
    assert "; the local AI Hub lists " in capsys.readouterr().out


def test_an_address_that_nothing_answers_at_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the gate, which takes minutes, and without the client's minute of retries."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    (tmp_path / "client.ini").write_text(f"[api]\napi_url={url}\nweb_url={url}\napi_token=x\n")
    monkeypatch.setenv("QAIHUB_CLIENT_INI", str(tmp_path / "client.ini"))
    monkeypatch.chdir(tmp_path)
    write(DEPTH_2025, tmp_path)
    monkeypatch.setattr(submitting, "held_to_the_gate", None)
    monkeypatch.setattr("time.sleep", None)
    assert main(["submit", "--track=depth", "--submission=model.onnx", "--team=Us"]) == 2
    error = capsys.readouterr().err
    assert f"nothing answers at {url}, which the client is configured for (" in error
    assert "Connection refused" in error
    assert not Path("receipt.json").exists()


DOCUMENTED = {id for id, rule in all_rules().items() if rule.level is Level.DOCUMENTED}
BROKEN = [
    next(
        mutant
        for mutant in MUTANTS
        if mutant.track == DEPTH_2025.id and mutant.rules == {rule} and not mutant.factory
    )
    for rule in ("COM-2", "COM-3", "DEP-7")
]


@pytest.mark.parametrize("mutant", BROKEN, ids=lambda mutant: mutant.name)
def test_the_gate_is_the_same_for_all(
    mutant: Mutant, hub: ScriptedHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A documented rule that is broken fails pytest, `lpcvc check` and `lpcvc submit` alike."""
    (rule,) = mutant.rules
    assert rule in DOCUMENTED
    (spec,) = mutant.submit(tmp_path)
    gate = run_gate(tmp_path, "--track=depth", f"--submission={spec}")
    assert (gate.code, counts(gate)["failed"]) == (1, 1)
    command = ["submit", "--track=depth", f"--submission={spec}", "--team=Us"]
    assert main(command) == 2
    assert f"the gate fails: {rule} is broken; mend them" in capsys.readouterr().err
    assert hub.client.calls == []
    if all_rules()[rule].needs == "graph":
        assert main(["check", "--track=depth", spec]) == 1
        assert f"{rule} (documented): " in capsys.readouterr().out
    assert main([*command, "--force"]) == 0
    assert f"forced          although the gate fails: {rule}" in capsys.readouterr().out


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
    monkeypatch.setattr(runtimes, "Hub", lambda *_: hub)
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


def test_a_hub_of_the_run_has_the_limits_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--timeout` and `--memory` reach what compiles and emulates there."""
    given = []

    @contextlib.contextmanager
    def started(**settings: object) -> Iterator[SimpleNamespace]:
        given.append(settings)
        client = SimpleNamespace(get_devices=list, set_verbose=lambda verbose: None)
        yield SimpleNamespace(client=client)

    monkeypatch.setattr("reference.aihub.local.local_hub", started)
    limits = Limits(7, 2**31)
    asked = DeviceOptions(hub="local")
    wing = DeviceWing(Suite(["depth"], [], None, [], limits=limits), asked)
    for hub in (Hub("local", limits), wing._bench.hub):
        assert hub.client.get_devices() == []
        hub.close()
    assert given == [{"limits": limits}] * 2
