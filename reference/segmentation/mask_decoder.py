"""Queries that look at the picture and at the prompt, and become masks.

Three things are as the organisers' checkpoint was trained, though none was meant (E20, E21, E30):
see `attention_bias`, `self_bias` and `_SPARED`.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference.segmentation.attention import (
    MASKED,
    WIDTH,
    Attention,
    FeedForward,
    sine_positions,
)
from reference.segmentation.text_encoder import LanguageEncoder

_LAYERS = 9
_LEVELS = 3
_OBJECTS = 100  # object queries, copied as grounding queries
_LEARNED = _OBJECTS + 1  # the last is the class query
_QUERIES = _LEARNED + _OBJECTS
# The row whose mask is cleared: meant for the class query, which is the row before (E30).
_SPARED = _LEARNED
_BUFFER = 178  # rows of the checkpoint's mask: the learned queries and 77 of a caption
_EPSILON = 1e-7
_HIGHEST_SCALE = 100.0


class MaskDecoder(nn.Module):
    """The language encoder and nine layers of queries. `sides` are the levels' edges, coarse first.

    Rows 0..99 are object queries, 100 the class query, 101..200 the grounding queries that answer.
    """

    positions_0: Tensor
    positions_1: Tensor
    positions_2: Tensor
    spared: Tensor
    self_attn_mask: Tensor

    def __init__(self, sides: tuple[int, int, int]) -> None:
        super().__init__()
        for level, side in enumerate(sides):
            self.register_buffer(f"positions_{level}", sine_positions(side, side), persistent=False)
        spared = torch.ones(_QUERIES, 1)
        spared[_SPARED] = 0
        self.register_buffer("spared", spared, persistent=False)
        self.register_buffer("self_attn_mask", torch.zeros(1, _BUFFER, _BUFFER, dtype=torch.bool))
        self.lang_encoder = LanguageEncoder()
        self.level_embed = nn.Embedding(_LEVELS, WIDTH)
        self.query_feat = nn.Embedding(_LEARNED, WIDTH)
        self.query_embed = nn.Embedding(_LEARNED, WIDTH)
        layers = range(_LAYERS)
        self.transformer_cross_attention_layers = nn.ModuleList(CrossAttention() for _ in layers)
        self.transformer_self_attention_layers = nn.ModuleList(SelfAttention() for _ in layers)
        self.transformer_ffn_layers = nn.ModuleList(Ffn() for _ in layers)
        self.decoder_norm = nn.LayerNorm(WIDTH)
        self.mask_embed = MaskEmbedding()
        self.class_embed = nn.Parameter(torch.empty(WIDTH, WIDTH))

    def forward(self, levels: list[Tensor], features: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """How well each grounding query fits the prompt, 100, and its mask embedding, 100x512.

        `levels` are 1x512xhxw, coarse first, `features` 1x512xHxW, `ids` 77 token ids.
        """
        prompt = self.lang_encoder(ids)
        places = [self.get_buffer(f"positions_{level}") for level in range(_LEVELS)]
        memories = [
            level.flatten(2)[0].T + self.level_embed.weight[index]
            for index, level in enumerate(levels)
        ]
        # Masks are linear in the features: to resize these once is to resize every mask.
        targets = [resize(features, level.shape[-2:]).flatten(2)[0] for level in levels]

        query = _with_copies(self.query_feat.weight)
        place = _with_copies(self.query_embed.weight)
        place_and_prompt = torch.cat((place, prompt))
        token = prompt
        for index in range(_LAYERS):
            level = index % _LEVELS
            bias = self.attention_bias(query, targets[level])
            cross = self.transformer_cross_attention_layers[index]
            query = cross(query, place, memories[level], places[level], bias)
            both = torch.cat((query, token))
            both = self.transformer_self_attention_layers[index](
                both, place_and_prompt, self.self_bias()
            )
            both = self.transformer_ffn_layers[index](both)
            query, token = both[:_QUERIES], both[_QUERIES:]
        answer = self.decoder_norm(query[_LEARNED:])
        return self.similarity(answer @ self.class_embed, prompt), self.mask_embed(answer)

    def attention_bias(self, query: Tensor, features: Tensor) -> Tensor:
        """What is added to the scores of the cross-attention, 201xN, for features of 512xN.

        Inverted (E21): attention falls on what the query's mask leaves out, logits below 0. A query
        whose mask has all or nothing there attends everywhere, as if it had none.
        """
        outside = (self.mask_embedding(query) @ features < 0).to(query.dtype) * self.spared
        # The sample resets rows by index, which Qualcomm's compiler leaves to the CPU, and a row of
        # -10000 throughout loses its scores in float16; by the maximum, it is a row of zeros.
        return (outside - 1) * -MASKED * outside.amax(1, keepdim=True)

    def mask_embedding(self, query: Tensor) -> Tensor:
        """201x512: of the class query, what the mean of the objects like it would have."""
        x = self.decoder_norm(query)
        unit = _unit(x)
        objects, copies = x[:_OBJECTS], x[_LEARNED:]
        likeness = (unit[_OBJECTS:_LEARNED] @ unit[:_OBJECTS].T).softmax(1)
        out: Tensor = self.mask_embed(torch.cat((objects, likeness @ objects, copies)))
        return out

    def self_bias(self) -> Tensor:
        """202x202, for the queries and the prompt's token.

        Two blocks (E21): objects and class query, whose own mask is the checkpoint's, and grounding
        queries and token, all of which see each other. So the objects do not reach the answer.
        """
        learned = self.self_attn_mask[0, :_LEARNED, :_LEARNED].to(self.spared.dtype)
        apart, together = torch.ones_like(learned), torch.zeros_like(learned)
        blocked = torch.cat(
            (torch.cat((learned, apart), dim=1), torch.cat((apart, together), dim=1))
        )
        return blocked * MASKED

    def similarity(self, captions: Tensor, prompt: Tensor) -> Tensor:
        """Scaled cosine of 100x512 captions and the 1x512 prompt, 100."""
        scale = self.lang_encoder.logit_scale.exp().clamp(max=_HIGHEST_SCALE)
        return (_unit(captions) @ _unit(prompt).T)[:, 0] * scale


class CrossAttention(nn.Module):
    """Queries look at one level of the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.multihead_attn = Attention()
        self.norm = nn.LayerNorm(WIDTH)

    def forward(
        self, query: Tensor, place: Tensor, memory: Tensor, places: Tensor, bias: Tensor
    ) -> Tensor:
        """Queries and their positions 201x512, memory and its positions Nx512, bias 201xN."""
        seen = self.multihead_attn(query + place, memory + places, memory, bias)
        out: Tensor = self.norm(query + seen)
        return out


class SelfAttention(nn.Module):
    """Queries and the prompt's token look at each other."""

    def __init__(self) -> None:
        super().__init__()
        self.self_attn = Attention()
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor, place: Tensor, bias: Tensor) -> Tensor:
        """Nx512, its positions and an NxN bias to Nx512."""
        placed = x + place
        out: Tensor = self.norm(x + self.self_attn(placed, placed, x, bias))
        return out


class Ffn(FeedForward):
    """Two linear layers and a norm after the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Nx512 to Nx512."""
        out: Tensor = self.norm(x + self.feed(x))
        return out


class MaskEmbedding(nn.Module):
    """Three linear layers with ReLU between them."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """Nx512 to Nx512."""
        first, second, third = self.layers
        out: Tensor = third(F.relu(second(F.relu(first(x)))))
        return out


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear, pixel centres at halves, not antialiased: 1xCxhxw to 1xCxHxW."""
    return F.interpolate(x, list(size), mode="bilinear", align_corners=False)


def _with_copies(learned: Tensor) -> Tensor:
    return torch.cat((learned, learned[:_OBJECTS]))


def _unit(x: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return x / (length + _EPSILON)
