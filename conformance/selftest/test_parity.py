"""Parity of small models: those that agree, and those with one defect, which is named."""

import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto

from conformance.contract.assessment import Assessment
from conformance.npu.evidence import NpuEvidence
from conformance.parity.comparison import Agreement, Comparison, find_threshold
from conformance.parity.flow import Flow
from conformance.parity.items import ParityCase
from conformance.parity.runners import Workplace, torch_modules
from conformance.runtimes.torch import open_module
from conformance.selftest import models, small
from conformance.selftest.gate import run_gate
from conformance.selftest.models import Builder
from conformance.selftest.mutants import depth_modules
from conformance.selftest.surgery import after, step
from conformance.subject import opened
from conformance.submission.model import Model, Submission
from conformance.wing import NotCompared
from reference.depth.contract import DEPTH_2025
from reference.errors import SubmissionError
from reference.npu.devices import find_device
from reference.process import Limits
from reference.retrieval.contract import RETRIEVAL_2026
from reference.segmentation.contract import SEGMENTATION_2025
from reference.tests.npu_models import needs_compiler
from reference.tracks import Track

pytestmark = pytest.mark.usefixtures("one_process")

ROOT = Path(__file__).parents[2]
LIMITS = Limits(timeout=120.0)
NPU = ("onnx", "npu")
PART = small.DEPTH.parts[0]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LPCVC_CACHE", str(tmp_path / "cache"))


def comparison(
    track: Track, submission: Submission, folder: Path, device: str = "Samsung Galaxy S24"
) -> Comparison:
    own = Assessment(opened(track, submission), folder)
    return Comparison(own, find_device(device), folder, LIMITS)


def of_model(track: Track, model: ModelProto, folder: Path, device="Samsung Galaxy S24"):
    path = folder / "my.onnx"
    onnx.save(model, path)
    submission = Submission("my.onnx", {"model": Model("model", "onnx", str(path))})
    return comparison(track, submission, folder, device)


def on_npu(track: Track, model: ModelProto, folder: Path) -> Agreement:
    return of_model(track, model, folder).agreement(track.parts[0], NPU)


def depth_net(*steps: Callable[[Builder, str], str]) -> ModelProto:
    """Brightness in [0, 1] through `steps`, as depth."""
    b = Builder(PART)
    b.constant("luma", np.array([0.299, 0.587, 0.114]).reshape(1, 3, 1, 1) / 255)
    tensor = b.node("Conv", "image", "luma", out="grey")
    for add in steps:
        tensor = add(b, tensor)
    b.node("Sigmoid", tensor, out="last")
    return b.model("depth")


def root_mean_square(size: float) -> Callable[[Builder, str], str]:
    """Normalises values between `size` and its double, with an epsilon of 1e-8."""

    def normalise(b: Builder, tensor: str) -> str:
        b.constant("one", 1.0)
        b.constant("size", size)
        b.constant("epsilon", 1e-8)
        scaled = b.node("Mul", b.node("Add", tensor, "one", out="above"), "size", out="scaled")
        squares = b.node("Mul", scaled, scaled, out="squares")
        mean = b.node("ReduceMean", squares, axes=[2, 3], out="mean")
        spread = b.node("Sqrt", b.node("Add", mean, "epsilon", out="safe"), out="spread")
        return b.node("Div", scaled, spread, out="normal")

    return normalise


def sum_of_large(b: Builder, tensor: str) -> str:
    """The sum over 4096 pixels of a hundred each is far above 65504."""
    b.constant("hundred", 100.0)
    b.constant("pixels", 409600.0)
    large = b.node("Mul", tensor, "hundred", out="large")
    total = b.node("ReduceSum", large, b.constant("axes", [2, 3], "int64"), out="total")
    mean = b.node("Div", total, "pixels", out="mean_of_sum")
    return b.node("Sub", tensor, mean, out="centred")


def resized_by_shape(b: Builder, tensor: str) -> str:
    """Half the size and back, as `F.interpolate(size=image.shape[-2:])` is exported."""
    pooled = b.node("AveragePool", tensor, kernel_shape=[2, 2], strides=[2, 2], out="halved")
    b.constant("leading", [1, 1], "int64")
    b.constant("begin", [2], "int64")
    b.constant("end", [4], "int64")
    place = b.node("Slice", b.node("Shape", tensor, out="shape"), "begin", "end", out="place")
    sizes = b.node("Concat", "leading", place, out="sizes_of", axis=0)
    return b.node("Resize", pooled, "", "", sizes, out="restored", mode="linear")


def sum_behind_shapes(b: Builder, tensor: str) -> str:
    """The sum that is too large, behind arithmetic on shapes, and more of that after it."""
    return resized_again(b, sum_of_large(b, resized_by_shape(b, tensor)))


def resized_again(b: Builder, tensor: str) -> str:
    """To the size of a tensor that was computed before."""
    b.constant("quarter", [1, 1, 0.25, 0.25])
    small = b.node("Resize", tensor, "", "quarter", out="quartered", mode="linear")
    whole = b.node("Shape", "restored", out="whole")
    return b.node("Resize", small, "", "", whole, out="again", mode="linear")


def padded_pool(b: Builder, tensor: str) -> str:
    """Pooling as PIDNet's context module has it."""
    b.constant("sizes", [1, 1, small.SIDE, small.SIDE], "int64")
    pool = {"kernel_shape": [9, 9], "strides": [4, 4], "pads": [4] * 4, "count_include_pad": 1}
    pooled = b.node("AveragePool", tensor, out="pooled", **pool)
    return b.node("Resize", pooled, "", "", "sizes", out="resized", mode="linear")


@needs_compiler
def test_conforming_models_agree(tmp_path: Path) -> None:
    mask = on_npu(small.SEGMENTATION, models.segmentation(small.SEGMENTATION.parts[0]), tmp_path)
    assert (mask.broken, mask.located, mask.precision) == ((), "", "float16")
    assert mask.measures.iou > 0.98
    assert mask.probe.name == "astronaut"
    classes = on_npu(small.CLASSES, models.pidnet(small.CLASSES.parts[0]), tmp_path)
    assert classes.broken == ()
    assert classes.measures.psnr < 100, "float16, and no copy of the CPU's float32"
    depth = on_npu(small.DEPTH, depth_net(), tmp_path)
    assert depth.broken == ()
    assert 0 < depth.measures.max_error < 0.005


@needs_compiler
@pytest.mark.parametrize(
    ("defect", "node"),
    [
        (root_mean_square(1e-4), "Mul 'squares'"),
        (sum_of_large, "ReduceSum 'total'"),
        (sum_behind_shapes, "ReduceSum 'total'"),
        (padded_pool, "AveragePool 'pooled'"),
    ],
    ids=[
        "squares below float16",
        "sum above float16",
        "behind arithmetic on shapes",
        "wrong in QAIRT 2.51",
    ],
)
def test_what_the_npu_computes_otherwise_is_named(defect, node: str, tmp_path: Path) -> None:
    case = ParityCase(of_model(small.DEPTH, depth_net(defect), tmp_path), PART, NPU, ())
    remedy = "depthwise convolution" if node.startswith("AveragePool") else "6e-5 and 65504"
    assert remedy in case.judged().story
    found = case.comparison.agreements[PART.name, NPU]
    assert {t.measure for t in found.broken} >= {"mean_error", "psnr"}
    assert found.located.startswith(f"first at {node}, tensor ")
    assert "(1 run of both)" in found.located
    assert found.operator == node.split()[0]


@needs_compiler
def test_what_was_emulated_once_is_not_emulated_again(tmp_path: Path, monkeypatch) -> None:
    """Neither by the other wing nor by the next run."""
    own = of_model(small.DEPTH, depth_net(), tmp_path)
    host = own.assessment.evidence

    def evidence() -> NpuEvidence:
        return NpuEvidence(own.device, host, lambda line: None, LIMITS)

    answers = evidence().runs()
    assert [run.probe.role for run in answers] == ["photo", "photo", "constant"]
    monkeypatch.setattr("conformance.runtimes.npu.emulated", None)
    again = evidence().runs()
    assert [run.output.tobytes() for run in again] == [run.output.tobytes() for run in answers]
    assert not own.agreement(PART, NPU).broken
    (kept,) = own.kept_run("model", "npu").outputs
    assert kept.tobytes() == answers[0].output.tobytes()


@needs_compiler
def test_the_same_with_room_agrees(tmp_path: Path) -> None:
    """The same normalisation of what float16 can square."""
    found = on_npu(small.DEPTH, depth_net(root_mean_square(1.0)), tmp_path)
    assert (found.broken, found.located) == ((), "")


@needs_compiler
def test_a_float_model_on_a_device_of_integers(tmp_path: Path) -> None:
    own = of_model(small.DEPTH, depth_net(), tmp_path, "QCS6490 (Proxy)")
    with pytest.raises(NotCompared, match=r"QCS6490 .* has no float16; quantise it"):
        own.agreement(PART, NPU)


def test_an_onnx_file_has_no_pytorch_side(tmp_path: Path) -> None:
    own = of_model(small.DEPTH, depth_net(), tmp_path)
    with pytest.raises(NotCompared, match=r"give TorchScript, \.pt2 or module:factory"):
        own.agreement(PART, ("torch", "onnx"))


@needs_compiler
def test_int8(tmp_path: Path) -> None:
    """The NPU's integers against Q and DQ in float; on a device that has nothing else."""
    b = Builder(PART)
    b.constant("luma", np.array([0.299, 0.587, 0.114]).reshape(1, 3, 1, 1) / 255)
    b.constant("step", 1 / 255)
    b.constant("zero", 0, "uint8")
    for tensor, scale in (("image", b.constant("level", 1.0)), ("grey", "step")):
        source = b.node("Conv", "image_back", "luma", out="grey") if tensor == "grey" else tensor
        b.node("QuantizeLinear", source, scale, "zero", out=f"{tensor}_levels")
        b.node("DequantizeLinear", f"{tensor}_levels", scale, "zero", out=f"{tensor}_back")
    own = of_model(small.DEPTH, b.model("depth"), tmp_path, "QCS6490 (Proxy)")
    found = own.agreement(PART, NPU)
    assert (found.precision, found.broken) == ("w8a8", ())
    assert found.measures.max_error < 1.5 / 255, "one level"


def test_the_threshold_of_a_mask() -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = models.write(SEGMENTATION_2025, Path(folder))
        assert find_threshold(Flow(paths["model"])) == ("logits", 0.0)
        models.write(DEPTH_2025, Path(folder))
        assert find_threshold(Flow(paths["model"])) is None


def test_the_reference_in_pytorch() -> None:
    module = open_module("pidnet:model:", "reference")
    assert type(module).__module__ == "reference.pidnet.model"
    assert not module.training


def test_a_model_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    model = depth_net()
    model.graph.input.append(onnx.helper.make_tensor_value_info("picture", 1, [1]))
    own = of_model(small.DEPTH, model, tmp_path)
    with pytest.raises(SubmissionError, match=r"the model part in onnx gives no answer: .*picture"):
        own.agreement(PART, NPU)


@pytest.mark.slow
def test_a_branch_that_tracing_froze_is_named(tmp_path: Path, monkeypatch) -> None:
    """PyTorch against its export: the module that takes another way on a photograph."""
    (tmp_path / "mine.py").write_text(FROZEN)
    monkeypatch.chdir(tmp_path)
    submission = Submission("mine:Net", {"model": Model("model", "factory", "mine:Net")})
    own = comparison(DEPTH_2025, submission, tmp_path)
    found = own.agreement(DEPTH_2025.parts[0], ("torch", "onnx"))
    assert {t.measure for t in found.broken} >= {"max_error", "psnr"}
    assert found.precision == "float32"
    assert found.located.startswith("first at Mul '/net/net.1/Mul' of module net.1, tensor ")


FROZEN = """
import torch
from torch import nn


class Scale(nn.Module):
    def forward(self, x):
        return x * (0.01 if x.mean() > 10 else 1.5)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 4, 1), Scale(), nn.Conv2d(4, 1, 1), nn.Sigmoid())
        for parameter in self.parameters():
            nn.init.constant_(parameter, 0.1)

    def forward(self, image):
        return self.net(image).clamp(0, 1)
"""


@pytest.mark.slow
def test_a_torchscript_file_shows_no_modules(tmp_path: Path) -> None:
    """Nor does it need to, where both sides agree."""
    traced = torch.jit.trace(depth_modules.Depth().eval(), torch.rand(1, 3, 480, 640))
    traced.save(tmp_path / "my.pt")
    model = Model("model", "torchscript", str(tmp_path / "my.pt"))
    own = comparison(DEPTH_2025, Submission("my.pt", {"model": model}), tmp_path)
    found = own.agreement(DEPTH_2025.parts[0], ("torch", "onnx"))
    assert (found.broken, found.located) == ((), "")
    place = Workplace(tmp_path, LIMITS, lambda seconds: None)
    assert torch_modules(model, place) == set()


@needs_compiler
def test_the_table_and_the_branches(tmp_path: Path) -> None:
    models.write(RETRIEVAL_2026, tmp_path)
    gate = run_gate(tmp_path, *RETRIEVAL, "--junitxml=report.xml", suite="parity")
    assert gate.code == 0, gate.out
    assert f"{HEADING}: 2 pass, 2 skip" in gate.out
    line = r"^  pass  image onnx=npu \(float16\): cosine 0\.9999\d+, top-10 overlap 100%"
    assert re.search(line, gate.out, re.MULTILINE), gate.out
    assert re.search(r"^  image +not measured +0\.9999\d+$", gate.out, re.MULTILINE)
    assert re.search(r"^  text +not measured +0\.9999\d+$", gate.out, re.MULTILINE)
    assert "\ncosine: 0.9999" in (tmp_path / "report.xml").read_text()


@needs_compiler
def test_a_disagreement_says_what_to_know(tmp_path: Path) -> None:
    """An image encoder with numbers that float16 does not have."""
    models.write(RETRIEVAL_2026, tmp_path)
    model = onnx.load(tmp_path / "image.onnx")
    after("normalised", step("Mul", 1e5), step("Relu"), step("Mul", 1e-5))(model)
    onnx.save(model, tmp_path / "image.onnx")
    gate = run_gate(tmp_path, *RETRIEVAL, "-k", "image-onnx-npu", suite="parity")
    assert gate.code == 1
    for line in (
        r"image onnx=npu: the two sides disagree \(float16\)",
        r"  expected cosine 0\.9999000 at least",
        r"  source   measured on the emulated NPU",
        r"  seen     cosine 0\.\d+, top-10 overlap \d+%",
        r"  at       probe 'astronaut'",
        r"  located  first at (Mul|Relu) '\w+', tensor '\w+': error .* became .* of both\)",
        r"  remedy   keep values between 6e-5 and 65504",
        r"  again    pytest --pyargs conformance -m parity --track retrieval-2026 .*image-onnx-npu",
    ):
        assert re.search(f"^{line}", gate.out, re.MULTILINE), (line, gate.out)


def test_without_the_compiler(tmp_path: Path) -> None:
    models.write(RETRIEVAL_2026, tmp_path)
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "onnxruntime_qnn.py").write_text("raise ImportError")
    first = f"{tmp_path / 'none'}{os.pathsep}{ROOT}"
    gate = run_gate(tmp_path, *RETRIEVAL, suite="parity", PYTHONPATH=first)
    assert gate.code == 0
    assert f"{HEADING}: 4 skip" in gate.out
    assert "image onnx=npu, text onnx=npu: Qualcomm's NPU compiler" in gate.out


HEADING = "retrieval-2026, image.onnx text.onnx: parity, NPU of XR2 Gen 2 (Proxy)"
RETRIEVAL = [
    "--track=retrieval",
    "--submission=image=image.onnx",
    "--submission=text=text.onnx",
]
