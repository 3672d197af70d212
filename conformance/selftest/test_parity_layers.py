"""The error by layer in a report: of a sound model, and of two in which one layer overflows."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from conformance.contract.assessment import Assessment
from conformance.parity.comparison import Comparison
from conformance.parity.sections import parity_sections
from conformance.report.document import Chart
from conformance.selftest import small
from conformance.selftest.gate import run_gate
from conformance.selftest.models import Builder
from conformance.selftest.test_parity import LIMITS, NPU, PART, depth_net
from conformance.subject import opened
from conformance.submission.model import Model, Submission
from conformance.verbs import gate
from reference.npu.devices import find_device
from reference.tests.npu_models import needs_compiler

CHANNELS = 4


def convolutions(large: float) -> Callable[[Builder, str], str]:
    """Six of them with ReLU; the fourth gives something `large`, which the fifth takes back."""

    def add(b: Builder, tensor: str) -> str:
        for n, size in enumerate((1.0, 1.0, 1.0, large, 1 / large, 1.0)):
            channels = CHANNELS if n else 1, CHANNELS if n < 5 else 1
            kernel = 0.05 + np.random.default_rng(n).random((*channels[::-1], 3, 3)) / 20
            b.constant(f"kernel {n}", kernel * size)
            tensor = b.node("Conv", tensor, f"kernel {n}", out=f"conv {n}", pads=[1] * 4)
            tensor = b.node("Relu", tensor, out=f"relu {n}")
        return tensor

    return add


def attention(large: float) -> Callable[[Builder, str], str]:
    """Among 64 patches, whose scores are `large` before they are scaled."""

    def add(b: Builder, tensor: str) -> str:
        patches = b.node("AveragePool", tensor, kernel_shape=[8, 8], strides=[8, 8], out="patches")
        tokens = b.node("Reshape", patches, b.constant("rows", [1, -1, 1], "int64"), out="tokens")
        for n, name in enumerate("qkv"):
            b.constant(f"w{name}", np.random.default_rng(n).normal(size=(1, 8)) + 1)
            b.node("MatMul", tokens, f"w{name}", out=name)
        louder = b.node("Mul", "q", b.constant("large", large), out="louder")
        scores = b.node(
            "MatMul", louder, b.node("Transpose", "k", perm=[0, 2, 1], out="kt"), out="s"
        )
        scaled = b.node("Mul", scores, b.constant("scale", 1 / large), out="scaled")
        mixed = b.node("MatMul", b.node("Softmax", scaled, axis=-1, out="p"), "v", out="mixed")
        mean = b.node("ReduceMean", mixed, axes=[2], out="mean")
        side = small.SIDE // 8
        square = b.node("Reshape", mean, b.constant("square", [1, 1, side, side], "int64"))
        b.constant("whole", [1, 1, small.SIDE, small.SIDE], "int64")
        return b.node("Resize", square, "", "", "whole", out="back", mode="linear")

    return add


def looked_into(step: Callable[[Builder, str], str], folder: Path, *, agrees: bool) -> Chart:
    path = folder / "my.onnx"
    onnx.save(depth_net(step), path)
    submission = Submission("my.onnx", {"model": Model("model", "onnx", str(path))})
    own = Assessment(opened(small.DEPTH, submission), folder)
    compared = Comparison(own, find_device("Samsung Galaxy S24"), folder, LIMITS, layers=True)
    assert (compared.agreement(PART, NPU).broken == ()) == agrees
    (section,) = parity_sections(compared)
    (chart,) = section.charts
    assert chart.caption == "model: ONNX on this machine against the emulated NPU, float16"
    assert (chart.unit, chart.limit) == ("dB", pytest.approx(40))
    return chart


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LPCVC_CACHE", str(tmp_path / "cache"))


@needs_compiler
@pytest.mark.parametrize(
    ("step", "layers", "first"),
    [(convolutions(1e6), 14, "Conv conv 3"), (attention(2e4), 16, "MatMul s")],
    ids=["convolutions", "attention"],
)
def test_the_first_bad_layer_is_the_one_that_overflows(
    step: Callable[[Builder, str], str], layers: int, first: str, tmp_path: Path
) -> None:
    chart = looked_into(step, tmp_path, agrees=False)
    assert len(chart.values) == layers
    assert chart.marked is not None
    assert chart.labels[chart.marked] == first
    assert f"the first that is wrong is {first}" in chart.alt
    before = chart.values[: chart.marked]
    assert min(before) > 40 > chart.values[chart.marked]


@needs_compiler
def test_a_sound_model_is_looked_into_when_asked(tmp_path: Path) -> None:
    chart = looked_into(attention(1.0), tmp_path, agrees=True)
    assert (len(chart.values), chart.marked) == (16, None)
    assert min(chart.values) > 30
    assert "lowest after " in chart.alt


def test_the_gate_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(gate, "_pytest", lambda arguments, aside: asked.extend(arguments) or 0)
    with pytest.raises(SystemExit):
        gate.command.main(["my.onnx", "--track=depth", "--layers"])
    assert "--layers" in asked
    assert asked[asked.index("-m") + 1] == "contract or parity"


def test_layers_are_parity_s(tmp_path: Path) -> None:
    told = run_gate(tmp_path, "--track=depth", "--layers")
    assert told.code == 4
    assert "--layers is for -m parity; add that" in told.err
