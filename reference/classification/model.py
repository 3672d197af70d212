"""MobileNetV2 with 64 classes as the 2025 sample solution uses it, written from the paper (Sandler
et al.: MobileNetV2, CVPR 2018). Module names and shapes are torchvision's.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from reference.classification.contract import CLASSES, CLASSIFICATION_2025
from reference.recipe import Recipe
from reference.weights import load_strict, read_checkpoint, seed_weights

# ImageNet's, in the sample's own preprocessing.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

# Expansion, channels, blocks and the first one's stride: table 2 of the paper.
_STAGES = (
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)
_STEM, _LAST = 32, 1280


def build(weights: Path | None = None, *, normalise: bool = True) -> dict[str, nn.Module]:
    """The track's `model`: 1x3x224x224 float32 in [0, 1] to logits 1x64 float32.

    `weights` is a state dict of torchvision's `mobilenet_v2(num_classes=64)`, such as the sample's
    mobilenet_v2_coco.pth, or of the sample's own class around it; without it the weights are random
    and seeded. `normalise` applies the mean and standard deviation inside, which the sample means
    to do and does not (E33). Raises SubmissionError for a checkpoint that cannot be used.
    """
    model = Classifier(normalise=normalise)
    if weights is None:
        seed_weights(model)
    else:
        load_strict(model.network, read_checkpoint(weights), source=str(weights))
    return {"model": model.eval().requires_grad_(False)}


class Classifier(Recipe):
    """MobileNetV2 with the normalisation of its images inside."""

    track = CLASSIFICATION_2025
    part = CLASSIFICATION_2025.parts[0]

    mean: Tensor
    std: Tensor

    def __init__(self, *, normalise: bool = True) -> None:
        super().__init__()
        self.normalise = normalise
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        self.network = MobileNetV2(len(CLASSES))

    def forward(self, image: Tensor) -> Tensor:
        """1x3x224x224 float32 in [0, 1] to 1x64 logits."""
        pixels = (image - self.mean) / self.std if self.normalise else image
        logits: Tensor = self.network(pixels)
        return logits


class MobileNetV2(nn.Module):
    """The network at width 1, with a head of `classes`."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv(3, _STEM, kernel=3, stride=2)]
        width = _STEM
        for expansion, channels, blocks, stride in _STAGES:
            for block in range(blocks):
                first = stride if block == 0 else 1
                layers.append(InvertedResidual(width, channels, first, expansion))
                width = channels
        layers.append(_conv(width, _LAST))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(_LAST, classes))

    def forward(self, x: Tensor) -> Tensor:
        """Normalised 1x3xHxW to logits, one row."""
        logits: Tensor = self.classifier(self.features(x).mean((2, 3)))
        return logits


class InvertedResidual(nn.Module):
    """Expands, filters each channel alone, and projects; adds its input where the shapes allow."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        expand = [_conv(inputs, hidden)] if expansion != 1 else []
        self.conv = nn.Sequential(
            *expand,
            _conv(hidden, hidden, kernel=3, stride=stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """1xCxHxW to 1xC'xH'xW'."""
        projected: Tensor = self.conv(x)
        return x + projected if self.adds else projected


def _conv(
    inputs: int, outputs: int, *, kernel: int = 1, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(),
    )
