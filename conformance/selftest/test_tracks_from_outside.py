"""The track that docs/extending.md builds, as another package would bring it, and packages that are
broken.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.selftest.gate import counts, run_gate
from conformance.selftest.outside import EXTENDING, install, write_pictures, write_titled


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder with the package, and the environment in which it is installed."""
    folder = tmp_path_factory.mktemp("outside")
    return folder, write_titled(EXTENDING, folder)


def lpcvc(folder: Path, environment: dict[str, str], *arguments: str) -> tuple[int, str]:
    """The exit code of a verb, and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "conformance.cli", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_gate_holds_its_reference_to_its_rules(project) -> None:
    folder, environment = project
    gate = run_gate(folder, "--track=bright", "--report=out", "-v", **environment)
    assert gate.code == 0, gate.out + gate.err
    assert counts(gate)["passed"] == 25
    assert "bright, reference model, random weights: 25 pass" in gate.out
    assert re.search(r"^  pass  BRI-8 \(advice\): .*\n {8}up to ", gate.out, re.MULTILINE)
    report = json.loads((folder / "out" / "report.json").read_text("utf-8"))
    (subject,) = report["subjects"]
    assert (subject["title"], subject["verdict"]) == ("What is bright", "passing")


def test_a_rule_of_its_own_fails(project, tmp_path: Path) -> None:
    """A model to which nothing is bright."""
    folder, environment = project
    source = (folder / "bright" / "model.py").read_text("utf-8")
    (tmp_path / "dark.py").write_text(source.replace("> 127", "> 255"))
    arguments = ["--track=bright", "--submission=dark:build_one", "--strict"]
    with (tmp_path / "dark.py").open("a") as file:
        file.write("\n\ndef build_one():\n    return build()['model']\n")
    gate = run_gate(tmp_path, *arguments, **environment)
    assert gate.code == 1
    assert "BRI-8 (advice): Something is bright on some photograph." in gate.out
    assert "expected a mask" in gate.out


def test_its_data_are_scored(project, tmp_path: Path) -> None:
    _, environment = project
    write_pictures(tmp_path / "data")
    code, told = lpcvc(tmp_path, environment, "data", "check", "data", "--track=bright")
    assert (code, told) == (0, "bright, data: 4 items, 0 errors, 0 warnings\n")
    code, told = lpcvc(tmp_path, environment, "export", "--track=bright", ".")
    assert code == 0, told
    score = ["score", "--track=bright", "--data=data", "--submission=bright-model.onnx"]
    code, told = lpcvc(tmp_path, environment, *score)
    assert code == 0, told
    assert told.startswith("bright, bright-model.onnx: mIoU 68.0960 (95 % interval ")


@pytest.mark.parametrize(
    ("contract", "told"),
    [
        ("import nowhere", "the track sad cannot be read from sad.contract: ModuleNotFoundError"),
        ("TRACKS = 1", "the track sad cannot be read from sad.contract: TypeError"),
        ("", "the track sad cannot be read from sad.contract: AttributeError"),
        (
            "from reference.depth.contract import TRACKS",
            "sad.contract has the track 'depth'; call its entry point of lpcvc.tracks so too",
        ),
        (
            "from dataclasses import replace\nfrom reference.depth.contract import DEPTH_2025\n"
            "TRACKS = [replace(DEPTH_2025, name='sad')]",
            "the rules of sad begin with DEP like depth's",
        ),
    ],
)
def test_a_package_that_is_broken_is_one_line(contract: str, told: str, tmp_path: Path) -> None:
    """Whoever asks for all tracks is told."""
    (tmp_path / "sad").mkdir()
    (tmp_path / "sad" / "contract.py").write_text(contract)
    environment = named(tmp_path, "sad", "sad")
    code, out = lpcvc(tmp_path, environment, "rules")
    assert code == 2
    assert out.startswith(f"lpcvc: {told}")
    assert out.count("\n") == 1
    assert lpcvc(tmp_path, environment, "data", "check", ".", "--track=depth")[1].startswith(
        "lpcvc: "
    )


def test_two_tracks_of_one_name(tmp_path: Path) -> None:
    environment = named(tmp_path, "depth", "elsewhere")
    code, out = lpcvc(tmp_path, environment, "rules", "--track=depth")
    assert code == 2
    assert out == (
        "lpcvc: two tracks are called depth: reference.depth and elsewhere; rename the entry point"
        " of lpcvc.tracks, or uninstall one of them\n"
    )


def named(folder: Path, name: str, package: str) -> dict[str, str]:
    """A project in `folder` that brings a track."""
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "own"\nversion = "1"\n'
        f'[project.entry-points."lpcvc.tracks"]\n{name} = "{package}"\n'
    )
    return install(folder)
