"""`lpcvc quantize` on the command line, and quantised submissions before the rules."""

import importlib.util
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from conformance.cli import main
from conformance.rulebook import Level, all_rules
from conformance.selftest.assess import assess
from conformance.selftest.models import conforming, write
from conformance.selftest.surgery import after, step
from conformance.submission.opening import open_submission
from conformance.verbs.quantize import _values
from reference.data import fixture
from reference.depth.contract import DEPTH_2025
from reference.errors import SubmissionError
from reference.npu.quantize import Fidelity, Quantized
from reference.ort import load
from reference.retrieval.contract import RETRIEVAL_2026
from reference.segmentation.contract import SEGMENTATION_2025
from reference.tests import npu_models as models
from reference.tests.npu_models import FLOAT, PICTURE, node
from reference.tracks import Track


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("track", "precision"),
    [
        (DEPTH_2025, "w8a8"),
        (DEPTH_2025, "w8a16"),
        pytest.param(RETRIEVAL_2026, "w8a8", marks=pytest.mark.slow),
        (SEGMENTATION_2025, "w8a16"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_quantised_models_keep_the_rules(
    track: Track, precision: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No rule that gates fails, and none has nothing to go by."""
    specs = []
    for part, path in write(track, place).items():
        out = f"{part}-8.onnx"
        command = ["quantize", path.name, out, "--track", track.id, "--part", part]
        assert main([*command, "--precision", precision]) == 0
        assert f"{out}: {precision}, " in capsys.readouterr().out
        specs.append(f"{part}={out}")
    verdicts = assess(track, specs, place / "work")
    gate = {rule.id for rule in all_rules().values() if rule.level is not Level.ADVICE}
    assert {id: v for id, v in verdicts.items() if v.outcome != "pass" and id in gate} == {}
    # A word in 72 can weigh less than one step of 8 bits.
    advice = {id for id, verdict in verdicts.items() if verdict.outcome == "fail"}
    assert advice <= {"TXT-3"}


def test_what_it_says(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(DEPTH_2025, place)
    assert main(["quantize", "model.onnx", "small.onnx", "--track", "depth"]) == 0
    first, second, third, fourth = capsys.readouterr().out.splitlines()
    assert first.startswith("depth-2025, small.onnx: w8a8, 2.6 kB -> ")
    assert first.endswith(" kB, 11 of 11 operators quantised")
    assert second == (
        "  examples: 3 to calibrate on, 1 to judge by; the suite's own, for your task give --images"
    )
    assert third.startswith("  to the float model: depth cosine 1.0000, SQNR 4")
    assert re.fullmatch(r"  verdict: as close as 8 bits are, .*PSNR .* \(1 example\)", fourth)
    pictures = place / "pictures" / "deeper"
    pictures.mkdir(parents=True)
    for name in ("astronaut.png", "rocket.jpg"):
        shutil.copy(fixture(f"photos/{name}"), pictures)
    (pictures / "notes.txt").write_text("not a picture")
    own = ["--images", "pictures"]
    assert main(["quantize", "model.onnx", "small.onnx", "--track", "depth", *own]) == 0
    assert "\n  examples: 1 to calibrate on, 1 to judge by\n" in capsys.readouterr().out


def test_the_same_as_values(place: Path) -> None:
    source = place / "model.onnx"
    source.write_bytes(bytes(400))
    fidelity = {"depth": Fidelity(0.99, 30.0)}
    made = Quantized(place / "small.onnx", "w8a8", 100, 11, 10, 3, 1, fidelity)
    said = ["  verdict: further off than 8 bits are", "    -> calibrate on more"]
    found = _values(DEPTH_2025, DEPTH_2025.parts[0], source, made, said)
    assert (found["bytes"], found["float_bytes"]) == (100, 400)
    assert (found["operators"], found["quantised_operators"]) == (11, 10)
    assert (found["examples_calibrated_on"], found["examples_judged_by"]) == (3, 1)
    assert found["to_the_float_model"] == fidelity
    assert found["verdict"] == ["further off than 8 bits are", "calibrate on more"]


def test_embeddings_that_collapse_warn(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A large number in between takes all the steps there are, of 8 bits and of 16."""
    model = conforming(RETRIEVAL_2026, "image")
    after("normalised", step("Add", 1e6), step("Sub", 1e6))(model)
    onnx.save(model, "image.onnx")
    command = ["quantize", "image.onnx", "out.onnx", "--track", "retrieval", "--part", "image"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "warning: embeddings collapse, cosine below 0.9" in out
    assert "--precision w8a16" in out
    assert "\n  verdict: further off than 8 bits are, cosine" in out
    assert main([*command, "--precision", "w8a16"]) == 0
    out = capsys.readouterr().out
    assert "warning: embeddings collapse, cosine below 0.9" in out
    assert "--precision w8a16" not in out


def test_texts_of_the_user(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(RETRIEVAL_2026, place)
    (place / "texts.txt").write_text("a cat\n\na dog\na red bus\n", encoding="utf-8")
    command = ["quantize", "text.onnx", "out.onnx", "--track", "retrieval", "--part", "text"]
    assert main([*command, "--texts", "texts.txt"]) == 0
    assert "\n  examples: 2 to calibrate on, 1 to judge by\n" in capsys.readouterr().out


MISTAKES = {
    "no model": (["no.onnx"], "no such file: no.onnx"),
    "PyTorch": (["mine:Model"], "mine:Model is not ONNX; export it"),
    "no folder": (["model.onnx", "--images", "no"], "no such folder: no; give --images"),
    "no pictures": (["model.onnx", "--images", "empty"], "empty holds no pictures; put files"),
    "bad picture": (["model.onnx", "--images", "bad"], "bad/a.png' is not an image"),
    "part": (["model.onnx", "--part", "text"], "depth-2025 has no part 'text'; its parts are:"),
    "quantised": (["model-8.onnx"], "model-8.onnx is quantised already: QuantizeLinear"),
    "dynamic": (["dynamic.onnx"], "dynamic.onnx has dynamic shapes: its input 'image'"),
    "input": (["net.onnx"], "net.onnx has no input 'image', not image float32 1x3x480x640; let"),
    "one place": (["model.onnx", "OUT"], "model.onnx is the float model; choose another"),
    "no texts": (["model.onnx", "--track", "retrieval"], "retrieval-2026 takes 2 models; add"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_one_line(case: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (model, *options), expected = MISTAKES[case]
    write(DEPTH_2025, place)
    (place / "mine.py").write_text("Model = None\n")
    models.save(models.net, place)
    for folder in ("empty", "bad"):
        (place / folder).mkdir()
    (place / "bad" / "a.png").write_bytes(b"no picture")
    changed = conforming(DEPTH_2025)
    changed.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
    onnx.save(changed, "dynamic.onnx")
    changed = conforming(DEPTH_2025)
    changed.graph.node.append(node("QuantizeLinear", "image epsilon", "unused"))
    onnx.save(changed, "model-8.onnx")
    before = sorted(path.name for path in place.iterdir())
    output = "model.onnx" if options == ["OUT"] else "out.onnx"
    options = [option for option in options if option != "OUT"]
    assert main(["quantize", "--track", "depth", model, output, *options]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines()[-1].startswith("lpcvc: ")
    assert expected in told.err
    assert "Traceback" not in told.err
    assert sorted(path.name for path in place.iterdir()) == before


def dead_channel() -> onnx.ModelProto:
    """w8a8 as AIMET writes it, a float bias, with a channel whose weights are next to nothing."""
    nodes = [
        node("QuantizeLinear", "x sx zx", "xq"),
        node("DequantizeLinear", "xq sx zx", "xd"),
        node("DequantizeLinear", "kernel sk zk", "kd", axis=0),
        node("Conv", "xd kd bias", "c", pads=[1, 1, 1, 1]),
        node("QuantizeLinear", "c sy zy", "yq"),
        node("DequantizeLinear", "yq sy zy", "y"),
    ]
    weights = {
        "kernel": np.ones((8, 3, 3, 3), np.int8),
        "sx": np.float32(1 / 255),
        "zx": np.uint8(0),
        "sk": np.float32([1e-9] + 7 * [0.01]),
        "zk": np.zeros(8, np.int8),
        "bias": np.full(8, 0.5, np.float32),
        "sy": np.float32(0.01),
        "zy": np.uint8(128),
    }
    return models.model(nodes, [("x", FLOAT, PICTURE)], [("y", FLOAT, (1, 8, 32, 32))], weights)


def test_quantised_models_run_as_they_are_written(place: Path) -> None:
    """By default onnxruntime makes the bias int32, which for a dead channel it does not fit."""
    path = models.save(dead_channel, place)
    feeds = {"x": np.zeros(PICTURE, np.float32)}
    _, run = load(str(path))
    assert run(feeds)[0] == pytest.approx(0.5, abs=1e-6), "the bias alone"
    fused = ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feeds)[0]
    assert abs(fused[0, 0] - 0.5).max() > 0.1, "no longer wrong: the option may go"


@pytest.mark.parametrize("zipped", [False, True])
def test_encodings_are_not_ignored(
    zipped: bool, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of AIMET's is its quantised model, never the float one that lies in it."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    folder = place / "export.aimet"
    folder.mkdir()
    models.save(models.net, folder)
    (folder / "net.encodings").write_text("{}")
    target = shutil.make_archive("export", "zip", folder) if zipped else str(folder)
    with pytest.raises(SubmissionError, match=r"net.encodings is AIMET's and aimet-onnx"):
        open_submission(DEPTH_2025, [target], place / "scratch")
    (folder / "net_torch.encodings").write_text("{}")
    with pytest.raises(SubmissionError, match=r"one .encodings file for net.onnx and.*, net_t"):
        open_submission(DEPTH_2025, [str(folder)], place / "scratch")
