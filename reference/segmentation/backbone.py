"""FocalNet-T (Yang et al.: Focal Modulation Networks, NeurIPS 2022) as X-Decoder changes it: two
more depthwise convolutions a block, norms after instead of before, and one norm a level.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (96, 192, 384, 768)

_DEPTHS = (2, 2, 6, 2)
_WINDOWS = (3, 5, 7)
_RATIO = 4


class FocalNet(nn.Module):
    """An image to four maps, at strides 4, 8, 16 and 32.

    Odd sizes round up, for each convolution's own padding reaches as far as a map padded to an even
    size would.
    """

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = Patches(3, WIDTHS[0], kernel=7, stride=4)
        wider = (*WIDTHS[1:], None)
        self.layers = nn.ModuleList(map(Stage, WIDTHS, _DEPTHS, wider))
        for level, width in enumerate(WIDTHS):
            self.add_module(f"norm{level}", nn.LayerNorm(width))

    def forward(self, image: Tensor) -> list[Tensor]:
        """1x3xHxW, normalised, to 1xCxH/sxW/s for C in `WIDTHS`, finest first."""
        x = self.patch_embed(image)
        maps = []
        for level, stage in enumerate(self.layers):
            found, x = stage(x)
            maps.append(_channels_first(self.get_submodule(f"norm{level}")(found)))
        return maps


class Stage(nn.Module):
    """The blocks of one level and the step to the next, if there is one."""

    def __init__(self, width: int, depth: int, next_width: int | None) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block(width) for _ in range(depth)))
        self.downsample = Patches(width, next_width, kernel=3, stride=2) if next_width else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """1xHxWxC to what this level found, the same shape, and what the next level starts from."""
        x = self.blocks(x)
        return x, x if self.downsample is None else self.downsample(_channels_first(x))


class Patches(nn.Module):
    """A strided convolution and its norm: 1xCxHxW to 1xhxwxC, channels last."""

    def __init__(self, width: int, next_width: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(width, next_width, kernel, stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(next_width)

    def forward(self, x: Tensor) -> Tensor:
        """1xCxHxW to 1xH/sxW/sxC."""
        out: Tensor = self.norm(_channels_last(self.proj(x)))
        return out


class Block(nn.Module):
    """Focal modulation, then an MLP; the norm comes after each sum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dw1 = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.modulation = Modulation(width)
        self.gamma_1 = nn.Parameter(torch.empty(width))
        self.norm1 = nn.LayerNorm(width)
        self.dw2 = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.mlp = Mlp(width)
        self.gamma_2 = nn.Parameter(torch.empty(width))
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """1xHxWxC to the same."""
        x = x + _channels_last(self.dw1(_channels_first(x)))
        x = self.norm1(x + self.gamma_1 * self.modulation(x))
        x = x + _channels_last(self.dw2(_channels_first(x)))
        out: Tensor = self.norm2(x + self.gamma_2 * self.mlp(x))
        return out


class Modulation(nn.Module):
    """Each position's query times a context that widens level by level, each level gated."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.parts = [width, width, len(_WINDOWS) + 1]
        self.f = nn.Linear(width, sum(self.parts))
        self.focal_layers = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, window, padding=window // 2, groups=width, bias=False),
                nn.GELU(),
            )
            for window in _WINDOWS
        )
        self.h = nn.Conv2d(width, width, 1)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """1xHxWxC to the same."""
        query, context, gates = torch.split(_channels_first(self.f(x)), self.parts, dim=1)
        levels = []
        for layer in self.focal_layers:
            context = layer(context)
            levels.append(context)
        levels.append(F.gelu(context.mean((2, 3), keepdim=True)))
        gated = [
            level * gate
            for level, gate in zip(levels, gates.chunk(len(levels), dim=1), strict=True)
        ]
        context = (gated[0] + gated[1] + gated[2] + gated[3]) / len(gated)
        out: Tensor = self.proj(_channels_last(query * self.h(context)))
        return out


class Mlp(nn.Module):
    """Two linear layers with GELU, by the error function, between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, _RATIO * width)
        self.fc2 = nn.Linear(_RATIO * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """NxC to NxC."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


def _channels_first(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2)


def _channels_last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1)
