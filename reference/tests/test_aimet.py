"""AIMET's exports: encodings in each format become the same QDQ; what cannot be read is told."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from reference.errors import SubmissionError
from reference.install import install_command
from reference.npu.aimet import aimet_to_qdq
from reference.process import Limits
from reference.tests import npu_models as models
from reference.tests.npu_models import PHOTO, on_cpu, save

LIMITS = Limits(timeout=300.0)
needs_aimet = pytest.mark.skipif(
    importlib.util.find_spec("aimet_onnx") is None, reason="the aimet extra is not installed"
)
# Scale and offset of 8 bits by tensor; the ranges are those of PHOTO.
ACTIVATIONS = {
    "x": (1 / 255, 0),
    "r": (2 / 255, 0),
    "d": (6 / 255, -128),
    "u": (6 / 255, -128),
    "y": (7 / 255, -100),
}
WEIGHTS = {"kernel": models.KERNEL, "kernel_2": models.KERNEL_2}


def scales(name: str) -> list[float]:
    return [float(s) for s in np.abs(WEIGHTS[name]).max((1, 2, 3)) / 127]


def format_1_0_0() -> dict:
    def entry(name: str, scale: list[float], offset: list[int], symmetric: bool) -> dict:
        kind = "PER_CHANNEL" if len(scale) > 1 else "PER_TENSOR"
        facts = {"name": name, "bw": 8, "dtype": "INT", "enc_type": kind, "is_sym": symmetric}
        return {**facts, "scale": scale, "offset": offset}

    return {
        "version": "1.0.0",
        "activation_encodings": [entry(n, [s], [o], False) for n, (s, o) in ACTIVATIONS.items()],
        "param_encodings": [entry(n, scales(n), [-128] * 8, True) for n in WEIGHTS],
    }


def format_0_6_1() -> dict:
    def entry(scale: float, offset: int, symmetric: bool) -> dict:
        low = scale * offset
        facts = {"bitwidth": 8, "dtype": "int", "is_symmetric": str(symmetric)}
        return {**facts, "min": low, "max": low + 255 * scale, "scale": scale, "offset": offset}

    return {
        "version": "0.6.1",
        "activation_encodings": {n: [entry(s, o, False)] for n, (s, o) in ACTIVATIONS.items()},
        "param_encodings": {n: [entry(s, -128, True) for s in scales(n)] for n in WEIGHTS},
    }


def export(folder: Path, encodings: object) -> tuple[Path, Path]:
    model, file = save(models.net, folder), folder / "net.encodings"
    file.write_text(encodings if isinstance(encodings, str) else json.dumps(encodings))
    return model, file


@needs_aimet
def test_encodings_become_qdq(tmp_path: Path) -> None:
    model, file = export(tmp_path, format_1_0_0())
    made = aimet_to_qdq(model, file, tmp_path / "new" / "q.onnx", limits=LIMITS)
    graph = onnx.load(made).graph
    assert list(graph.input) == list(onnx.load(model).graph.input)
    assert list(graph.output) == list(onnx.load(model).graph.output)
    found = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    quantizers = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    pairs = {(float(found[q.input[1]]), -int(found[q.input[2]])) for q in quantizers}
    assert pairs == {(float(np.float32(scale)), offset) for scale, offset in ACTIVATIONS.values()}
    per_channel = [v for v in found.values() if v.dtype == np.float32 and v.shape == (8,)]
    assert sorted(map(tuple, per_channel)) == sorted(
        tuple(np.float32(scales(name))) for name in WEIGHTS
    )
    expected, answer = (on_cpu(path, {"x": PHOTO})[0] for path in (model, made))
    assert np.sum(expected**2) / np.sum((expected - answer) ** 2) > 1000, "30 dB"
    model, file = export(tmp_path, format_0_6_1())
    older = aimet_to_qdq(model, file, tmp_path / "older.onnx", limits=LIMITS)
    assert on_cpu(older, {"x": PHOTO})[0] == pytest.approx(answer, abs=1e-6)


@needs_aimet
@pytest.mark.parametrize(
    ("encodings", "said"),
    [
        ("{", "JSONDecodeError"),
        ({"version": "9.9"}, "NotImplementedError: Encoding version"),
        ({**format_1_0_0(), "param_encodings": [{"name": "of another model"}]}, "another model"),
    ],
    ids=["cut short", "version", "another model"],
)
def test_encodings_that_cannot_be_used(encodings: object, said: str, tmp_path: Path) -> None:
    model, file = export(tmp_path, encodings)
    with pytest.raises(SubmissionError, match=r"net.onnx cannot be quantised as net.enc") as raised:
        aimet_to_qdq(model, file, tmp_path / "q.onnx", limits=LIMITS)
    assert said in raised.value.problem
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.encodings", "net.onnx"]


@needs_aimet
def test_the_least_of_a_picture(tmp_path: Path) -> None:
    """ReduceMin with its axes as an attribute, or of all axes, is more than AIMET itself takes."""
    nodes = [
        models.node("ReduceMin", "x", "rows", axes=[3]),
        models.node("ReduceMin", "rows", "least", keepdims=0),
        models.node("Sub", "x least", "y"),
    ]
    values = ("x", models.FLOAT, models.PICTURE), ("y", models.FLOAT, models.PICTURE)
    onnx.save(models.model(nodes, values[:1], values[1:]), tmp_path / "least.onnx")
    encodings = {"version": "1.0.0", "param_encodings": [], "activation_encodings": []}
    encodings["activation_encodings"] = [format_1_0_0()["activation_encodings"][0]]
    _, file = export(tmp_path, encodings)
    made = aimet_to_qdq(tmp_path / "least.onnx", file, tmp_path / "q.onnx", limits=LIMITS)
    answer = on_cpu(made, {"x": PHOTO})[0]
    assert answer == pytest.approx(PHOTO - PHOTO.min(), abs=1 / 255)


def test_without_aimet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    model, file = export(tmp_path, format_1_0_0())
    with pytest.raises(SubmissionError) as raised:
        aimet_to_qdq(model, file, tmp_path / "q.onnx")
    assert "aimet-onnx, which reads it, is not installed" in raised.value.problem
    assert install_command("aimet") in raised.value.remedy
    assert "sim.to_onnx_qdq()" in raised.value.remedy
