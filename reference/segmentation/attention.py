"""Attention as every transformer of X-Decoder has it, and the positions that it adds."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH = 512
# Stands for -inf in a mask that is added: 0 after softmax, and within float16.
MASKED = -1e4

_HEADS = 8
_HEAD_WIDTH = WIDTH // _HEADS
_HIDDEN = 2048
_TEMPERATURE = 10_000.0


class Attention(nn.Module):
    """The tensors and sums of `nn.MultiheadAttention`, on sequences without a batch axis.

    torch's own is exported to ONNX as some thirty nodes that work out shapes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * WIDTH, WIDTH))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * WIDTH))
        self.out_proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
        """Qx512, Kx512, Kx512 and what is added to the QxK scores of every head, to Qx512."""
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        q, k, v = (
            F.linear(x, weight, shift).reshape(-1, _HEADS, _HEAD_WIDTH).transpose(0, 1)
            for x, weight, shift in zip((query, key, value), weights, biases, strict=True)
        )
        scores = (q * _HEAD_WIDTH**-0.5) @ k.transpose(1, 2)
        if bias is not None:
            scores = scores + bias
        mixed = scores.softmax(-1) @ v
        out: Tensor = self.out_proj(mixed.transpose(0, 1).flatten(1))
        return out


class FeedForward(nn.Module):
    """Two linear layers with ReLU between them, names included."""

    def __init__(self) -> None:
        super().__init__()
        self.linear1 = nn.Linear(WIDTH, _HIDDEN)
        self.linear2 = nn.Linear(_HIDDEN, WIDTH)

    def feed(self, x: Tensor) -> Tensor:
        """Nx512 to Nx512."""
        out: Tensor = self.linear2(F.relu(self.linear1(x)))
        return out


def sine_positions(height: int, width: int) -> Tensor:
    """DETR's position embedding of a map, (height * width)x512: 256 by row, 256 by column."""
    count = WIDTH // 2
    exponents = torch.arange(count).div(2, rounding_mode="floor") * 2 / count

    def axis(size: int) -> Tensor:
        angles = torch.arange(1, size + 1) / (size + 1e-6) * (2 * math.pi)
        angles = angles[:, None] / _TEMPERATURE**exponents
        return torch.stack((angles[:, 0::2].sin(), angles[:, 1::2].cos()), dim=2).flatten(1)

    rows = axis(height)[:, None].expand(height, width, count)
    columns = axis(width)[None].expand(height, width, count)
    return torch.cat((rows, columns), dim=2).flatten(0, 1)
