"""Exports that are kept: found again as long as nothing that decides them is another."""

import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from reference import exported
from reference.cache import Cache
from reference.depth.contract import DEPTH_2025
from reference.errors import CheckpointWarning
from reference.exported import find_exported, keep_exported
from reference.pidnet.contract import PIDNET


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LPCVC_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


class Exporter:
    """Writes a file and its weights, and counts."""

    def __init__(self, note: str = "") -> None:
        self.count, self.note = 0, note

    def __call__(self, folder: Path) -> dict[str, Path]:
        self.count += 1
        folder.mkdir(exist_ok=True)
        if self.note:
            warnings.warn(self.note, CheckpointWarning, stacklevel=1)
        (folder / "m.onnx.data").write_text("weights")
        (folder / "m.onnx").write_text(f"model {self.count}")
        return {"model": folder / "m.onnx"}

    def keep(self, folder: str, track=DEPTH_2025, form="onnx", weights=None, resolution=None):
        return keep_exported(track, Path(folder), form, weights, resolution, self)


def test_an_export_is_made_once() -> None:
    export = Exporter()
    assert find_exported(DEPTH_2025, Path("a")) is None
    assert export.keep("a") == {"model": Path("a/m.onnx")}
    assert export.keep("b") == {"model": Path("b/m.onnx")}
    assert export.count == 1
    assert sorted(path.name for path in Path("b").iterdir()) == ["m.onnx", "m.onnx.data"]
    Path("b/m.onnx").write_text("mended by its owner")
    assert Path("a/m.onnx").read_text() == "model 1"
    assert find_exported(DEPTH_2025, Path("c"), to_read=True) == {"model": Path("c/m.onnx")}
    assert Path("c/m.onnx").read_text() == "model 1"


def test_what_decides_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Track, form, resolution, the bytes of the weights, versions, and the code."""
    export, weights = Exporter(), tmp_path / "w.pth"
    export.keep("a")
    export.keep("b", track=PIDNET)
    export.keep("c", form="torchscript")
    export.keep("d", resolution=512)
    for text in ("one", "two", "one"):
        weights.write_text(text)
        export.keep("e", weights=weights)
    assert export.count == 6
    with monkeypatch.context() as patch:
        patch.setattr(exported, "version", lambda package: "9")
        export.keep("f")
    assert export.count == 7
    copy = tmp_path / "reference"
    (copy / "depth").mkdir(parents=True)
    (copy / "depth" / "model.py").write_text("WIDTH = 1\n")
    monkeypatch.setattr(exported, "_HERE", copy)
    export.keep("g")
    (copy / "depth" / "model.py").write_text("WIDTH = 2\n")
    export.keep("h")
    assert export.count == 9


def test_a_damaged_one_is_made_anew() -> None:
    export = Exporter()
    export.keep("a")
    (entry,) = Cache().entries()
    (entry.folder / "m.onnx").write_text("model X")
    assert export.keep("b")["model"].read_text() == "model 2"
    assert export.keep("c")["model"].read_text() == "model 2"
    assert entry.kind == "exported references"


def test_what_is_said_of_a_checkpoint_is_said_again(tmp_path: Path) -> None:
    export, weights = Exporter("of another epoch"), tmp_path / "w.pth"
    weights.write_text("w")
    for folder in ("a", "b"):
        with pytest.warns(CheckpointWarning, match="of another epoch"):
            export.keep(folder, weights=weights)
    assert export.count == 1


def test_what_is_not_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Tracks of others, whose code may be anywhere; and nothing where nothing can be written."""
    export = Exporter()
    for _ in range(2):
        export.keep("a", track=replace(DEPTH_2025, home="theirs.depth"))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LPCVC_CACHE", str(tmp_path / "file" / "cache"))
    assert export.keep("b")["model"].read_text() == "model 3"
    assert find_exported(DEPTH_2025, tmp_path) is None
