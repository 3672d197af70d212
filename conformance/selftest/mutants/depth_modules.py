"""Depth in PyTorch: a model that keeps every rule, and the same with one defect each."""

import numpy as np
import torch
from torch import nn


class Depth(nn.Module):
    """Brightness above a ramp."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("ramp", torch.linspace(2, -2, 480).reshape(1, 1, 480, 1))
        self.calls = 0

    def forward(self, image):
        grey = torch.tanh((image.mean(1, keepdim=True) - 118) / 58)
        return self.finish(torch.sigmoid(grey + self.ramp), image)

    def finish(self, depth, image):
        return depth


class Unseeded(Depth):
    def __init__(self) -> None:
        super().__init__()
        noise = np.random.default_rng().normal(1, 0.1)
        self.gain = nn.Parameter(torch.tensor(noise, dtype=torch.float32))
        self.register_buffer("offset", 0.01 * torch.rand(1), persistent=False)

    def finish(self, depth, image):
        return (depth * 0.5 * self.gain + self.offset).clamp(0, 1)


class Drifting(Depth):
    def finish(self, depth, image):
        self.calls += 1
        return depth * (1 - 1e-6 * self.calls)


class Branching(Depth):
    def finish(self, depth, image):
        return depth * 0.5 if image.mean() > 110 else depth
