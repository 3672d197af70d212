"""R(2+1)D in both layouts, and the checkpoints that it takes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from reference.action.model import MEAN, STD, ActionModel, R2Plus1D, build_network
from reference.errors import CheckpointWarning, SubmissionError
from reference.weights import checkpoint_shapes, load_strict, seed_weights


@pytest.fixture(scope="module")
def network() -> R2Plus1D:
    return R2Plus1D(92)


def test_names_and_shapes_are_torchvision_s(network: R2Plus1D) -> None:
    found = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert found == checkpoint_shapes("r2plus1d_18_92")


def test_as_many_parameters_as_torchvision_documents() -> None:
    """31,505,325 with Kinetics' 400 classes, says R2Plus1D_18_Weights."""
    assert sum(p.numel() for p in R2Plus1D(400).parameters()) == 31_505_325


def test_the_layouts_are_one_model() -> None:
    """On few pixels: the network takes any number of them."""
    last, first = (ActionModel(channels_last=layout).eval() for layout in (True, False))
    seed_weights(last)
    seed_weights(first)
    clip = torch.rand((1, 16, 16, 16, 3), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        answers = last(clip), first(clip.permute(0, 4, 1, 2, 3))
        normal = (clip - torch.tensor(MEAN)) / torch.tensor(STD)
        bare = last.network(normal.permute(0, 4, 1, 2, 3))
    assert answers[0].shape == (1, 92)
    torch.testing.assert_close(answers[0], answers[1], rtol=0, atol=1e-5)
    torch.testing.assert_close(answers[0], bare, rtol=0, atol=1e-4)


def test_a_parted_convolution_against_numbers_worked_out(network: R2Plus1D) -> None:
    """3x3 over space, then 3 over time, of one pixel in the middle."""
    parted = network.layer1[0].conv1[0]
    space, time = parted[0].weight.detach().double().numpy(), parted[3].weight.detach().double()
    x = np.random.default_rng(0).standard_normal((64, 3, 3, 3))
    between = np.einsum("okij,ktij->ot", space[:, :, 0], x)
    between = np.maximum(between / np.sqrt(1 + 1e-5), 0)  # batch norm as it is made
    wanted = np.einsum("omt,mt->o", time.numpy()[:, :, :, 0, 0], between)
    with torch.inference_mode():
        own = parted.eval()(torch.from_numpy(x[None]).float())[0, :, 1, 1, 1]
    np.testing.assert_allclose(own.numpy(), wanted, atol=1e-4)


def test_checkpoints(network: R2Plus1D, tmp_path: Path) -> None:
    """The sample's, whose model stands beside its optimizer, and Kinetics' with another head."""
    state = {name: torch.full_like(value, 0.5) for name, value in network.state_dict().items()}
    torch.save({"model": state, "epoch": 14}, tmp_path / "sample.pth")
    loaded = build_network(tmp_path / "sample.pth", channels_last=True)
    assert all((value == 0.5).all() or not value.dtype.is_floating_point
               for value in loaded.network.state_dict().values())  # fmt: skip
    kinetics = {**state, "fc.weight": torch.ones(400, 512), "fc.bias": torch.ones(400)}
    torch.save(kinetics, tmp_path / "kinetics.pth")
    with pytest.warns(CheckpointWarning, match="that of the 92 classes is random"):
        loaded = build_network(tmp_path / "kinetics.pth", channels_last=False)
    assert (loaded.network.stem[0].weight == 0.5).all()
    assert loaded.network.fc.weight.shape == (92, 512)
    assert loaded.network.fc.weight.std() > 0.01


@pytest.mark.parametrize("lost", ["stem.0.weight", "fc.bias"])
def test_a_checkpoint_without_a_tensor_is_none(lost: str, network: R2Plus1D) -> None:
    state = {name: value for name, value in network.state_dict().items() if name != lost}
    with pytest.raises(SubmissionError, match=f"1 missing \\({lost}\\)"):
        load_strict(network, state, source="mine.pth")
