"""`lpcvc bundle`: the folder is whole, the same each time, and its script runs it all again."""

import hashlib
import json
import os
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from conformance.cli import main
from conformance.environment import pins
from conformance.selftest.models import conforming, write
from conformance.selftest.test_contract_files import MASK
from conformance.submission.opening import Submission, open_submission
from reference.contract_file import contract_text
from reference.data import fixture
from reference.registry import all_tracks, find_track
from reference.retrieval.contract import RETRIEVAL_2026

pytestmark = pytest.mark.usefixtures("one_process")

ROOT = Path(__file__).parents[2]
DATA = fixture("samples") / "depth"


def evaluated(folder: Path, *data: str) -> subprocess.CompletedProcess[str]:
    """The bundle's script in a process of its own, from another folder."""
    return subprocess.run(
        [sys.executable, str(folder / "evaluate.py"), *data],
        cwd=folder.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_bundle_is_whole_and_runs_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With weights beside the model, on a data set; the model is opened and scored from it."""
    monkeypatch.chdir(tmp_path)
    model = conforming("depth")
    onnx.save(
        model, "mine.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    command = ["bundle", "mine.onnx", "--track=depth", "-o", "out", f"--data={DATA}"]
    assert main(command) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].endswith("out: 10 files")
    assert said[1].startswith("  gate   ")
    assert "FAIL" not in said[1]
    files = content(Path("out"))
    assert {"onnx/model/mine.onnx", "onnx/model/weights.bin", "scores.json"} <= files.keys()
    document = json.loads(files["bundle.json"])
    assert document["submission"] == ["onnx/model/mine.onnx"]
    assert document["files"] == {
        name: hashlib.sha256(data).hexdigest()
        for name, data in sorted(files.items())
        if name != "bundle.json"
    }
    assert document["versions"]["onnxruntime"] in files["requirements.txt"].decode()
    again = open_submission(find_track("depth"), ["out/onnx/model/mine.onnx"], tmp_path)
    assert isinstance(again, Submission)
    Path("mine.onnx").unlink()
    Path("weights.bin").unlink()
    done = evaluated(tmp_path / "out", str(DATA))
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "9 files, each as it was bundled"
    assert lines[-1] == "the same score as in the bundle"
    score = json.loads(files["scores.json"])["scores"][0]
    assert f"{score['metric']} {score['value']:.4f}" in done.stdout
    scores = {**json.loads(files["scores.json"])}
    scores["scores"][0]["value"] += 1
    Path("out/scores.json").write_text(json.dumps(scores))
    done = evaluated(tmp_path / "out")
    assert (done.returncode, done.stdout) == (1, "scores.json is not the file that was bundled\n")


def test_a_bundle_is_the_same_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From another folder, under another name and with another terminal; two models."""
    write(RETRIEVAL_2026, tmp_path)
    monkeypatch.chdir(tmp_path)
    spec = ["image=image.onnx", "text=text.onnx", "--track=retrieval"]
    assert main(["bundle", *spec, "-o", "one"]) == 0
    Path("deep/er").mkdir(parents=True)
    monkeypatch.chdir("deep/er")
    monkeypatch.setenv("COLUMNS", "60")
    there = [each.replace("=", "=../../", 1) for each in spec[:2]]
    assert main(["bundle", *there, "--track=retrieval-2026", "-o", "two"]) == 0
    first, second = content(tmp_path / "one"), content(Path("two"))
    assert first == second
    assert str(tmp_path).encode() not in b"".join(first.values())
    assert json.loads(first["bundle.json"])["submission"] == [
        "image=onnx/image/image.onnx",
        "text=onnx/text/text.onnx",
    ]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_model_of_pytorch_is_there_in_both_forms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a track that is a file, which comes along and is what the script holds it to."""
    import torch

    class Bright(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return (image.mean(dim=1, keepdim=True) > image.mean()).float()

    monkeypatch.chdir(tmp_path)
    Path("doors.toml").write_text(MASK)
    torch.jit.trace(Bright().eval(), torch.rand(1, 3, 480, 640)).save("bright.pt")
    assert main(["bundle", "bright.pt", "--track=doors.toml", "-o", "out"]) == 0
    files = content(Path("out"))
    assert files["original/model/bright.pt"] == Path("bright.pt").read_bytes()
    assert files["contract.toml"].decode() == MASK
    (name,) = (name for name in files if name.endswith(".onnx"))
    import onnxruntime

    image = np.random.default_rng(0).random((1, 3, 480, 640), np.float32) * 255
    session = onnxruntime.InferenceSession(f"out/{name}", providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {"image": image})
    np.testing.assert_array_equal(answer, Bright()(torch.from_numpy(image)).numpy())
    assert "torch==" in files["requirements.txt"].decode()
    assert "`original/model/bright.pt` | what it was exported from" in files["README.md"].decode()
    assert json.loads(files["bundle.json"])["track"] == "contract.toml"
    assert main(["check", "--track=out/contract.toml", f"out/{name}"]) == 0


def test_what_is_broken_is_told_and_bundled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from conformance.selftest.test_gate import save_mutant

    monkeypatch.chdir(tmp_path)
    save_mutant("depth up to 1.001", tmp_path / "m.onnx")
    assert main(["bundle", "m.onnx", "--track=depth", "-o", "out"]) == 1
    told = capsys.readouterr().out
    assert "; DEP-7 broken\n    DEP-7: float32 1x1x480x640, 0..1.001; " in told
    assert "\n      -> " in told
    verdicts = json.loads(Path("out/verdicts.json").read_text())
    assert [v["rule"] for v in verdicts if v["status"] == "FAIL"] == ["DEP-7"]
    assert "DEP-7 broken" in Path("out/README.md").read_text()


def test_nothing_is_written_over_or_left_half_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(conforming("depth"), "m.onnx")
    Path("taken").mkdir()
    Path("receipt.json").write_text(json.dumps({"models": [{"sha256": "0" * 64}]}))
    Path("odd.json").write_text("[]")
    mistakes = {
        ("-o", "taken"): "taken is there already; give -o another folder",
        ("-o", "m.onnx/where"): "m.onnx/where cannot be written (what should be its folder is",
        ("-o", "out", "--receipt=receipt.json"): "receipt.json is of another model",
        ("-o", "out", "--receipt=odd.json"): "odd.json is no receipt of `lpcvc submit`",
        ("-o", "out", "--data=none"): f"no such folder: {tmp_path}/none",
        ("-o", "out", "--track=aigc"): "aigc-2026 takes a package",
    }
    for options, problem in mistakes.items():
        assert main(["bundle", "m.onnx", "--track=depth", *options]) == 2, options
        assert problem in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "m.onnx",
        "odd.json",
        "receipt.json",
        "taken",
    ]


def test_the_receipt_of_the_same_model_comes_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(conforming("depth"), "m.onnx")
    digest = hashlib.sha256(Path("m.onnx").read_bytes()).hexdigest()
    Path("kept.json").write_text(json.dumps({"models": [{"sha256": digest}]}))
    command = ["bundle", "m.onnx", "--track=depth", "-o", "out", "--receipt=kept.json"]
    assert main([*command, "--json"]) == 0
    assert Path("out/receipt.json").read_bytes() == Path("kept.json").read_bytes()
    found = json.loads(capsys.readouterr().out)
    assert (found["folder"], found["track"], found["score"]) == ("out", "depth-2025", None)
    assert found["rules"] == json.loads(Path("out/verdicts.json").read_text())
    assert all(Path("out", name).is_file() for name in found["files"])


MODELS = {id: track for id, track in all_tracks().items() if track.parts}


@pytest.mark.parametrize("id", MODELS)
def test_a_contract_is_read_as_it_is_written(id: str, tmp_path: Path) -> None:
    """Names, shapes, meanings, budget and addresses; of several dtypes the first."""
    track, path = MODELS[id], tmp_path / "contract.toml"
    path.write_text(contract_text(track), encoding="utf-8")
    read = find_track(str(path))
    for ours, theirs in zip(read.parts, track.parts, strict=True):
        assert ours.name == theirs.name
        for one, two in zip(
            (*ours.inputs, ours.output), (*theirs.inputs, theirs.output), strict=True
        ):
            assert replace(one, kind="") == replace(two, kind="", dtypes=two.dtypes[:1])
            assert one.kind in (two.kind, "")
    for name in ("title", "device", "compile_options", "budget_ms", "image_high", "form"):
        assert getattr(read, name) == getattr(track, name), name
    assert tomllib.loads(path.read_text("utf-8")).get("leaderboard", "") == track.leaderboard


def test_pins_are_what_is_needed_and_installed() -> None:
    plain, more = pins(), pins("score")
    names = {pin.partition("==")[0] for pin in more}
    assert {"numpy", "onnx", "onnxruntime", "pytest", "numba", "packaging"} <= names
    assert not names & {"torch", "ruff", "lpcvc-conformance"}
    assert set(plain) < set(more)
    assert f"numpy=={np.__version__}" in plain
    assert all("+" not in pin for pin in pins("torch"))
