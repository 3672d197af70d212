"""The depth model against DINOv2 and the DPT head written out on the official names."""

import hashlib

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import numpy_helper

from reference.depth.contract import DEPTH_2025
from reference.depth.model import build, convert
from reference.export import export_onnx, export_reference
from reference.ort import host_session

UNUSED = {"pretrained.mask_token"} | {
    # The coarsest fusion has one input, and this unit is for a second.
    f"depth_head.scratch.refinenet4.resConfUnit1.conv{i}.{kind}"
    for i in (1, 2)
    for kind in ("weight", "bias")
}


def conv(w, name, x, **options):
    bias = w.get(f"{name}.bias")
    return F.conv2d(x, w[f"{name}.weight"], bias, **options)


def plain_block(w, p, x):
    y = F.layer_norm(x, (384,), w[p + "norm1.weight"], w[p + "norm1.bias"], eps=1e-6)
    qkv = F.linear(y, w[p + "attn.qkv.weight"], w[p + "attn.qkv.bias"])
    q, k, v = qkv.reshape(1, -1, 3, 6, 64).permute(2, 0, 3, 1, 4)
    y = (torch.softmax(q @ k.transpose(-1, -2) / 8, dim=-1) @ v).transpose(1, 2)
    y = F.linear(y.reshape(1, -1, 384), w[p + "attn.proj.weight"], w[p + "attn.proj.bias"])
    x = x + w[p + "ls1.gamma"] * y
    y = F.layer_norm(x, (384,), w[p + "norm2.weight"], w[p + "norm2.bias"], eps=1e-6)
    y = F.gelu(F.linear(y, w[p + "mlp.fc1.weight"], w[p + "mlp.fc1.bias"]))
    return x + w[p + "ls2.gamma"] * F.linear(y, w[p + "mlp.fc2.weight"], w[p + "mlp.fc2.bias"])


def plain_unit(w, p, x):
    return x + conv(w, p + "conv2", F.relu(conv(w, p + "conv1", F.relu(x), padding=1)), padding=1)


def plain_network(w, x):
    """Normalised 1x3x518x518 to 1x1x518x518."""
    patch = "pretrained.patch_embed.proj"
    tokens = conv(w, patch, x, stride=14).flatten(2).transpose(1, 2)
    tokens = torch.cat((w["pretrained.cls_token"], tokens), 1) + w["pretrained.pos_embed"]
    taps = []
    for i in range(12):
        tokens = plain_block(w, f"pretrained.blocks.{i}.", tokens)
        if i in (2, 5, 8, 11):
            norm = w["pretrained.norm.weight"], w["pretrained.norm.bias"]
            taps.append(F.layer_norm(tokens, (384,), *norm, eps=1e-6)[:, 1:])

    h = "depth_head."
    maps = [tap.transpose(1, 2).reshape(1, 384, 37, 37) for tap in taps]
    maps = [conv(w, f"{h}projects.{i}", level) for i, level in enumerate(maps)]
    for i, factor in ((0, 4), (1, 2)):
        name = f"{h}resize_layers.{i}"
        up = w[f"{name}.weight"], w[f"{name}.bias"]
        maps[i] = F.conv_transpose2d(maps[i], *up, stride=factor)
    maps[3] = conv(w, f"{h}resize_layers.3", maps[3], stride=2, padding=1)
    maps = [conv(w, f"{h}scratch.layer{i}_rn", m, padding=1) for i, m in enumerate(maps, 1)]
    assert [m.shape[-1] for m in maps] == [148, 74, 37, 19]

    path = None
    for i in (4, 3, 2, 1):
        p = f"{h}scratch.refinenet{i}."
        level = maps[i - 1]
        path = level if path is None else path + plain_unit(w, p + "resConfUnit1.", level)
        path = plain_unit(w, p + "resConfUnit2.", path)
        size = maps[i - 2].shape[-2:] if i > 1 else (296, 296)
        path = F.interpolate(path, size, mode="bilinear", align_corners=True)
        path = conv(w, p + "out_conv", path)

    out = conv(w, f"{h}scratch.output_conv1", path, padding=1)
    out = F.interpolate(out, (518, 518), mode="bilinear", align_corners=True)
    out = F.relu(conv(w, f"{h}scratch.output_conv2.0", out, padding=1))
    return F.relu(conv(w, f"{h}scratch.output_conv2.2", out))


def plain_preparation(image):
    x = F.interpolate(image, (518, 518), mode="bilinear", align_corners=True)
    mean = torch.tensor([[[[123.675]], [[116.28]], [[103.53]]]])
    std = torch.tensor([[[[58.395]], [[57.12]], [[57.375]]]])
    return (x - mean) / std


def plain_scaling(depth):
    depth = F.interpolate(F.relu(depth), (480, 640), mode="bilinear", align_corners=True)
    return (depth - depth.min()) / (depth.max() - depth.min())


# sha256 of the bits of one tensor.
PINNED = "58cb7c7b365a14a447895d2a0392be7f26a12a6d381a18242f657b0157f929c4"


@pytest.fixture(scope="module")
def state(official):
    return official("dav2_vits")


@pytest.fixture(scope="module")
def loaded(state, scratch):
    path = scratch / "depth_anything_v2_vits.pth"
    torch.save(state, path)
    return build(path)["model"]


@pytest.fixture(scope="module")
def plain(state, photos, recorder):
    """The official tensors, and what the plain statement makes of a photo with them."""
    recorded = recorder(state)
    with torch.inference_mode():
        return recorded, plain_network(recorded, plain_preparation(photos(640, 480)[0]))


@pytest.fixture(scope="module")
def depths(seeded, photos):
    """Two photos through the seeded model."""
    with torch.inference_mode():
        return torch.cat([seeded(DEPTH_2025)["model"](photo) for photo in photos(640, 480)[:2]])


def test_network_equals_the_plain_statement(loaded, plain, photos):
    _, expected = plain
    assert expected.std() > 0.1
    with torch.inference_mode():
        depth = loaded.inverse_depth(plain_preparation(photos(640, 480)[0]))
    torch.testing.assert_close(depth, expected, rtol=1e-4, atol=1e-4)


def test_model_equals_the_sample_solution(loaded, plain, photos):
    with torch.inference_mode():
        depth = loaded(photos(640, 480)[0])
    assert depth.shape == (1, 1, 480, 640)
    assert depth.dtype == torch.float32
    torch.testing.assert_close(depth, plain_scaling(plain[1]), rtol=0, atol=2e-4)


def test_every_tensor_is_used_but_five(state, plain):
    assert set(state) - plain[0].read == UNUSED


def test_key_biases_are_the_middle_third(state):
    """Softmax cancels them, so no output shows where they went."""
    name = "pretrained.blocks.3.attn.qkv.bias"
    target = "blocks.3.attention.k_proj.bias"
    assert torch.equal(convert({name: state[name]})[target], state[name][384:768])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("pretrained.norm.bias"), "1 missing (pretrained.norm.bias)"),
        (lambda s: s.update(head=torch.ones(1)), "1 unexpected (head)"),
        (
            lambda s: s.update({"pretrained.pos_embed": torch.ones(1, 257, 384)}),
            "pretrained.pos_embed is 1x257x384, not 1x1370x384",
        ),
    ],
)
def test_other_checkpoints_are_refused(state, refusal, change, message):
    assert message in refusal(build, state, change)


def test_parameters(seeded):
    models = seeded(DEPTH_2025)
    assert set(models) == {"model"}
    model = models["model"]
    assert sum(p.numel() for p in model.parameters()) == 24_785_089
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_seeded_weights_repeat(seeded, digest):
    model = seeded(DEPTH_2025)["model"]
    assert digest(model) == digest(build()["model"])
    bits = model.blocks[0].layer_scale1.lambda1.numpy().astype("<f4").tobytes()
    assert (
        hashlib.sha256(bits).hexdigest()
        == "58cb7c7b365a14a447895d2a0392be7f26a12a6d381a18242f657b0157f929c4"
    )


def test_seeded_depth_varies_with_the_photo(depths):
    assert depths.amin((1, 2, 3)).eq(0).all()
    assert depths.amax((1, 2, 3)).eq(1).all()
    assert depths.std(dim=(1, 2, 3)).min() > 0.05
    assert (depths[0] - depths[1]).abs().mean() > 0.05


def test_seeded_depth_has_no_floor(seeded, photos):
    """Nothing is cut off by the last ReLU, so no input can leave a constant map."""
    model = seeded(DEPTH_2025)["model"]
    assert model.head.conv3.weight.min() >= 0
    with torch.inference_mode():
        assert model.inverse_depth(plain_preparation(photos(640, 480)[3])).min() > 0


def test_safe_division_changes_nothing_else(photos, depths):
    with torch.inference_mode():
        assert torch.equal(build(safe=False)["model"](photos(640, 480)[1]), depths[1:])


def test_a_constant_image_is_finite(seeded):
    with torch.inference_mode():
        depth = seeded(DEPTH_2025)["model"](torch.full((1, 3, 480, 640), 127.0))
    assert depth.isfinite().all()
    assert depth.min() == 0
    assert depth.max() == 1


@pytest.mark.parametrize("safe", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_constant_depth_map(safe, photos, scratch):
    """0/0 in the sample solution (E12), in torch and in the exported file alike."""
    model = build(safe=safe)["model"]
    model.head.conv3.bias.fill_(-1e6)
    photo = photos(640, 480)[0]
    with torch.inference_mode():
        depth = model(photo).numpy()
    path = scratch / "constant.onnx"
    if safe:  # as the reference is exported, which may be there already
        exported = onnx.load(export_reference(DEPTH_2025, scratch / "whole")["model"])
        (bias,) = (t for t in exported.graph.initializer if t.name == "head.conv3.bias")
        bias.CopyFrom(numpy_helper.from_array(model.head.conv3.bias.numpy(), bias.name))
        onnx.save(exported, path)
    else:
        export_onnx(model, DEPTH_2025.parts[0], path)
    session = host_session(path)
    for each in (depth, session.run(None, {"image": photo.numpy()})[0]):
        assert (each == 0).all() if safe else np.isnan(each).all()
