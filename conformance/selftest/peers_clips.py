"""Plain PyTorch networks of clips, with random weights seeded by name."""

import torch
from torch import Tensor, nn

from reference.action.model import MEAN, STD

CLASSES = 92


class Normalise(nn.Module):
    """Kinetics' mean and standard deviation, along one axis of a clip."""

    mean: Tensor
    std: Tensor

    def __init__(self, axis: int) -> None:
        super().__init__()
        shape = [3 if place == axis else 1 for place in range(5)]
        self.register_buffer("mean", torch.tensor(MEAN).view(shape), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(shape), persistent=False)

    def forward(self, video: Tensor) -> Tensor:
        return (video - self.mean) / self.std


class Framewise(nn.Module):
    """Each frame for itself, and the mean of what is seen of them."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise = Normalise(4)
        self.first = nn.Conv2d(3, 16, 7, 4)
        self.second = nn.Conv2d(16, 32, 3, 2)
        self.head = nn.Linear(32, CLASSES)

    def forward(self, video: Tensor) -> Tensor:
        frames = self.normalise(video).permute(0, 1, 4, 2, 3).flatten(0, 1)
        seen = torch.relu(self.second(torch.relu(self.first(frames))))
        return self.head(seen.mean((2, 3)).mean(0, keepdim=True))


class Stacked(nn.Module):
    """All frames as channels of one picture."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise = Normalise(1)
        self.first = nn.Conv2d(48, 32, 7, 4)
        self.second = nn.Conv2d(32, 32, 3, 2)
        self.head = nn.Linear(32, CLASSES)

    def forward(self, video: Tensor) -> Tensor:
        picture = self.normalise(video).flatten(1, 2)
        seen = torch.relu(self.second(torch.relu(self.first(picture))))
        return self.head(seen.mean((2, 3)))


class Tubelets(nn.Module):
    """Blocks of frames and pixels as tokens, and attention among them."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise = Normalise(4)
        self.blocks = nn.Conv3d(3, 48, (4, 16, 16), (4, 16, 16))
        self.mixed = nn.Linear(48, 3 * 48)
        self.head = nn.Linear(48, CLASSES)

    def forward(self, video: Tensor) -> Tensor:
        clip = self.normalise(video).permute(0, 4, 1, 2, 3)
        tokens = self.blocks(clip).flatten(2).transpose(1, 2)
        query, key, value = self.mixed(tokens).chunk(3, 2)
        weights = torch.softmax(query @ key.transpose(1, 2) / 48**0.5, 2)
        return self.head((tokens + weights @ value).mean(1))


class Small3d(nn.Module):
    """Convolutions over space and time with batch norms, on every second frame."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise = Normalise(1)
        self.layers = nn.Sequential(
            nn.Conv3d(3, 16, (3, 5, 5), (1, 4, 4), (1, 2, 2), bias=False),
            nn.BatchNorm3d(16),
            nn.ReLU(),
            nn.Conv3d(16, 32, 3, 2, 1, bias=False),
            nn.BatchNorm3d(32),
            nn.ReLU(),
            nn.AdaptiveAvgPool3d(1),
        )
        self.head = nn.Linear(32, CLASSES)

    def forward(self, video: Tensor) -> Tensor:
        return self.head(self.layers(self.normalise(video)[:, :, ::2]).flatten(1))
