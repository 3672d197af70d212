"""The encoders against CLIP written out in torch's own operations on OpenAI's names, and against
that of transformers.
"""

import hashlib

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPConfig, CLIPModel

from reference.retrieval import model
from reference.retrieval.contract import RETRIEVAL_2026
from reference.retrieval.model import ImageEncoder, build, convert

START, END = 49406, 49407
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)
# sha256 of the bits of one tensor.
PINNED = "284ccc9d76a59e2ae800e5254c7ca9f3c0843e60dacace80db4c16d9bcde690a"
EXTRA = {"input_resolution": 224, "context_length": 77, "vocab_size": 49408}


def plain_transformer(w, prefix, x, heads, mask=None):
    """x: length x 1 x width. Attention is torch's own, which OpenAI's weights were made for."""
    for i in range(12):
        p = f"{prefix}transformer.resblocks.{i}."
        y = F.layer_norm(x, x.shape[-1:], w[p + "ln_1.weight"], w[p + "ln_1.bias"])
        y, _ = F.multi_head_attention_forward(
            *(y, y, y, x.shape[-1], heads),
            *(w[p + "attn.in_proj_weight"], w[p + "attn.in_proj_bias"], None, None, False, 0.0),
            *(w[p + "attn.out_proj.weight"], w[p + "attn.out_proj.bias"]),
            training=False,
            attn_mask=mask,
            need_weights=False,
        )
        x = x + y
        y = F.layer_norm(x, x.shape[-1:], w[p + "ln_2.weight"], w[p + "ln_2.bias"])
        y = F.linear(y, w[p + "mlp.c_fc.weight"], w[p + "mlp.c_fc.bias"])
        y = y * torch.sigmoid(1.702 * y)
        x = x + F.linear(y, w[p + "mlp.c_proj.weight"], w[p + "mlp.c_proj.bias"])
    return x


def plain_image(w, image):
    kernel = w["visual.conv1.weight"]
    x = F.conv2d((image - MEAN) / STD, kernel, stride=kernel.shape[-1])
    x = x.reshape(768, -1).T
    x = torch.vstack((w["visual.class_embedding"], x)) + w["visual.positional_embedding"]
    x = F.layer_norm(x, (768,), w["visual.ln_pre.weight"], w["visual.ln_pre.bias"])
    x = plain_transformer(w, "visual.", x[:, None], heads=12)[0]
    x = F.layer_norm(x, (768,), w["visual.ln_post.weight"], w["visual.ln_post.bias"])
    return x @ w["visual.proj"]


def plain_text(w, ids):
    x = w["token_embedding.weight"][ids[0].long()] + w["positional_embedding"]
    future = torch.ones(77, 77, dtype=torch.bool).triu(1)
    x = plain_transformer(w, "", x[:, None], heads=8, mask=future)[:, 0]
    x = F.layer_norm(x, (512,), w["ln_final.weight"], w["ln_final.bias"])
    return x[ids[0].tolist().index(END)][None] @ w["text_projection"]


def token_ids(*words, pad=END, dtype=torch.int32):
    ids = [START, *words, END]
    return torch.tensor([ids + [pad] * (77 - len(ids))], dtype=dtype)


TEXTS = (
    token_ids(1929, 269),
    token_ids(2308, 1774, 15762, 269),
    token_ids(320, 1125, 539, 320, 2368, pad=0),
    token_ids(*range(1000, 1075)),
    token_ids(),
)


def with_patches_of(edge, state):
    """The same weights for other patches of `edge` pixels."""
    generator = torch.Generator().manual_seed(edge)
    kernel = torch.randn(768, 3, edge, edge, generator=generator) / (edge * 3**0.5)
    places = torch.randn((224 // edge) ** 2 + 1, 768, generator=generator) / 30
    return {**state, "visual.conv1.weight": kernel, "visual.positional_embedding": places}


@pytest.fixture(scope="module")
def state(official):
    return with_patches_of(16, official("clip_vitb32"))


@pytest.fixture(scope="module")
def loaded(state, scratch):
    path = scratch / "clip.pth"
    torch.save(state, path)
    yield build(path)
    path.unlink()


def assert_close(actual, expected):
    assert actual.shape == expected.shape == (1, 512)
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


def test_image_encoder_equals_the_plain_statement(loaded, state, photos):
    with torch.inference_mode():
        for photo in photos(224, 224):
            assert_close(loaded["image"](photo / 255), plain_image(state, photo / 255))


@pytest.mark.parametrize("ids", TEXTS)
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_text_encoder_equals_the_plain_statement(loaded, state, ids, dtype):
    with torch.inference_mode():
        assert_close(loaded["text"](ids.to(dtype)), plain_text(state, ids))


def test_every_tensor_is_used_but_the_temperature(state, photos, recorder):
    recorded = recorder(state)
    with torch.inference_mode():
        plain_image(recorded, photos(224, 224)[0] / 255)
        plain_text(recorded, TEXTS[0])
    assert set(state) - recorded.read == {"logit_scale"}


def test_vit_b_32_too(official, scratch, photos):
    """The file decides."""
    state, path = official("clip_vitb32"), scratch / "ViT-B-32.safetensors"
    save_file(state, path)
    encoders = build(path)
    path.unlink()
    photo = photos(224, 224)[0] / 255
    with torch.inference_mode():
        assert_close(encoders["image"](photo), plain_image(state, photo))
        assert_close(encoders["text"](TEXTS[0]), plain_text(state, TEXTS[0]))


def test_names_are_those_of_transformers(state):
    """As its own conversion of OpenAI's files has it: thirds of in_proj, projections turned."""
    with torch.device("meta"):
        peer = CLIPModel(CLIPConfig(vision_config={"patch_size": 16})).state_dict()
    converted = convert(state)
    assert {k: v.shape for k, v in converted.items()} == {k: v.shape for k, v in peer.items()}
    for ours, theirs, width in (("", "text_model", 512), ("visual.", "vision_model", 768)):
        block, layer = f"{ours}transformer.resblocks.3.", f"{theirs}.encoder.layers.3."
        for kind in ("weight", "bias"):
            packed = state[f"{block}attn.in_proj_{kind}"]
            for place, letter in enumerate("qkv"):
                third = packed[place * width : (place + 1) * width]
                # Softmax cancels the biases of k, so no output shows where they went.
                assert torch.equal(converted[f"{layer}self_attn.{letter}_proj.{kind}"], third)
    assert torch.equal(converted["visual_projection.weight"], state["visual.proj"].T)
    assert torch.equal(converted["text_projection.weight"], state["text_projection"].T)


NARROW = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}
SMALL = {
    "vision_config": {**NARROW, "num_hidden_layers": 2},
    "text_config": {**NARROW, "num_hidden_layers": 2},
}


def peer_of(patch, size):
    """CLIP of transformers with its own random weights, away from those that layers start with."""
    sizes = {name: dict(part) for name, part in size.items()}
    sizes.setdefault("vision_config", {})["patch_size"] = patch
    torch.manual_seed(patch)
    peer = CLIPModel(CLIPConfig(**sizes)).eval().requires_grad_(False)
    for name, parameter in peer.named_parameters():
        if parameter.ndim < 2 and name != "logit_scale":
            parameter += 0.1 * torch.randn_like(parameter)
    return peer


@pytest.fixture
def small(monkeypatch):
    """The reference with narrow layers, two of each."""
    monkeypatch.setattr(
        model,
        "CLIPConfig",
        lambda **own: CLIPConfig(
            vision_config=own.pop("vision_config") | SMALL["vision_config"],
            text_config=own.pop("text_config") | SMALL["text_config"],
            **own,
        ),
    )


def assert_alike(encoders, peer, photo):
    pixels = (photo - MEAN) / STD
    answers = {
        "image": (encoders["image"](photo), peer.get_image_features(pixel_values=pixels)),
        **{
            f"text {i}": (encoders["text"](ids), peer.get_text_features(input_ids=ids.long()))
            for i, ids in enumerate(TEXTS)
        },
    }
    for name, (own, theirs) in answers.items():
        theirs = getattr(theirs, "pooler_output", theirs)
        assert own.shape == theirs.shape == (1, 512), name
        assert (own - theirs).abs().max() < 1e-5 * theirs.abs().max(), name


@pytest.mark.parametrize("patch", [16, 32])
@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_checkpoints_of_transformers(small, patch, suffix, tmp_path, photos):
    """openai/clip-vit-base-patch16 and patch32 as Hugging Face has them, counters included."""
    peer = peer_of(patch, SMALL)
    state = peer.state_dict() | {
        "text_model.embeddings.position_ids": torch.arange(77)[None],
        "vision_model.embeddings.position_ids": torch.arange((224 // patch) ** 2 + 1)[None],
    }
    path = tmp_path / f"model.{suffix}"
    save_file(state, path) if suffix == "safetensors" else torch.save(state, path)
    with torch.inference_mode():
        assert_alike(build(path), peer, photos(224, 224)[0] / 255)


@pytest.mark.slow
@pytest.mark.parametrize("patch", [16, 32])
def test_checkpoints_of_transformers_at_full_size(patch, tmp_path, photos):
    peer = peer_of(patch, {})
    save_file(peer.state_dict(), tmp_path / "model.safetensors")
    with torch.inference_mode():
        assert_alike(build(tmp_path / "model.safetensors"), peer, photos(224, 224)[0] / 255)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("visual_projection.weight"), "1 missing (visual_projection.weight)"),
        (lambda s: s.update(head=torch.ones(1)), "1 unexpected (head)"),
        (
            lambda s: s.update({"vision_model.embeddings.patch_embedding.weight": torch.ones(64)}),
            "patch_embedding.weight is 64, not 64x3x16x16",
        ),
    ],
)
def test_other_checkpoints_of_transformers_are_refused(small, refusal, change, message):
    assert message in refusal(build, peer_of(16, SMALL).state_dict(), change)


def test_the_sample_does_not_normalise(photos):
    """Its encoder takes the picture as it is."""
    peer = peer_of(16, SMALL)
    photo = photos(224, 224)[0] / 255
    with torch.inference_mode():
        inside, bare = (ImageEncoder(peer, normalise=flag)(photo) for flag in (True, False))
        theirs = peer.get_image_features(pixel_values=photo)
    assert torch.equal(bare, getattr(theirs, "pooler_output", theirs))
    assert F.cosine_similarity(inside, bare).item() < 0.99


def test_padding_after_the_end_has_no_effect(loaded):
    with torch.inference_mode():
        end, zero = (loaded["text"](token_ids(1929, 269, pad=pad)) for pad in (END, 0))
    assert torch.equal(end, zero)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_openai_archive_of_half_precision(loaded, state, scratch):
    """ViT-B-16.pt: TorchScript, float16 but for the norms and embeddings, three more numbers."""
    root = nn.Module()
    for name, value in {**state, **{k: torch.tensor(v) for k, v in EXTRA.items()}}.items():
        *parents, leaf = name.split(".")
        owner = root
        for parent in parents:
            if not hasattr(owner, parent):
                owner.add_module(parent, nn.Module())
            owner = getattr(owner, parent)
        wide = value.ndim < 2 or "embedding" in name or not value.is_floating_point()
        owner.register_buffer(leaf, value if wide else value.half())
    path = scratch / "ViT-B-16.pt"
    torch.jit.script(root).save(str(path))
    archive = build(path)
    path.unlink()
    for part, encoder in archive.items():
        full = loaded[part].state_dict()
        for name, value in encoder.state_dict().items():
            assert value.dtype == torch.float32
            rounded = full[name].half().float()
            assert torch.equal(value, full[name]) or torch.equal(value, rounded), name
    weight = archive["text"].layers[0].mlp.fc1.weight
    assert not torch.equal(weight, loaded["text"].layers[0].mlp.fc1.weight)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("visual.proj"), "1 missing (visual.proj)"),
        (lambda s: s.update(head=torch.ones(1)), "1 unexpected (head)"),
        (
            lambda s: s.update({"ln_final.bias": torch.ones(3)}),
            "ln_final.bias is 3, not 512",
        ),
        # ViT-L/14, and a ResNet
        (
            lambda s: s.update({"visual.conv1.weight": torch.ones(1024, 3, 14, 14)}),
            "visual.conv1.weight is 1024x3x14x14, not 768x3x16x16",
        ),
        (lambda s: s.update({"visual.conv1.weight": torch.ones(())}), "not 768x3x16x16"),
        (
            lambda s: s.update({"visual.positional_embedding": torch.ones(50, 768)}),
            "visual.positional_embedding is 50x768, not 197x768",
        ),
    ],
)
def test_other_checkpoints_are_refused(state, refusal, change, message):
    assert message in refusal(build, state, change)


def test_parameters(seeded):
    encoders = seeded(RETRIEVAL_2026)
    assert set(encoders) == {part.name for part in RETRIEVAL_2026.parts}
    counts = {k: sum(p.numel() for p in m.parameters()) for k, m in encoders.items()}
    assert counts == {"image": 86_192_640, "text": 63_428_096}
    for encoder in encoders.values():
        assert not encoder.training
        assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_nothing_is_left_unset(small):
    """Made without memory for weights at first: no buffer may keep what was there."""
    buffers = {
        f"{part}.{name}": value
        for part, encoder in build().items()
        for name, value in encoder.named_buffers()
    }
    assert buffers.keys() == {"image.mean", "image.std", "text.mask"}
    assert torch.equal(buffers["image.mean"], MEAN)
    assert torch.equal(buffers["image.std"], STD)


def test_seeded_weights_repeat(seeded):
    encoders = seeded(RETRIEVAL_2026)
    bits = encoders["image"].layers[0].self_attn.q_proj.bias.numpy().astype("<f4").tobytes()
    assert hashlib.sha256(bits).hexdigest() == PINNED


def test_seeded_embeddings_tell_inputs_apart(seeded, photos):
    encoders = seeded(RETRIEVAL_2026)
    with torch.inference_mode():
        images = torch.cat([encoders["image"](photo / 255) for photo in photos(224, 224)])
        texts = torch.cat([encoders["text"](ids) for ids in TEXTS])
    for embeddings in (images, texts):
        unit = F.normalize(embeddings)
        cosines = (unit @ unit.T)[~torch.eye(len(unit), dtype=torch.bool)]
        assert cosines.max() < 0.97
        assert embeddings.std() > 0.5
