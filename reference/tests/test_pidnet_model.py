"""PIDNet against the paper's blocks written out on the official names."""

import pytest
import torch
import torch.nn.functional as F

from reference.pidnet.contract import PIDNET
from reference.pidnet.model import build, inference_state
from reference.weights import checkpoint_shapes


class Plain:
    """PIDNet-S in plain operations; `w` are the official tensors."""

    def __init__(self, w):
        self.w = w

    def conv(self, name, x, stride=1, groups=1):
        weight = self.w[f"{name}.weight"]
        bias = self.w.get(f"{name}.bias")
        return F.conv2d(x, weight, bias, stride, weight.shape[-1] // 2, groups=groups)

    def norm(self, name, x):
        mean, var, gain, shift = (
            self.w[f"{name}.{kind}"].view(1, -1, 1, 1)
            for kind in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / torch.sqrt(var + 1e-5) * gain + shift

    def conv_norm(self, name, x):
        return self.norm(f"{name}.1", self.conv(f"{name}.0", x))

    def block(self, name, x, convs, stride, relu):
        """`convs` 2: basic, strided in the first; 3: bottleneck, strided in the second."""
        y = x
        for i in range(1, convs + 1):
            step = stride if i == convs - 1 else 1
            y = self.norm(f"{name}.bn{i}", self.conv(f"{name}.conv{i}", y, step))
            y = F.relu(y) if i < convs else y
        if f"{name}.downsample.0.weight" in self.w:
            x = self.norm(f"{name}.downsample.1", self.conv(f"{name}.downsample.0", x, stride))
        return F.relu(x + y) if relu else x + y

    def basic(self, name, x, blocks, stride=1):
        for i in range(blocks):
            x = self.block(f"{name}.{i}", x, 2, stride if i == 0 else 1, relu=i < blocks - 1)
        return x

    def bottleneck(self, name, x, stride=1):
        return self.block(name, x, 3, stride, relu=False)

    def pag(self, name, x, y):
        size = x.shape[-2:]
        y_q = resize(self.conv_norm(f"{name}.f_y", y), size)
        sigma = torch.sigmoid((self.conv_norm(f"{name}.f_x", x) * y_q).sum(1, keepdim=True))
        return sigma * resize(y, size) + (1 - sigma) * x

    def pre(self, name, x, at=0, groups=1):
        return self.conv(f"{name}.{at + 2}", F.relu(self.norm(f"{name}.{at}", x)), groups=groups)

    def pappm(self, x):
        x0 = self.pre("spp.scale0", x)
        branches = []
        for i, (kernel, stride) in enumerate(((5, 2), (9, 4), (17, 8)), 1):
            pooled = F.avg_pool2d(x, kernel, stride, kernel // 2)
            branches.append(resize(self.pre(f"spp.scale{i}", pooled, at=1), x.shape[-2:]) + x0)
        whole = x.mean((2, 3), keepdim=True)
        branches.append(self.pre("spp.scale4", whole, at=1) + x0)
        scales = self.pre("spp.scale_process", torch.cat(branches, 1), groups=4)
        fused = self.pre("spp.compression", torch.cat((x0, scales), 1))
        return fused + self.pre("spp.shortcut", x)

    def __call__(self, x):
        for conv, norm in (("conv1.0", "conv1.1"), ("conv1.3", "conv1.4")):
            x = F.relu(self.norm(norm, self.conv(conv, x, stride=2)))
        x = F.relu(self.basic("layer1", x, 2))
        x = F.relu(self.basic("layer2", x, 2, stride=2))
        size = x.shape[-2:]
        p = self.basic("layer3_", x, 2)
        d = self.block("layer3_d", x, 2, 1, relu=False)

        i = F.relu(self.basic("layer3", x, 3, stride=2))
        p = self.pag("pag3", p, self.conv_norm("compression3", i))
        d = d + resize(self.conv_norm("diff3", i), size)

        i = F.relu(self.basic("layer4", i, 3, stride=2))
        p = self.basic("layer4_", F.relu(p), 2)
        d = self.bottleneck("layer4_d.0", F.relu(d))
        p = self.pag("pag4", p, self.conv_norm("compression4", i))
        d = d + resize(self.conv_norm("diff4", i), size)

        p = self.bottleneck("layer5_.0", F.relu(p))
        d = self.bottleneck("layer5_d.0", F.relu(d))
        i = self.bottleneck("layer5.1", self.bottleneck("layer5.0", i, stride=2))
        i = resize(self.pappm(i), size)
        sigma = torch.sigmoid(d)
        x = self.conv_norm("dfm.conv_p", (1 - sigma) * i + p)
        x = x + self.conv_norm("dfm.conv_i", i + sigma * p)
        x = self.conv("final_layer.conv1", F.relu(self.norm("final_layer.bn1", x)))
        return self.conv("final_layer.conv2", F.relu(self.norm("final_layer.bn2", x)))


def resize(x, size):
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


# sha256 of all names and bits: the weights are the same on every machine.
PINNED = "7fe74d008dfc64279985c62cf2ec67254a787cea202a56806445a11c6e829ece"


@pytest.fixture(scope="module")
def state(official):
    return official("pidnet_s")


@pytest.fixture(scope="module")
def loaded(state, scratch):
    path = scratch / "pidnet_s.pth"
    torch.save(state, path)
    return build(path)["model"]


@pytest.mark.parametrize("size", [(128, 256), (200, 328), (512, 512)])
def test_network_equals_the_plain_statement(loaded, state, size):
    x = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        logits, expected = loaded.network(x), Plain(state)(x)
    assert logits.shape == (1, 19, size[0] // 8, size[1] // 8)
    assert expected.std() > 0.1
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4 * expected.std())


def test_normalisation_is_inside(loaded, photos):
    photo = photos(2048, 1024)[0][..., :256, :512] / 255
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    with torch.inference_mode():
        expected = loaded.network((photo - mean) / std)
        torch.testing.assert_close(loaded(photo), expected)


def test_every_tensor_is_used_but_the_counters(state, recorder):
    recorded = recorder(state)
    Plain(recorded)(torch.zeros(1, 3, 64, 128))
    unused = set(state) - recorded.read
    assert unused == {name for name in state if name.endswith("num_batches_tracked")}
    assert len(unused) == 75


def test_keys_and_parameters(seeded):
    models = seeded(PIDNET)
    assert set(models) == {"model"}
    network = models["model"].network
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert shapes == checkpoint_shapes("pidnet_s")
    assert len(shapes) == 453
    assert sum(p.numel() for p in models["model"].parameters()) == 7_625_715
    assert not models["model"].training
    assert not any(parameter.requires_grad for parameter in models["model"].parameters())


def test_training_checkpoint(loaded, state, tmp_path, digest):
    """As the official training saves it: the network as `model`, beside heads and losses."""
    training = {f"model.{name}": value for name, value in state.items()}
    training |= {
        "model.seghead_p.conv1.weight": torch.ones(2),
        "model.seghead_d.bn1.num_batches_tracked": torch.tensor(1),
        "loss.weight": torch.ones(19),
        "sem_loss.criterion.weight": torch.ones(19),
        "bd_loss.weight": torch.ones(1),
        "criterion": torch.ones(19),
    }
    path = tmp_path / "training.pt"
    torch.save({"state_dict": training}, path)
    assert digest(build(path)["model"]) == digest(loaded)


def test_inference_keeps_what_it_does_not_know():
    kept = inference_state({"model.other": torch.ones(1), "seghead_p.x": torch.ones(1)})
    assert list(kept) == ["other"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("dfm.conv_p.1.bias"), "1 missing (dfm.conv_p.1.bias)"),
        (lambda s: s.update(head=torch.ones(1)), "1 unexpected (head)"),
        (
            lambda s: s.update({"final_layer.conv2.weight": torch.ones(11, 128, 1, 1)}),
            "final_layer.conv2.weight is 11x128x1x1, not 19x128x1x1",
        ),
    ],
)
def test_other_checkpoints_are_refused(state, refusal, change, message):
    assert message in refusal(build, state, change)


def test_seeded_weights_repeat(seeded, digest):
    assert digest(seeded(PIDNET)["model"]) == PINNED
    assert digest(build()["model"]) == PINNED


def test_seeded_classes_vary_with_the_photo(seeded, photos):
    with torch.inference_mode():
        logits = [seeded(PIDNET)["model"](photo / 255) for photo in photos(2048, 1024)[:2]]
    for each in logits:
        assert each.shape == (1, 19, 128, 256)
        assert each.dtype == torch.float32
        shares = each.argmax(1).flatten().bincount(minlength=19) / (128 * 256)
        assert (shares > 0.01).sum() >= 3
    first, second = (each.argmax(1) for each in logits)
    assert (first != second).float().mean() > 0.2
