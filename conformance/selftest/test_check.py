"""`lpcvc check`: the rules of the graph on files, as the pre-commit hook runs them."""

import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
import torch
import yaml

from conformance.cli import main
from conformance.rulebook import all_rules, every_track
from conformance.selftest.models import DEFAULT_TRACKS, conforming, write
from conformance.selftest.mutants import MUTANTS, depth_modules
from conformance.selftest.mutants.mutant import Mutant
from conformance.selftest.test_gate import poison, save_mutant
from conformance.verbs.check import check_files, static_rules
from reference.depth.contract import DEPTH_2025
from reference.registry import find_track
from reference.retrieval.contract import RETRIEVAL_2026
from reference.tracks import Track

pytestmark = pytest.mark.usefixtures("one_process")

ROOT = Path(__file__).parents[2]
STATIC = [
    mutant
    for mutant in MUTANTS
    if mutant.track == DEPTH_2025.id
    and not mutant.factory
    and all(all_rules()[rule].needs == "graph" for rule in mutant.rules)
]


@pytest.mark.parametrize("track", DEFAULT_TRACKS, ids=lambda track: track.id)
def test_a_conforming_model_keeps_all(track: Track, tmp_path: Path) -> None:
    paths = list(write(track, tmp_path).values())
    for held_to in (track, None):
        text, code = check_files([str(path) for path in paths], held_to, strict=True)
        assert code == 0, text
        assert text.endswith(f"{len(static_rules(held_to))} rules each: pass")


def test_without_a_track_the_rules_are_those_of_every_track() -> None:
    rules = static_rules(None)
    assert {rule.id for rule in rules} >= {"COM-1", "COM-2", "COM-4"}
    assert all(rule.id.startswith("COM") and rule.when is every_track for rule in rules)
    assert {rule.id for rule in static_rules(DEPTH_2025)} > {rule.id for rule in rules}


@pytest.mark.parametrize("mutant", STATIC, ids=lambda mutant: mutant.name)
def test_each_static_mutant_is_found(mutant: Mutant, tmp_path: Path) -> None:
    """By the rules that the gate names, and by no other."""
    path = Path(mutant.submit(tmp_path)[0].partition("=")[2])
    text, code = check_files([str(path)], find_track(mutant.track), strict=False)
    found = dict(
        re.findall(rf"^{re.escape(str(path))}: ([A-Z]+-\d+) \((\w+)\)", text, re.MULTILINE)
    )
    assert found.keys() == mutant.rules, text
    assert code == (set(found.values()) != {"advice"})
    assert check_files([str(path)], find_track(mutant.track), strict=True)[1] == 1


def test_a_part_is_known_by_what_it_takes(tmp_path: Path) -> None:
    """The picture encoder under the other's name is held to the rules of pictures."""
    path = tmp_path / "text.onnx"
    onnx.save(conforming(RETRIEVAL_2026, "image"), path)
    assert check_files([str(path)], RETRIEVAL_2026, strict=True)[1] == 0


def test_what_cannot_be_read_is_one_of_the_findings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cut.onnx").write_bytes(conforming("depth").SerializeToString()[:999])
    (tmp_path / "empty.onnx").touch()
    good = write(DEPTH_2025, tmp_path)["model"]
    names = [str(tmp_path / name) for name in ("cut.onnx", "empty.onnx", "none.onnx")]
    assert main(["check", *names, str(good)]) == 1
    out = capsys.readouterr().out
    for name, told in zip(names, ("was cut short", "is empty", "no such file"), strict=True):
        assert re.search(f"^{re.escape(name)}: .*{told}", out, re.MULTILINE)
    assert out.endswith("4 files, 7 rules each: 3 FAIL\n")


def test_the_hook_as_pre_commit_calls_it(tmp_path: Path) -> None:
    """Names of files behind the entry; no runtime is imported, so that it stays quick."""
    hook = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))[0]
    assert re.search(hook["files"], "models/my.onnx")
    assert not re.search(hook["files"], "models/my.onnx.data")
    program, *verb = hook["entry"].split()
    assert program == "lpcvc"
    save_mutant("dynamic batch", tmp_path / "my.onnx")
    poisoned = poison(tmp_path, "onnxruntime", "torch", "transformers", "cv2")
    paths = f"{poisoned['PYTHONPATH']}{os.pathsep}{ROOT}"
    done = subprocess.run(
        [sys.executable, "-m", "conformance.cli", *verb, "my.onnx"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("my.onnx: COM-2 (documented): image float32 ?x3x480x640")


def test_it_takes_what_the_gate_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder or zip with both encoders, a part by name, a folder called `.onnx`."""
    monkeypatch.chdir(tmp_path)
    both = tmp_path / "exported_onnx"
    both.mkdir()
    write(RETRIEVAL_2026, both)
    shutil.make_archive("both", "zip", tmp_path, "exported_onnx")
    for spec in ("exported_onnx/", "both.zip"):
        assert main(["check", "--track", "retrieval", spec]) == 0
        number = len(static_rules(RETRIEVAL_2026))
        assert capsys.readouterr().out == f"2 files, {number} rules each: pass\n"
        assert main(["check", spec]) == 0
        number = len(static_rules(None))
        assert capsys.readouterr().out == f"2 files, {number} rules each: pass\n"
    # What is named is held to that part: it is swapped.
    assert main(["check", "--track", "retrieval", "text=exported_onnx/image.onnx"]) == 1
    assert "exported_onnx/image.onnx: RET-1 (required)" in capsys.readouterr().out
    folder = tmp_path / "depth.onnx"
    folder.mkdir()
    write(DEPTH_2025, folder)["model"].rename(folder / "my.onnx")
    assert main(["check", "--track", "depth", "depth.onnx"]) == 0
    assert main(["check", "--track", "depth", "exported_onnx", "depth.onnx"]) == 1
    told = capsys.readouterr().out
    assert "exported_onnx: exported_onnx holds 2 .onnx files, image.onnx, text.onnx, and" in told
    assert told.endswith(f"2 files, {len(static_rules(DEPTH_2025))} rules each: 1 FAIL\n")


def test_a_pytorch_model_is_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(inspect.getsource(depth_modules))
    torch.jit.script(torch.nn.Conv2d(3, 2, 1)).save("two.pt")
    assert main(["check", "--track", "depth", "mine:Depth", "two.pt", "mine:None"]) == 1
    out = capsys.readouterr().out
    assert "two.pt: DEP-5 (required): depth float32 1x2x480x640" in out
    assert "mine:None: mine.py has no attribute 'None'" in out
    assert main(["check", "two.pt"]) == 1
    assert "two.pt is no ONNX file and is exported for the inputs of a track\n  -> add --track" in (
        capsys.readouterr().out
    )
    assert main(["check", "--track", "retrieval", "two.pt"]) == 1
    assert "'two.pt' does not say which it is" in capsys.readouterr().out
