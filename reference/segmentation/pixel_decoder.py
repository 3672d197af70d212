"""The backbone's maps brought to one width: a transformer over the coarsest, then top-down sums."""

import torch.nn.functional as F
from torch import Tensor, nn

from reference.segmentation.attention import WIDTH, Attention, FeedForward, sine_positions
from reference.segmentation.backbone import WIDTHS

_LAYERS = 6
_GROUPS = 32


class PixelDecoder(nn.Module):
    """Four maps to three levels for the mask decoder, and the features that masks are made of.

    `side` is the edge of the coarsest map.
    """

    positions: Tensor

    def __init__(self, side: int) -> None:
        super().__init__()
        self.register_buffer("positions", sine_positions(side, side), persistent=False)
        self.input_proj = nn.Conv2d(WIDTHS[3], WIDTH, 1)
        layers = nn.ModuleList(EncoderLayer() for _ in range(_LAYERS))
        self.transformer = nn.ModuleDict({"encoder": nn.ModuleDict({"layers": layers})})
        self.layer_4 = NormedConv(WIDTH, 3)
        self.adapter_3, self.layer_3 = NormedConv(WIDTHS[2], 1), NormedConv(WIDTH, 3)
        self.adapter_2, self.layer_2 = NormedConv(WIDTHS[1], 1), NormedConv(WIDTH, 3)
        self.adapter_1, self.layer_1 = NormedConv(WIDTHS[0], 1), NormedConv(WIDTH, 3)
        self.mask_features = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)

    def forward(self, maps: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        """The backbone's maps, finest first, to levels of strides 32, 16, 8 and mask features.

        All are 1x512xhxw; the mask features have stride 4.
        """
        x = self.input_proj(maps[3])
        tokens = x.flatten(2)[0].T
        for layer in self.transformer.get_submodule("encoder.layers").children():
            tokens = layer(tokens, self.positions)
        levels = [F.relu(self.layer_4(tokens.T.reshape(x.shape)))]
        for map, adapter, layer in (
            (maps[2], self.adapter_3, self.layer_3),
            (maps[1], self.adapter_2, self.layer_2),
            (maps[0], self.adapter_1, self.layer_1),
        ):
            coarser = F.interpolate(levels[-1], map.shape[-2:], mode="nearest")
            levels.append(F.relu(layer(adapter(map) + coarser)))
        return levels[:3], self.mask_features(levels[3])


class NormedConv(nn.Conv2d):
    """A convolution without bias and its group norm, which is in its tensors' names."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__(width, WIDTH, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.GroupNorm(_GROUPS, WIDTH)

    def forward(self, input: Tensor) -> Tensor:
        """1xCxHxW to 1x512xHxW."""
        out: Tensor = self.norm(super().forward(input))
        return out


class EncoderLayer(FeedForward):
    """Self-attention and two linear layers, a norm after each sum."""

    def __init__(self) -> None:
        super().__init__()
        self.self_attn = Attention()
        self.norm1 = nn.LayerNorm(WIDTH)
        self.norm2 = nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """Nx512 tokens and their positions to Nx512."""
        placed = x + positions
        x = self.norm1(x + self.self_attn(placed, placed, x, None))
        out: Tensor = self.norm2(x + self.feed(x))
        return out
