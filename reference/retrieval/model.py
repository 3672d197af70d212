"""CLIP ViT-B/16 as the 2026 sample solution uses it: an image and a text encoder whose cosine ranks
the texts of an image. The layers and their names are those of transformers, the weights OpenAI's.
"""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reference.hugging_face import CLIPConfig, CLIPModel
from reference.recipe import Recipe
from reference.retrieval.contract import RETRIEVAL_2026
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

PATCH = 16  # ai-hub-models, openai_clip/model.py, which the sample exports
_PATCHES = (PATCH, 32)
_EDGE = 224
_LENGTH = 77
# Stands for -inf in the causal mask: exactly 0 after softmax, and within float16, where the lowest
# float32 is not.
_MASKED = -1e4

# The kernel that cuts a picture into patches, as transformers and as OpenAI name it.
_KERNELS = ("vision_model.embeddings.patch_embedding.weight", "visual.conv1.weight")
# OpenAI's names to those of transformers.
_RENAMED = (
    (r"^visual\.", "vision_model."),
    (r"^(?!vision_model|text_projection|logit_scale)", "text_model."),
    (r"\.class_embedding$", ".embeddings.class_embedding"),
    (r"\.positional_embedding$", ".embeddings.position_embedding.weight"),
    (r"\.conv1\.", ".embeddings.patch_embedding."),
    (r"\.token_embedding\.", ".embeddings.token_embedding."),
    (r"\.ln_pre\.", ".pre_layrnorm."),
    (r"\.ln_post\.", ".post_layernorm."),
    (r"\.ln_final\.", ".final_layer_norm."),
    (r"^vision_model\.proj$", "visual_projection.weight"),
    (r"^text_projection$", "text_projection.weight"),
    (r"\.transformer\.resblocks\.", ".encoder.layers."),
    (r"\.attn\.out_proj\.", ".self_attn.out_proj."),
    (r"\.ln_([12])\.", r".layer_norm\1."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)
_TURNED = ("visual_projection.weight", "text_projection.weight")
# No weights: three numbers of OpenAI's archives, and counters that transformers saved once.
_NUMBERS = ("input_resolution", "context_length", "vocab_size")
_COUNTERS = ("text_model.embeddings.position_ids", "vision_model.embeddings.position_ids")


def build(weights: Path | None = None, *, normalise: bool = True) -> dict[str, nn.Module]:
    """The track's `image` (1x3x224x224 float32 in [0, 1]) and `text` (1x77 ids, int32 or int64).

    Each gives a 1x512 float32 embedding that is not normalised. `weights` is OpenAI's ViT-B-16.pt
    or ViT-B-32.pt, or a checkpoint of either with its keys or with those of transformers; the file
    decides which of the two it is. Without it ViT-B/16 has random, seeded weights. `normalise`
    applies CLIP's mean and standard deviation inside; the sample solution does so nowhere (E32).
    Raises SubmissionError for a checkpoint that cannot be used.
    """
    state = {} if weights is None else _named_alike(read_checkpoint(weights), source=str(weights))
    # ViT-B/32 but for the patches: what transformers takes where nothing is said.
    config = CLIPConfig(
        vision_config={"patch_size": _patch(state), "image_size": _EDGE},
        text_config={"max_position_embeddings": _LENGTH},
        attn_implementation="eager",
    )
    with torch.device("meta"):  # no weights that are replaced at once
        clip = CLIPModel(config)
    clip.to_empty(device="cpu")
    for tower in (clip.text_model, clip.vision_model):
        tower.embeddings.position_ids = None  # the encoders count for themselves
    encoders = {"image": ImageEncoder(clip, normalise=normalise), "text": TextEncoder(clip)}
    if state:
        load_strict(clip, state, source=str(weights))
    else:
        seed_weights(nn.ModuleDict(encoders))
    return {name: encoder.eval().requires_grad_(False) for name, encoder in encoders.items()}


def _patch(state: dict[str, Tensor]) -> int:
    """The edge of a patch in pixels, of a checkpoint for which there is an encoder."""
    edges = [state[name].shape[-1] for name in _KERNELS if name in state and state[name].ndim]
    return next((edge for edge in edges if edge in _PATCHES), PATCH)


def _named_alike(state: dict[str, Tensor], *, source: str) -> dict[str, Tensor]:
    """A checkpoint with the names of transformers. Raises SubmissionError for another model's."""
    if any(name.startswith("vision_model.") for name in state):
        return {name: value for name, value in state.items() if name not in _COUNTERS}
    official = {name: value for name, value in state.items() if name not in _NUMBERS}
    patch = _patch(official)
    shapes = checkpoint_shapes("clip_vitb32") | {
        "visual.conv1.weight": (768, 3, patch, patch),
        "visual.positional_embedding": ((_EDGE // patch) ** 2 + 1, 768),
    }
    check_keys(shapes, official, source=source)
    return convert(official)


class ImageEncoder(Recipe):
    """The vision transformer of `clip`, whose weights it shares; it can normalise its images."""

    track = RETRIEVAL_2026
    part = RETRIEVAL_2026.parts[0]

    mean: Tensor
    std: Tensor

    def __init__(self, clip: Any, *, normalise: bool) -> None:
        super().__init__()
        self.normalise = normalise
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        vision = clip.vision_model
        self.embeddings, self.first_norm = vision.embeddings, vision.pre_layrnorm
        self.layers, self.last_norm = vision.encoder.layers, vision.post_layernorm
        self.projection = clip.visual_projection

    def forward(self, image: Tensor) -> Tensor:
        """1x3x224x224 float32 in [0, 1] to 1x512 float32."""
        pixels = (image - self.mean) / self.std if self.normalise else image
        patches = self.embeddings.patch_embedding(pixels)
        first = self.embeddings.class_embedding.view(1, 1, -1)
        tokens = torch.cat((first, patches.flatten(2).transpose(1, 2)), dim=1)
        tokens = self.first_norm(tokens + self.embeddings.position_embedding.weight)
        for layer in self.layers:
            tokens = layer(tokens, None)
        embedding: Tensor = self.projection(self.last_norm(tokens[:, 0]))
        return embedding


class TextEncoder(Recipe):
    """The causal text transformer of `clip`, whose weights it shares.

    Its embedding is read at the first end-of-text token.
    """

    track = RETRIEVAL_2026
    part = RETRIEVAL_2026.parts[1]

    mask: Tensor

    def __init__(self, clip: Any) -> None:
        super().__init__()
        mask = torch.full((1, 1, _LENGTH, _LENGTH), _MASKED).triu(1)
        self.register_buffer("mask", mask, persistent=False)
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


def convert(official: dict[str, Tensor]) -> dict[str, Tensor]:
    """OpenAI's tensors as transformers has them: q, k, v apart, projections turned."""
    state: dict[str, Tensor] = {}
    for name, value in official.items():
        target = name
        for pattern, replacement in _RENAMED:
            target = re.sub(pattern, replacement, target)
        if ".attn.in_proj_" in target:
            for letter, third in zip("qkv", value.chunk(3), strict=True):
                state[target.replace(".attn.in_proj_", f".self_attn.{letter}_proj.")] = third
        else:
            state[target] = value.T if target in _TURNED else value
    return state
