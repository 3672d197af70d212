"""X-Decoder against its plain statement, in float64, where a threshold has no near misses."""

import copy
import hashlib
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.errors import CheckpointWarning, SubmissionError
from reference.segmentation.attention import Attention, sine_positions
from reference.segmentation.contract import SEGMENTATION_2025
from reference.segmentation.inputs import prepare_text
from reference.segmentation.model import XDecoder, build
from reference.tests import plain_xdecoder as plain

# 130 leaves maps of 33, 17, 9 and 5: every step rounds up.
RESOLUTION, SIDES = 130, (33, 17, 9, 5)
PROMPTS = ("dog.", "the woman in an orange suit", "")


def text_input(prompt: str) -> torch.Tensor:
    return torch.from_numpy(prepare_text(prompt))


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.fixture(scope="module")
def state(official):
    """With queries as long as what is added to them, so that each answers for itself."""
    state = official("xdecoder_lpcvc25")
    long = {k: 22.0 * v for k, v in state.items() if ".query_" in k}
    return {**state, **long}


@pytest.fixture(scope="module")
def loaded(state, scratch):
    """A checkpoint through the path of `--weights`, in float64."""
    path = scratch / "xdecoder.pth"
    torch.save(state, path)
    model = build(path, resolution=RESOLUTION)["model"]
    path.unlink()
    return model.double()


@pytest.fixture(scope="module")
def w(state, recorder):
    return recorder({k: v.double() if v.is_floating_point() else v for k, v in state.items()})


@pytest.fixture(scope="module")
def photo(photos):
    return photos(1024, 1024)[0].double()


@pytest.fixture(scope="module")
def expected(w, photo):
    with torch.inference_mode():
        ids = text_input(PROMPTS[1])[0]
        return plain.candidates(w, photo, ids, RESOLUTION)


@pytest.fixture(scope="module")
def answer(loaded, photo):
    with torch.inference_mode():
        return loaded(photo, text_input(PROMPTS[1]))


def assert_close(actual, wanted, atol=1e-8):
    assert wanted.std() > 1e-3
    torch.testing.assert_close(actual, wanted, rtol=1e-8, atol=atol)


def test_attention_is_that_of_torch():
    ours, theirs = Attention().double(), torch.nn.MultiheadAttention(512, 8).double()
    for parameter in theirs.parameters():
        parameter.data.copy_(noise(*parameter.shape) / 8)
    ours.load_state_dict(theirs.state_dict())
    query, key, value, bias = noise(7, 512), noise(5, 512), noise(5, 512, seed=1), noise(7, 5)
    wanted, _ = theirs(query, key, value, attn_mask=bias)
    assert_close(ours(query, key, value, bias), wanted)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 9), (8, 8)])
def test_positions_are_those_of_the_formula(height, width):
    wanted = plain.sine(height, width, torch.float32).flatten(2)[0].T
    torch.testing.assert_close(sine_positions(height, width), wanted, rtol=0, atol=2e-6)


@pytest.mark.parametrize("size", [(64, 96), (62, 90), (33, 47)])
def test_backbone_equals_the_plain_statement(loaded, w, size):
    """On sizes that are no multiple of the strides too, which the organisers' code pads."""
    image = noise(1, 3, *size)
    with torch.inference_mode():
        actual, wanted = loaded.backbone(image), plain.backbone(w, image)
    assert [m.shape[1] for m in actual] == [96, 192, 384, 768]
    for ours, theirs in zip(actual, wanted, strict=True):
        assert_close(ours, theirs)


def test_pixel_decoder_equals_the_plain_statement(loaded, w):
    """5 to 9 to 17 to 33: nearest upsampling by ratios that are not whole."""
    widths = (96, 192, 384, 768)
    maps = [noise(1, width, side, side) for width, side in zip(widths, SIDES, strict=True)]
    with torch.inference_mode():
        levels, features = loaded.sem_seg_head.pixel_decoder(maps)
        plain_levels, plain_features = plain.pixel_decoder(w, maps)
    assert [level.shape[-1] for level in levels] == [5, 9, 17]
    for ours, theirs in zip((*levels, features), (*plain_levels, plain_features), strict=True):
        assert_close(ours, theirs, 1e-6)  # positions are kept as float32


@pytest.mark.parametrize("prompt", PROMPTS)
def test_text_encoder_equals_the_plain_statement(loaded, w, prompt):
    ids = text_input(prompt)[0]
    with torch.inference_mode():
        assert_close(loaded.sem_seg_head.predictor.lang_encoder(ids[0]), plain.text(w, ids))


def test_mask_decoder_equals_the_plain_statement(loaded, w):
    levels = [noise(1, 512, side, side, seed=1) for side in (5, 9, 17)]
    features, ids = noise(1, 512, 33, 33, seed=1), text_input(PROMPTS[1])[0]
    with torch.inference_mode():
        scores, embeddings = loaded.sem_seg_head.predictor(levels, features, ids[0])
        wanted_scores, wanted_masks = plain.mask_decoder(w, levels, features, plain.text(w, ids))
    assert_close(scores, wanted_scores, 1e-5)
    masks = torch.einsum("qc,bchw->bqhw", embeddings, features)
    assert_close(masks, wanted_masks, 1e-4)


def test_model_equals_the_plain_statement(loaded, expected, photo, answer):
    with torch.inference_mode():
        scores, embeddings, features = loaded.candidates(photo, text_input(PROMPTS[1]))
    assert_close(scores, expected[0], 1e-5)
    assert_close(torch.einsum("qc,bchw->bqhw", embeddings, features), expected[1], 1e-3)
    assert answer.shape == (1024, 1024)
    assert 0.01 < answer.mean() < 0.99
    assert (answer != plain.answer(*expected)).double().mean() < 1e-5


def test_every_tensor_is_used(w, expected):
    assert set(w) == w.read


def test_another_order_in_a_block_shows(loaded, w):
    """What stays hidden while layer scales are at their initial 1e-4."""
    block, x = loaded.backbone.layers[2].blocks[3], noise(1, 384, 9, 9)
    wanted = plain.focal_block(w, "backbone.layers.2.blocks.3.", x).permute(0, 2, 3, 1)
    with torch.inference_mode():
        assert_close(block(x.permute(0, 2, 3, 1)), wanted)
        swapped = copy.deepcopy(block)
        swapped.norm1, swapped.norm2 = swapped.norm2, swapped.norm1
        assert (swapped(x.permute(0, 2, 3, 1)) - wanted).abs().mean() > 0.1


def test_attention_falls_outside_the_mask(loaded):
    """E21: the bias leaves the scores alone where the mask's logits are negative."""
    query, features = noise(201, 512), noise(512, 40)
    with torch.inference_mode():
        logits = loaded.sem_seg_head.predictor.mask_embedding(query) @ features
        bias = loaded.sem_seg_head.predictor.attention_bias(query, features)
    rows = [row for row in range(201) if row != 101]
    assert 0.2 < (logits < 0).double().mean() < 0.8
    assert torch.equal(bias[rows], torch.where(logits < 0, 0.0, -1e4)[rows])
    assert not bias[101].any()  # E30: the class query is row 100


@pytest.mark.parametrize("sign", [1, -1])
def test_a_full_or_empty_mask_is_no_mask(loaded, sign):
    query = noise(201, 512)
    with torch.inference_mode():
        direction = loaded.sem_seg_head.predictor.mask_embedding(query)[150]
        bias = loaded.sem_seg_head.predictor.attention_bias(
            query, sign * direction[:, None].expand(-1, 6)
        )
    assert not bias[150].any()


def test_object_queries_do_not_reach_the_answer(loaded):
    """E21: noise in the objects and the class query, before every self-attention."""
    decoder = loaded.sem_seg_head.predictor
    levels = [noise(1, 512, side, side) for side in (5, 9, 17)]
    features, ids = noise(1, 512, 33, 33), text_input("dog.")[0, 0]

    def disturb(_, arguments):
        x, *rest = arguments
        return torch.cat((noise(101, 512, seed=3), x[101:])), *rest

    with torch.inference_mode():
        scores, embeddings = decoder(levels, features, ids)
        layers = decoder.transformer_self_attention_layers
        hooks = [layer.register_forward_pre_hook(disturb) for layer in layers]
        again, same = decoder(levels, features, ids)
        for hook in hooks:
            hook.remove()
    assert torch.equal(scores, again)
    assert torch.equal(embeddings, same)


def test_the_attention_mask_of_the_text_is_not_read(loaded, photo, answer):
    """E20."""
    ids = text_input(PROMPTS[1])
    other = torch.stack((ids[0], 1 - ids[1]))
    with torch.inference_mode():
        assert torch.equal(loaded(photo, other), answer)


@pytest.mark.slow
def test_gradients_reach_what_affects_the_output(loaded, photo):
    model = copy.deepcopy(loaded).requires_grad_(True)
    ids = text_input("a red dog.")
    scores, embeddings, features = model.candidates(photo, ids)
    masks = embeddings @ features.flatten(2)[0]
    (scores @ noise(100) + (masks * noise(*masks.shape)).mean()).backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    without = [name for name, grad in gradients.items() if grad is None or not grad.any()]
    assert without == []

    predictor = "sem_seg_head.predictor."
    for name in ("query_feat", "query_embed"):
        grad = gradients[f"{predictor}{name}.weight"]
        assert not grad[100].any()  # the class query
        assert grad[:100].any(dim=1).all()
    language = f"{predictor}lang_encoder.lang_encoder."
    length = int(ids[1].sum())
    positions = gradients[f"{language}positional_embedding"].any(dim=1)
    assert positions.tolist() == [True] * length + [False] * (77 - length)
    tokens = gradients[f"{language}token_embedding.weight"].any(dim=1)
    assert set(tokens.nonzero().flatten().tolist()) == set(ids[0].flatten().tolist())


def test_parameters(seeded):
    models = seeded(SEGMENTATION_2025)
    assert set(models) == {"model"}
    model = models["model"]
    parts = {
        "backbone": model.backbone,
        "pixel decoder": model.sem_seg_head.pixel_decoder,
        "language encoder": model.sem_seg_head.predictor.lang_encoder,
        "all": model,
    }
    assert {k: sum(p.numel() for p in m.parameters()) for k, m in parts.items()} == {
        "backbone": 29_922_288,
        "pixel decoder": 31_456_256,
        "language encoder": 63_428_097,
        "all": 163_799_025,
    }
    assert model.resolution == 256
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_names_are_the_checkpoint_s(seeded, state):
    own = seeded(SEGMENTATION_2025)["model"].state_dict()
    assert {k: (v.shape, v.dtype) for k, v in own.items()} == {
        k: (v.shape, v.dtype) for k, v in state.items()
    }


def test_seeded_weights_repeat(seeded, digest):
    model = seeded(SEGMENTATION_2025)["model"]
    assert digest(model) == digest(build()["model"])
    bits = model.backbone.layers[0].blocks[0].gamma_1.numpy().astype("<f4").tobytes()
    assert hashlib.sha256(bits).hexdigest() == (
        "dfefaa7276840a690471565063b212e2e1b0249d294ee8c68b1a42778f1334aa"
    )


def test_seeded_masks_follow_photo_and_prompt(seeded, photos):
    model = seeded(SEGMENTATION_2025)["model"]
    prompts = [text_input(prompt) for prompt in PROMPTS]
    with torch.inference_mode():
        one, another = photos(1024, 1024)[:2]
        first, *others = (model(one, prompt) for prompt in prompts)
        elsewhere = model(another, prompts[0])
        assert torch.equal(model(one, prompts[0]), first)
    for mask in (first, *others, elsewhere):
        assert 0.1 < mask.mean() < 0.95
        assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert (first != elsewhere).float().mean() > 0.1
    assert any((first != mask).float().mean() > 1e-3 for mask in others)


@settings(deadline=None, max_examples=2)
@given(st.integers(64, 512).map(lambda half: 2 * half))
def test_every_allowed_resolution_fits_together(resolution):
    with torch.device("meta"):
        model = XDecoder(resolution)
        image, ids = torch.empty(1, 3, 1024, 1024), torch.empty(2, 1, 77, dtype=torch.int32)
        assert model(image, ids).shape == (1024, 1024)


@pytest.mark.parametrize("resolution", [0, -256, 126, 127, 255, 1025, 1026])
def test_other_resolutions_are_refused(resolution):
    with pytest.raises(SubmissionError) as raised:
        build(resolution=resolution)
    assert raised.value.problem == f"resolution {resolution} is not allowed"
    assert "128 to 1024" in raised.value.remedy


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("backbone.norm3.bias"), "1 missing (backbone.norm3.bias)"),
        (lambda s: s.update(head=torch.ones(1)), "1 unexpected (head)"),
        (
            lambda s: s.update({"sem_seg_head.predictor.query_feat.weight": torch.ones(201, 512)}),
            "query_feat.weight is 201x512, not 101x512",
        ),
    ],
)
def test_other_checkpoints_are_refused(state, refusal, change, message):
    assert message in refusal(build, state, change)


def test_another_model_s_checkpoint_is_refused(official, refusal):
    assert "722 missing" in refusal(build, official("pidnet_s"), lambda _: None)


def test_training_only_tensors_are_left_out_and_named(state, tmp_path):
    path = tmp_path / "trained.pth"
    extra = {"criterion.empty_weight": torch.ones(134), "criterion.queue": torch.ones(2)}
    small = {k: torch.zeros((), dtype=v.dtype).expand(v.shape) for k, v in state.items()}
    torch.save({**small, **extra}, path)
    with pytest.warns(
        CheckpointWarning, match=r"trained\.pth: .*criterion\.empty_weight, criterion\.q"
    ):
        model = build(path)["model"]
    assert not any(value.any() for value in model.state_dict().values())
    torch.save(small, path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build(path)
