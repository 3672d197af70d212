"""Settings in a file, as the verbs beside the gate read them."""

from pathlib import Path
from typing import Any

import click
import onnx
import pytest

from conformance.cli import lpcvc, main
from conformance.selftest.models import conforming
from reference.errors import SubmissionError

S24, XR2 = "Samsung Galaxy S24", "XR2 Gen 2 (Proxy)"


@pytest.fixture
def deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, below that of the settings."""
    (tmp_path / "lpcvc.toml").write_text(
        f'track = "depth"\nsubmission = "my.onnx"\ndevice = ["{XR2}"]\nstrict = true\n'
    )
    folder = tmp_path / "deep"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def taken(line: str) -> dict[str, Any]:
    """The parameters of a verb that is typed so."""
    within: click.Command = lpcvc
    words = line.split()
    while isinstance(within, click.Group):
        name, within, words = within.resolve_command(click.Context(within), words)
    return within.make_context(name, words).params


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("check", {"track": "depth", "models": ("../my.onnx",), "strict": True}),
        ("compile", {"track": "depth", "models": ("../my.onnx",), "device": (XR2,)}),
        ("compile --all-devices", {"track": "depth", "device": ()}),
        ("estimate a.onnx --device x", {"models": ("a.onnx",), "device": ("x",)}),
        ("score --data d", {"track": "depth", "submission": ("../my.onnx",), "device": XR2}),
        ("submit --team us --track pidnet", {"track": "pidnet", "submission": ("../my.onnx",)}),
        ("demo --weights w.pth", {"track": "depth", "models": ()}),
        ("data check d", {"track": "depth"}),
        ("compare a.onnx b.onnx", {"models": ("a.onnx", "b.onnx"), "device": XR2}),
        ("gate", {"track": (), "models": (), "device": (), "strict": False}),
        ("rules", {"track": "depth", "explain": None}),
    ],
)
def test_what_is_typed_wins(typed: str, expected: dict[str, Any], deep: Path) -> None:
    """pytest reads them for the gate, and more of them."""
    assert expected.items() <= taken(typed).items()


def test_one_where_there_are_several(deep: Path) -> None:
    (deep / "lpcvc.toml").write_text(f'track = ["depth", "pidnet"]\ndevice = ["{S24}", "{XR2}"]\n')
    assert taken("compile --track depth")["device"] == (S24, XR2)
    with pytest.raises(SubmissionError) as caught:
        taken("compile")
    assert str(caught.value) == (
        f"{deep / 'lpcvc.toml'} has 2 for track, and compile takes one; give --track"
    )


def test_a_verb_alone_is_enough(deep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(conforming("depth"), deep.parent / "my.onnx")
    assert main(["check"]) == 0
    assert capsys.readouterr().out == "1 file, 15 rules each: pass\n"
    (deep / "lpcvc.toml").write_text("trak = 'depth'")
    assert main(["check", "--help"]) == 0, "nothing is read for it"
    capsys.readouterr()
    assert main(["check"]) == 2
    assert "no setting is called 'trak'; did you mean track?" in capsys.readouterr().err
