"""PyTorch models as TFLite, against PyTorch itself."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reference.errors import SubmissionError
from reference.litert.convert import Input, convert_file, convert_module
from reference.litert.interpreter import Interpreter
from reference.litert.unscript import unscripted
from reference.process import Limits
from reference.tests.tflite_models import needs_converter, needs_litert

pytestmark = [needs_litert, needs_converter, pytest.mark.filterwarnings("ignore")]
LIMITS = Limits(timeout=300.0)


class Both(nn.Module):
    """A picture through a convolution, and attention over words; two outputs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution = nn.Conv2d(3, 8, 3, padding=1)
        self.words = nn.Embedding(20, 16)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, image: torch.Tensor, text: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        words = self.words(text)
        return self.convolution(image).relu(), self.attention(words, words, words)[0]


MODULE = Both().eval()
EXAMPLES = {
    "image": torch.rand(1, 3, 24, 32, generator=torch.Generator().manual_seed(1)),
    "text": torch.arange(7, dtype=torch.int32).view(1, 7),
}
INPUTS = [Input("image", (1, 3, 24, 32), "float32"), Input("text", (1, 7), "int32")]


def torch_answers() -> list[np.ndarray]:
    with torch.no_grad():
        return [output.numpy() for output in MODULE(*EXAMPLES.values())]


def litert_answers(path: Path, last: bool = False) -> dict[str, np.ndarray]:
    feeds = {name: x.numpy() for name, x in EXAMPLES.items()}
    if last:
        feeds["image"] = feeds["image"].transpose(0, 2, 3, 1)
    with Interpreter(path, LIMITS) as interpreter:
        return interpreter.run(feeds)


@pytest.mark.slow
def test_a_module_under_the_names_of_a_contract(tmp_path: Path) -> None:
    made = convert_module(
        MODULE, EXAMPLES, tmp_path / "my.tflite", outputs=["map", "embedding"], limits=LIMITS
    )
    assert made.network.signatures == ("serving_default",)
    assert [(v.name, v.shape, v.dtype) for v in made.network.inputs] == [
        ("image", (1, 3, 24, 32), "float32"),
        ("text", (1, 7), "int32"),
    ]
    assert made.tools.startswith("litert-torch 0.")
    found = litert_answers(made.path)
    assert list(found) == ["map", "embedding"]
    for mine, theirs in zip(found.values(), torch_answers(), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-5)


@pytest.mark.slow
def test_torchscript_with_its_channels_last(tmp_path: Path) -> None:
    traced = torch.jit.trace(MODULE, tuple(EXAMPLES.values()), check_trace=False)
    traced.save(str(tmp_path / "my.pt"))
    made = convert_file(
        tmp_path / "my.pt",
        "torchscript",
        INPUTS,
        tmp_path / "my.tflite",
        outputs=["map", "embedding"],
        last_inputs=["image"],
        last_outputs=["map"],
        limits=LIMITS,
    )
    assert made.network.inputs[0].shape == (1, 24, 32, 3)
    assert made.network.outputs[0].shape == (1, 24, 32, 8)
    assert made.network.signatures == ("serving_default",)
    found = litert_answers(made.path, last=True)
    image, embedding = torch_answers()
    np.testing.assert_allclose(found["map"], image.transpose(0, 2, 3, 1), atol=2e-5)
    np.testing.assert_allclose(found["embedding"], embedding, atol=2e-5)


@pytest.mark.slow
def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    program = torch.export.export(nn.ReLU(), (EXAMPLES["image"],))
    torch.export.save(program, tmp_path / "my.pt2")
    output = tmp_path / "my.tflite"
    with pytest.raises(SubmissionError, match="the model has 1 outputs, and 2 names are given"):
        convert_file(
            tmp_path / "my.pt2", "exported", INPUTS[:1], output, outputs=["a", "b"], limits=LIMITS
        )
    assert not output.exists()


class Filling(nn.Module):
    """Adds up what it sees in a tensor of its own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = torch.zeros(3)
        seen += x
        seen[0] = x[1]
        return seen * x


class Choosing(nn.Module):
    """Does one thing for some pictures and another for others."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 if float(x.sum()) > 0 else x


def test_torchscript_as_steps() -> None:
    examples = tuple(EXAMPLES.values())
    traced = torch.jit.trace(MODULE, examples, check_trace=False)
    made = unscripted(traced, tuple(torch.zeros_like(x) for x in examples))
    for mine, theirs in zip(made(*examples), torch_answers(), strict=True):
        np.testing.assert_allclose(mine.detach().numpy(), theirs, atol=2e-5)
    steps = {str(node.target) for node in made.graph.nodes}
    assert "aten.bmm.default" in steps
    assert not any("item" in step or "local_scalar" in step or "size" in step for step in steps)


class Resizes(nn.Module):
    """As much as both sides allow: by a size, by a factor, and by one that the size is not."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        large = F.interpolate(image, size=(9, 13), mode="bilinear", align_corners=True)
        twice = F.interpolate(large, scale_factor=2, mode="bilinear")
        near = F.interpolate(twice, scale_factor=3, mode="nearest")
        return F.interpolate(near, scale_factor=1.3, mode="bilinear")


def test_resizes_keep_their_name() -> None:
    """Of one that gathers pixels the compiler of the NPU sees no end."""
    image = torch.rand(1, 2, 5, 7, generator=torch.Generator().manual_seed(2))
    made = unscripted(torch.jit.trace(Resizes(), image), (torch.zeros_like(image),))
    named = [str(node.target) for node in made.graph.nodes if "upsample" in str(node.target)]
    assert named == [
        "aten.upsample_bilinear2d.vec",
        "aten.upsample_bilinear2d.vec",
        "aten.upsample_nearest2d.vec",
        "aten.upsample_bilinear2d.default",
    ]
    assert torch.allclose(made(image), Resizes()(image), atol=1e-6)


def test_torchscript_that_fills_a_tensor() -> None:
    made = unscripted(torch.jit.script(Filling()), (torch.zeros(3),))
    x = torch.tensor([1.0, 2.0, 3.0])
    for _ in range(2):
        assert made(x).tolist() == Filling()(x).tolist() == [2.0, 4.0, 9.0]


def test_torchscript_that_chooses_by_its_input() -> None:
    with pytest.raises(RuntimeError, match=r"if float\(x\.sum\(\)\) > 0"):
        unscripted(torch.jit.script(Choosing()), (torch.zeros(3),))


@pytest.mark.slow
def test_what_litert_cannot_compute_is_refused(tmp_path: Path) -> None:
    class Fourier(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.svdvals(x)

    with pytest.raises(SubmissionError, match=r"module\.pt2 does not become TFLite"):
        convert_module(Fourier(), {"x": torch.rand(1, 8, 8)}, tmp_path / "my.tflite", limits=LIMITS)
