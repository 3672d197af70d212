"""The prompt's embedding: CLIP's text transformer with norms of its own."""

import torch
from torch import Tensor, nn

from reference.segmentation.attention import MASKED, WIDTH, Attention

_VOCABULARY = 49408
_LENGTH = 77
_LAYERS = 12
_EPSILON = 1e-12


class LanguageEncoder(nn.Module):
    """Token ids to the embedding of the prompt, and the temperature of its similarities."""

    def __init__(self) -> None:
        super().__init__()
        self.lang_encoder = TextTransformer()
        self.lang_proj = nn.Parameter(torch.empty(WIDTH, WIDTH))
        self.logit_scale = nn.Parameter(torch.empty(()))

    def forward(self, ids: Tensor) -> Tensor:
        """77 token ids to 1x512, not normalised: read at the first end of text, the highest id."""
        tokens = self.lang_encoder(ids)
        end = ids.argmax(dim=0, keepdim=True)
        out: Tensor = tokens.index_select(0, end) @ self.lang_proj
        return out


class TextTransformer(nn.Module):
    """Twelve layers; each token sees itself and those before it."""

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        mask = torch.full((_LENGTH, _LENGTH), MASKED).triu(1)
        self.register_buffer("mask", mask, persistent=False)
        self.token_embedding = nn.Embedding(_VOCABULARY, WIDTH)
        self.positional_embedding = nn.Parameter(torch.empty(_LENGTH, WIDTH))
        self.resblocks = nn.ModuleList(ResidualBlock() for _ in range(_LAYERS))
        self.ln_final = nn.LayerNorm(WIDTH, _EPSILON)

    def forward(self, ids: Tensor) -> Tensor:
        """77 token ids to 77x512."""
        x = self.token_embedding(ids) + self.positional_embedding
        for block in self.resblocks:
            x = block(x, self.mask)
        out: Tensor = self.ln_final(x)
        return out


class ResidualBlock(nn.Module):
    """Attention and MLP, each after its norm."""

    def __init__(self) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(WIDTH, _EPSILON)
        self.attn = Attention()
        self.ln_2 = nn.LayerNorm(WIDTH, _EPSILON)
        self.mlp = nn.ModuleDict(
            {"c_fc": nn.Linear(WIDTH, 4 * WIDTH), "c_proj": nn.Linear(4 * WIDTH, WIDTH)}
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """77x512 and what is added to the attention scores to 77x512."""
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, mask)
        hidden = self.mlp["c_fc"](self.ln_2(x))
        out: Tensor = x + self.mlp["c_proj"](hidden * torch.sigmoid(1.702 * hidden))
        return out
