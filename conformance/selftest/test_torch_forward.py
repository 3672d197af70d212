"""Modules of others: which argument is which, and what a default is not."""

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from conformance.runtimes import torch as host
from reference.depth.contract import DEPTH_2025
from reference.errors import SubmissionError
from reference.export import export_onnx
from reference.segmentation.contract import SEGMENTATION_2025
from reference.torch_forward import in_order
from reference.tracks import Part

SIDE = 8
NAMES = ["image_input", "text_input"]


class Swapped(nn.Module):
    def forward(self, text_input, image_input):
        return image_input.mean(1) * text_input.float().mean()


class Scaled(nn.Module):
    def forward(self, image, scale: float = 2.0, flag: bool = True):
        return image.mean(1, keepdim=True) * scale if flag else image


class Optional(nn.Module):
    def forward(self, image: torch.Tensor, mask: torch.Tensor | None = None):
        y = image.mean(1, keepdim=True)
        return y if mask is None else y * mask


class Branching(nn.Module):
    def forward(self, image, high: float = 0.5):
        return image + 1 if bool(image.mean() > high) else image - 1


class Both(nn.Module):
    def forward(self, text_input, image_input, gain: float = 3.0):
        return image_input.mean(1) * text_input.float().mean() * gain


class Needy(nn.Module):
    def forward(self, image: torch.Tensor, scale: float):
        return image * scale


class Open(nn.Module):
    def forward(self, *inputs, **more):
        return inputs[0]


class OnGpu(nn.Module):
    def forward(self, image):
        return image + torch.zeros([1], device="cuda:0")


def small(part: Part) -> Part:
    shape = (1, 3, SIDE, SIDE)
    return replace(part, inputs=(replace(part.inputs[0], shape=shape), *part.inputs[1:]))


DEPTH, PAIR = small(DEPTH_2025.parts[0]), small(SEGMENTATION_2025.parts[0])
EXAMPLES = (torch.ones(2, 1, 77, dtype=torch.int32), torch.rand(1, 3, SIDE, SIDE))


def feeds(part: Part) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {
        str(tensor.name): (generator.random(tensor.shape) * 9).astype(tensor.dtypes[0])
        for tensor in part.inputs
    }


def saved(module: nn.Module, form: str, folder: Path) -> Path:
    path = folder / "my.pt"
    if form == "exported":
        torch.export.save(torch.export.export(module, EXAMPLES), folder / "my.pt2")
        return folder / "my.pt2"
    own = torch.jit.trace(module, EXAMPLES) if form == "traced" else torch.jit.script(module)
    own.save(path)
    return path


@pytest.mark.parametrize("form", ["traced", "scripted", "exported"])
def test_inputs_go_by_their_names(form: str, tmp_path: Path) -> None:
    """To the forward pass and to the export."""
    path = saved(Swapped().eval(), form, tmp_path)
    kind = "exported" if form == "exported" else "torchscript"
    assert in_order(host.open_module(str(path), kind), NAMES) == NAMES[::-1]
    given = feeds(PAIR)
    expected = given["image_input"].mean(1) * given["text_input"].mean(dtype=np.float32)
    (answer,) = host.load(str(path), kind, "", "")[1](given)
    np.testing.assert_allclose(answer, expected, rtol=1e-5)
    export_onnx(host.open_module(str(path), kind), PAIR, tmp_path / "my.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "my.onnx")
    np.testing.assert_allclose(session.run(None, given)[0], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (Swapped(), NAMES[::-1]),
        (Both(), NAMES[::-1]),
        (Open(), NAMES),
        # Other names: in the contract's order.
        (nn.Bilinear(1, 1, 1), NAMES),
    ],
)
def test_order_of_a_module(module: nn.Module, expected: list[str]) -> None:
    assert in_order(module, NAMES) == expected


@pytest.mark.parametrize("module", [Scaled(), Optional(), Branching(), Both()])
def test_a_default_is_no_input(module: nn.Module, tmp_path: Path) -> None:
    """Neither of the forward pass nor of the export, which keeps what was scripted."""
    part = PAIR if isinstance(module, Both) else DEPTH
    path = saved(module.eval(), "scripted", tmp_path)
    export_onnx(host.open_module(str(path), "torchscript"), part, tmp_path / "my.onnx")
    found = onnx.load(tmp_path / "my.onnx").graph.input
    assert {value.name for value in found} == feeds(part).keys()
    session = onnxruntime.InferenceSession(tmp_path / "my.onnx")
    run = host.load(str(path), "torchscript", "", "")[1]
    for factor in (0, 1):
        given = {name: array * array.dtype.type(factor) for name, array in feeds(part).items()}
        (answer,) = run(given)
        np.testing.assert_allclose(session.run(None, given)[0], answer, rtol=1e-5)


@pytest.mark.parametrize(
    ("module", "names", "told"),
    [
        (Needy(), ["image"], r"forward\(image, scale\) is not what the track feeds: image; give"),
        (Optional(), ["image", "mask", "more"], r"forward\(image, mask\).*; take all of these"),
        (nn.ReLU(), NAMES, r"forward\(input\) is not what the track feeds: image_input, text_inp"),
    ],
)
def test_what_forward_lacks(module: nn.Module, names: list[str], told: str) -> None:
    for form in (module, torch.jit.script(module)):
        with pytest.raises(SubmissionError, match=told):
            in_order(form, names)


def test_traced_on_a_gpu(tmp_path: Path) -> None:
    """What the tracer writes there is in the code, where loading to the CPU does not reach."""
    path = saved(OnGpu(), "scripted", tmp_path)
    with zipfile.ZipFile(path) as archive:
        (code,) = (name for name in archive.namelist() if name.endswith(".py"))
        assert b'device=torch.device("cuda:0")' in archive.read(code)
    told = r"my.pt was traced on a GPU: .* on 'cuda:0', wherever it is loaded; trace it on the CPU"
    with pytest.raises(SubmissionError, match=told):
        host.load(str(path), "torchscript", "", "")[1](feeds(DEPTH))
    with pytest.raises(SubmissionError, match=told):
        host.export(str(path), "torchscript", "", "", "depth", "model", str(tmp_path / "my.onnx"))


def test_another_fault_is_told_by_its_last_line(tmp_path: Path) -> None:
    path = saved(nn.Conv2d(4, 1, 1), "scripted", tmp_path)
    with pytest.raises(
        RuntimeError, match=r"\ARuntimeError: .*expected input.* to have 4 channels"
    ):
        host.load(str(path), "torchscript", "", "")[1](feeds(DEPTH))
