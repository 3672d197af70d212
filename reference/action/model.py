"""R(2+1)D with 18 layers as the 2026 sample solution uses it, written from the paper (Tran et al.:
A Closer Look at Spatiotemporal Convolutions for Action Recognition, CVPR 2018). Module names and
shapes are those of torchvision's `r2plus1d_18`.
"""

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from reference.action.contract import ACTION_2026, ACTION_2026_NCTHW, CLASSES
from reference.errors import CheckpointWarning
from reference.recipe import Recipe
from reference.weights import load_strict, read_checkpoint, seed_weights

# Kinetics', which the sample solution's export has in its graph.
MEAN = (0.43216, 0.394666, 0.37645)
STD = (0.22803, 0.22145, 0.216989)

_STEM = 45  # channels between the two convolutions of the stem
_WIDTHS = (64, 128, 256, 512)
_HEAD = ("fc.weight", "fc.bias")


def build(weights: Path | None = None) -> dict[str, nn.Module]:
    """The track's `model`: 1x16x112x112x3 float32 in [0, 1] to logits 1x92 float32.

    `weights` is a state dict of torchvision's `r2plus1d_18`, such as the sample solution's
    checkpoint. One of other classes, such as Kinetics' 400, is loaded but for its head, which stays
    random, with a CheckpointWarning. Without `weights` all are random and seeded. Raises
    SubmissionError for a checkpoint that cannot be used.
    """
    return {"model": build_network(weights, channels_last=True)}


def build_network(weights: Path | None, *, channels_last: bool) -> nn.Module:
    """The same, of clips with their channels last or ahead of the frames."""
    model = ActionModel(channels_last=channels_last)
    seed_weights(model)
    if weights is not None:
        state = read_checkpoint(weights)
        head = model.network.fc.state_dict(prefix="fc.")
        if _is_another_head(state, head):
            state |= head
            warnings.warn(
                f"{weights} has a head of other classes: that of the {len(CLASSES)} classes is"
                " random",
                CheckpointWarning,
                stacklevel=2,
            )
        load_strict(model.network, state, source=str(weights))
    return model.eval().requires_grad_(False)


def _is_another_head(state: dict[str, Tensor], head: dict[str, Tensor]) -> bool:
    """Whether a checkpoint differs in the number of classes alone."""
    shapes = [(tuple(state[n].shape), tuple(head[n].shape)) for n in _HEAD if n in state]
    return len(shapes) == len(_HEAD) and all(
        found[1:] == own[1:] and found != own for found, own in shapes
    )


class ActionModel(Recipe):
    """R(2+1)D with the normalisation of its clips inside."""

    track = ACTION_2026
    part = ACTION_2026.parts[0]

    mean: Tensor
    std: Tensor

    def __init__(self, *, channels_last: bool) -> None:
        super().__init__()
        self.channels_last = channels_last
        if not channels_last:
            self.track, self.part = ACTION_2026_NCTHW, ACTION_2026_NCTHW.parts[0]
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1, 1), persistent=False)
        self.network = R2Plus1D(len(CLASSES))

    def forward(self, video: Tensor) -> Tensor:
        """1x16x112x112x3, or 1x3x16x112x112, float32 in [0, 1] to 1x92 logits."""
        frames = video.permute(0, 4, 1, 2, 3) if self.channels_last else video
        logits: Tensor = self.network((frames - self.mean) / self.std)
        return logits


class R2Plus1D(nn.Module):
    """The network with 18 layers and a head of `classes`."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        width = _WIDTHS[0]
        self.stem = nn.Sequential(
            *_in_space(3, _STEM, kernel=7, stride=2),
            _in_time(_STEM, width),
            nn.BatchNorm3d(width),
            nn.ReLU(),
        )
        self.layer1 = _layer(width, _WIDTHS[0], stride=1)
        self.layer2 = _layer(_WIDTHS[0], _WIDTHS[1], stride=2)
        self.layer3 = _layer(_WIDTHS[1], _WIDTHS[2], stride=2)
        self.layer4 = _layer(_WIDTHS[2], _WIDTHS[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool3d(1)
        self.fc = nn.Linear(_WIDTHS[3], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised 1x3xTxHxW to logits, one row."""
        x = self.layer2(self.layer1(self.stem(x)))
        x = self.layer4(self.layer3(x))
        logits: Tensor = self.fc(self.avgpool(x).flatten(1))
        return logits


class Block(nn.Module):
    """Two convolutions, each parted into space and time, beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        # So that both parts have as many weights as one kernel of 3x3x3; the second pair too.
        between = (inputs * outputs * 27) // (inputs * 9 + 3 * outputs)
        self.conv1 = nn.Sequential(
            _parted(inputs, outputs, between, stride), nn.BatchNorm3d(outputs), nn.ReLU()
        )
        self.conv2 = nn.Sequential(_parted(outputs, outputs, between, 1), nn.BatchNorm3d(outputs))
        self.relu = nn.ReLU()
        self.downsample = (
            nn.Sequential(
                nn.Conv3d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm3d(outputs)
            )
            if stride != 1
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """1xCxTxHxW to 1xC'xT'xH'xW'."""
        shortcut = x if self.downsample is None else self.downsample(x)
        added: Tensor = self.relu(self.conv2(self.conv1(x)) + shortcut)
        return added


def _layer(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(Block(inputs, outputs, stride), Block(outputs, outputs, 1))


def _parted(inputs: int, outputs: int, between: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        *_in_space(inputs, between, stride=stride), _in_time(between, outputs, stride)
    )


def _in_space(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    """A convolution of each frame for itself."""
    convolution = nn.Conv3d(
        inputs,
        outputs,
        (1, kernel, kernel),
        (1, stride, stride),
        (0, kernel // 2, kernel // 2),
        bias=False,
    )
    return [convolution, nn.BatchNorm3d(outputs), nn.ReLU()]


def _in_time(inputs: int, outputs: int, stride: int = 1) -> nn.Conv3d:
    """A convolution of each pixel over the frames."""
    return nn.Conv3d(inputs, outputs, (3, 1, 1), (stride, 1, 1), (1, 0, 0), bias=False)
