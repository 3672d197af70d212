"""Compile jobs of PyTorch: TorchScript and exported programs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from reference.aihub.tasks import (
    Model,
    ModelKind,
    TaskError,
)
from reference.tests.aihub_jobs import (
    compile_it,
    download,
    infer,
)

pytestmark = pytest.mark.usefixtures("shared_cache")
PLAIN = "--target_runtime onnx"


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(
        self, picture: torch.Tensor, gain: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.conv(picture).relu() * gain
        return features, features.mean((2, 3))


PICTURE, GAIN = torch.rand(1, 3, 16, 16), torch.rand(1, 1, 1, 1)


def traced(folder: Path) -> Model:
    path = folder / "net.pt"
    torch.jit.trace(Net().eval(), (PICTURE, GAIN)).save(path)
    return Model(path, ModelKind.TORCHSCRIPT)


def scripted(folder: Path) -> Model:
    path = folder / "net.pt"
    torch.jit.script(Net().eval()).save(path)
    return Model(path, ModelKind.TORCHSCRIPT)


def exported(folder: Path) -> Model:
    path = folder / "upload"
    with path.open("wb") as file:
        torch.export.save(torch.export.export(Net().eval(), (PICTURE, GAIN)), file)
    return Model(path, ModelKind.TORCH_EXPORTED_PROGRAM)


SPECS = {"picture": (1, 3, 16, 16), "gain": ((1, 1, 1, 1), "float32")}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(
    "build", [traced, pytest.param(scripted, marks=pytest.mark.slow), exported]
)
def test_pytorch(build: Callable[[Path], Model], tmp_path: Path) -> None:
    """An exported program has names and shapes of its own."""
    specs = {} if build is exported else SPECS
    made = compile_it(build(tmp_path), tmp_path / "job", PLAIN, specs)
    assert [(s.name, s.shape) for s in made.input_spec] == [
        ("picture", (1, 3, 16, 16)),
        ("gain", (1, 1, 1, 1)),
    ]
    assert [(s.name, s.shape) for s in made.output_spec] == [
        ("output_0", (1, 4, 14, 14)),
        ("output_1", (1, 4)),
    ]
    feeds = {"picture": [PICTURE.numpy()], "gain": [GAIN.numpy()]}
    answers = download(infer(made.model, tmp_path / "run", feeds).outputs)
    with torch.inference_mode():
        expected = Net()(PICTURE, GAIN)
    for name, value in zip(("output_0", "output_1"), expected, strict=True):
        assert np.allclose(answers[name][0], value.numpy(), atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_specs_of_a_program(tmp_path: Path) -> None:
    with pytest.raises(TaskError) as raised:
        compile_it(exported(tmp_path), tmp_path / "size", PLAIN, {**SPECS, "picture": (1, 3, 8, 8)})
    assert str(raised.value) == (
        "input_specs gives 'picture' as float32[1, 3, 8, 8],"
        " and the program has it as float32[1, 3, 16, 16]"
    )


def test_torchscript_without_specs(tmp_path: Path) -> None:
    model = Model(tmp_path / "model.pt", ModelKind.TORCHSCRIPT)
    with pytest.raises(TaskError, match="a TorchScript model needs input_specs"):
        compile_it(model, tmp_path / "job", PLAIN)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_torchscript_with_wrong_specs(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"cannot be exported to ONNX: .*3 channels"):
        compile_it(traced(tmp_path), tmp_path / "job", PLAIN, {**SPECS, "picture": (1, 4, 16, 16)})


def test_a_hostile_archive(tmp_path: Path) -> None:
    """A pickle that writes a file when it is loaded must not be loaded as one."""
    target = tmp_path / "owned"

    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (target,))

    path = tmp_path / "model.pt2"
    torch.save(Trap(), path)
    model = Model(path, ModelKind.TORCH_EXPORTED_PROGRAM)
    with pytest.raises(TaskError):
        compile_it(model, tmp_path / "job", PLAIN, {"x": (1,)})
    assert not target.exists()
