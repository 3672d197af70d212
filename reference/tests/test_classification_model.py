"""MobileNetV2 against the paper's blocks written out on torchvision's names."""

import pytest
import torch
import torch.nn.functional as F

from reference.classification.contract import CLASSIFICATION_2025
from reference.classification.model import build
from reference.weights import checkpoint_shapes

# Expansion, stride and whether the input is added, block by block: the paper's table 2.
BLOCKS = (
    *((1, 1, False), (6, 2, False), (6, 1, True), (6, 2, False), (6, 1, True), (6, 1, True)),
    *((6, 2, False), (6, 1, True), (6, 1, True), (6, 1, True), (6, 1, False), (6, 1, True)),
    *((6, 1, True), (6, 2, False), (6, 1, True), (6, 1, True), (6, 1, False)),
)
# sha256 of all names and bits: the weights are the same on every machine.
PINNED = "0b2a2b45ba2dcd954ff77c28f5cbc11b883816a8872b83b59d642e7ab50c2576"


def plain(w, x):
    """MobileNetV2 in plain operations; `w` are torchvision's tensors."""

    def step(conv, norm, x, stride=1, groups=1):
        weight = w[f"{conv}.weight"]
        x = F.conv2d(x, weight, None, stride, weight.shape[-1] // 2, groups=groups)
        mean, var, gain, shift = (
            w[f"{norm}.{kind}"].view(1, -1, 1, 1)
            for kind in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / torch.sqrt(var + 1e-5) * gain + shift

    x = step("features.0.0", "features.0.1", x, 2).clamp(0, 6)
    for number, (expansion, stride, adds) in enumerate(BLOCKS, 1):
        name, y, at = f"features.{number}.conv", x, 0
        if expansion > 1:
            y, at = step(f"{name}.0.0", f"{name}.0.1", y).clamp(0, 6), 1
        y = step(f"{name}.{at}.0", f"{name}.{at}.1", y, stride, y.shape[1]).clamp(0, 6)
        y = step(f"{name}.{at + 1}", f"{name}.{at + 2}", y)
        x = x + y if adds else y
    x = step("features.18.0", "features.18.1", x).clamp(0, 6).mean((2, 3))
    return x @ w["classifier.1.weight"].T + w["classifier.1.bias"]


@pytest.fixture(scope="module")
def state(official):
    return official("mobilenet_v2_64")


@pytest.fixture(scope="module")
def loaded(state, scratch):
    path = scratch / "mobilenet_v2_coco.pth"
    torch.save(state, path)
    return build(path)["model"]


@pytest.mark.parametrize("size", [(224, 224), (96, 160)])
def test_network_equals_the_plain_statement(loaded, state, size):
    x = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        logits, expected = loaded.network(x), plain(state, x)
    assert logits.shape == (1, 64)
    assert expected.std() > 0.1
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4 * expected.std())


def test_normalisation_is_inside_and_can_be_left_out(loaded, state, scratch, photos):
    """Erratum E33: the sample's own never happens."""
    photo = photos(224, 224)[0] / 255
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    sample = build(scratch / "mobilenet_v2_coco.pth", normalise=False)["model"]
    with torch.inference_mode():
        torch.testing.assert_close(loaded(photo), loaded.network((photo - mean) / std))
        torch.testing.assert_close(sample(photo), loaded.network(photo))


def test_every_tensor_is_used_but_the_counters(state, recorder):
    recorded = recorder(state)
    plain(recorded, torch.zeros(1, 3, 64, 64))
    unused = set(state) - recorded.read
    assert unused == {name for name in state if name.endswith("num_batches_tracked")}
    assert len(unused) == 52


def test_keys_and_parameters_are_torchvision_s(seeded):
    (model,) = seeded(CLASSIFICATION_2025).values()
    shapes = {name: tuple(value.shape) for name, value in model.network.state_dict().items()}
    assert shapes == checkpoint_shapes("mobilenet_v2_64")
    assert len(shapes) == 314
    # 3,504,872 with the 1000 classes of ImageNet, as torchvision documents.
    assert sum(p.numel() for p in model.parameters()) == 3_504_872 - 936 * 1281
    assert not model.training


def test_the_sample_s_wrapper_is_read_too(loaded, state, tmp_path, digest):
    path = tmp_path / "wrapped.pth"
    torch.save({f"mobilenet_v2.{name}": value for name, value in state.items()}, path)
    assert digest(build(path)["model"]) == digest(loaded)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("features.3.conv.2.weight"), "1 missing (features.3.conv.2.weight)"),
        (
            lambda s: s.update({"classifier.1.weight": torch.ones(1000, 1280)}),
            "classifier.1.weight is 1000x1280, not 64x1280",
        ),
    ],
)
def test_other_checkpoints_are_refused(state, refusal, change, message):
    assert message in refusal(build, state, change)


def test_seeded_weights_repeat(seeded, digest):
    assert digest(seeded(CLASSIFICATION_2025)["model"]) == PINNED
