"""The encoders against CLIP written out in torch's own operations on OpenAI's names."""

import hashlib

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reference.retrieval.model import build, convert
from reference.tracks import RETRIEVAL_2026

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
    x = F.conv2d((image - MEAN) / STD, w["visual.conv1.weight"], stride=32)
    x = x.reshape(768, 49).T
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


@pytest.fixture(scope="module")
def state(official):
    return official("clip_vitb32")


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


def test_key_biases_are_the_middle_third(state):
    """Softmax cancels them, so no output shows where they went."""
    name = "transformer.resblocks.3.attn.in_proj_bias"
    states = convert({name: state[name], f"visual.{name}": state[f"visual.{name}"]})
    target = "layers.3.self_attn.k_proj.bias"
    assert torch.equal(states["text"][target], state[name][512:1024])
    assert torch.equal(states["image"][target], state[f"visual.{name}"][768:1536])


def test_padding_after_the_end_has_no_effect(loaded):
    with torch.inference_mode():
        end, zero = (loaded["text"](token_ids(1929, 269, pad=pad)) for pad in (END, 0))
    assert torch.equal(end, zero)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_openai_archive_of_half_precision(loaded, state, scratch):
    """ViT-B-32.pt: TorchScript, float16 but for the norms and embeddings, three more numbers."""
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
    path = scratch / "ViT-B-32.pt"
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
    ],
)
def test_other_checkpoints_are_refused(state, refusal, change, message):
    assert message in refusal(build, state, change)


def test_parameters(seeded):
    encoders = seeded(RETRIEVAL_2026)
    assert set(encoders) == {part.name for part in RETRIEVAL_2026.parts}
    counts = {k: sum(p.numel() for p in m.parameters()) for k, m in encoders.items()}
    assert counts == {"image": 87_849_216, "text": 63_428_096}
    for encoder in encoders.values():
        assert not encoder.training
        assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_seeded_weights_repeat(seeded):
    encoders = seeded(RETRIEVAL_2026)
    bits = encoders["image"].layers[0].self_attn.q_proj.bias.numpy().astype("<f4").tobytes()
    assert (
        hashlib.sha256(bits).hexdigest()
        == "284ccc9d76a59e2ae800e5254c7ca9f3c0843e60dacace80db4c16d9bcde690a"
    )


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
