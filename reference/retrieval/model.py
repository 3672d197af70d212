"""CLIP ViT-B/32 as the 2026 sample solution uses it: an image and a text encoder whose cosine ranks
the texts of an image. The layers are those of transformers, the weights OpenAI's.
"""

import re
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from reference.weights import (
    check_keys,
    checkpoint_shapes,
    load_strict,
    read_checkpoint,
    seed_weights,
)

# OpenAI CLIP, `_transform`.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)

_LENGTH = 77
# Stands for -inf in the causal mask: exactly 0 after softmax, and within float16, where the lowest
# float32 is not.
_MASKED = -1e4

# OpenAI's names, without `visual.`, to the encoders'.
_RENAMED = (
    (r"^class_embedding$", "embeddings.class_embedding"),
    (r"^positional_embedding$", "embeddings.position_embedding.weight"),
    (r"^conv1\.", "embeddings.patch_embedding."),
    (r"^token_embedding\.", "embeddings.token_embedding."),
    (r"^ln_pre\.", "first_norm."),
    (r"^ln_(post|final)\.", "last_norm."),
    (r"^(text_projection|proj)$", "projection.weight"),
    (r"^transformer\.resblocks\.", "layers."),
    (r"\.attn\.out_proj\.", ".self_attn.out_proj."),
    (r"\.ln_([12])\.", r".layer_norm\1."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)
# Neither encoder reads these: a temperature, and three numbers of the archive form.
_UNUSED = ("logit_scale", "input_resolution", "context_length", "vocab_size")


def build(weights: Path | None = None) -> dict[str, nn.Module]:
    """The track's `image` (1x3x224x224 float32 in [0, 1]) and `text` (1x77 ids, int32 or int64).

    Each gives a 1x512 float32 embedding that is not normalised. `weights` is OpenAI's ViT-B-32.pt
    or a checkpoint with its keys; without it the weights are random and seeded. Raises
    SubmissionError for a checkpoint that cannot be used.
    """
    encoders: dict[str, nn.Module] = {"image": ImageEncoder(), "text": TextEncoder()}
    if weights is None:
        seed_weights(nn.ModuleDict(encoders))
    else:
        official = read_checkpoint(weights)
        shapes = checkpoint_shapes("clip_vitb32")
        for name in _UNUSED:
            official.pop(name, None)
            shapes.pop(name, None)
        check_keys(shapes, official, source=str(weights))
        states = convert(official)
        for name, encoder in encoders.items():
            load_strict(encoder, states[name], source=str(weights))
    return {name: encoder.eval().requires_grad_(False) for name, encoder in encoders.items()}


class ImageEncoder(nn.Module):
    """The vision transformer, with the normalisation of its images inside."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        config = CLIPVisionConfig(
            hidden_size=768,
            intermediate_size=3072,
            num_hidden_layers=12,
            num_attention_heads=12,
            image_size=224,
            patch_size=32,
            projection_dim=512,
            hidden_act="quick_gelu",
            layer_norm_eps=1e-5,
            attn_implementation="eager",
        )
        clip = CLIPVisionModelWithProjection(config)
        vision = clip.vision_model
        self.embeddings, self.first_norm = vision.embeddings, vision.pre_layrnorm
        self.layers, self.last_norm = vision.encoder.layers, vision.post_layernorm
        self.projection = clip.visual_projection

    def forward(self, image: Tensor) -> Tensor:
        """1x3x224x224 float32 in [0, 1] to 1x512 float32."""
        patches = self.embeddings.patch_embedding((image - self.mean) / self.std)
        first = self.embeddings.class_embedding.view(1, 1, -1)
        tokens = torch.cat((first, patches.flatten(2).transpose(1, 2)), dim=1)
        tokens = self.first_norm(tokens + self.embeddings.position_embedding.weight)
        for layer in self.layers:
            tokens = layer(tokens, None)
        embedding: Tensor = self.projection(self.last_norm(tokens[:, 0]))
        return embedding


class TextEncoder(nn.Module):
    """The causal text transformer; its embedding is read at the first end-of-text token."""

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        mask = torch.full((1, 1, _LENGTH, _LENGTH), _MASKED).triu(1)
        self.register_buffer("mask", mask, persistent=False)
        config = CLIPTextConfig(
            vocab_size=49408,
            hidden_size=512,
            intermediate_size=2048,
            num_hidden_layers=12,
            num_attention_heads=8,
            max_position_embeddings=_LENGTH,
            projection_dim=512,
            hidden_act="quick_gelu",
            layer_norm_eps=1e-5,
            attn_implementation="eager",
        )
        clip = CLIPTextModelWithProjection(config)
        text = clip.text_model
        self.embeddings = text.embeddings
        self.layers, self.last_norm = text.encoder.layers, text.final_layer_norm
        self.projection = clip.text_projection

    def forward(self, ids: Tensor) -> Tensor:
        """1x77 token ids to 1x512 float32.

        End of text, 49407, is the highest id, so argmax finds the first. The ids keep their dtype:
        an int32 to int64 cast in the graph is what NPU compilers stumble over.
        """
        tokens = self.embeddings.token_embedding(ids) + self.embeddings.position_embedding.weight
        for layer in self.layers:
            tokens = layer(tokens, self.mask)
        end = ids[0].argmax(dim=0, keepdim=True)
        # Index first: only the one token goes on.
        embedding: Tensor = self.projection(self.last_norm(tokens[0].index_select(0, end)))
        return embedding


def convert(official: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """OpenAI's tensors as state dicts of `image` and `text`: q, k, v apart, projections turned."""
    states: dict[str, dict[str, Tensor]] = {"image": {}, "text": {}}
    for name, value in official.items():
        state = states["image" if name.startswith("visual.") else "text"]
        target = name.removeprefix("visual.")
        for pattern, replacement in _RENAMED:
            target = re.sub(pattern, replacement, target)
        if ".attn.in_proj_" in target:
            for letter, third in zip("qkv", value.chunk(3), strict=True):
                state[target.replace(".attn.in_proj_", f".self_attn.{letter}_proj.")] = third
        else:
            state[target] = value.T if target == "projection.weight" else value
    return states
