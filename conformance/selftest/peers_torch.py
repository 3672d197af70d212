"""Plain PyTorch networks to the tracks' contracts, with random weights seeded by name."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

END_OF_TEXT, LENGTH, VOCABULARY = 49407, 77, 49408
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Normalise(nn.Module):
    """ImageNet's mean and standard deviation, for pixels up to `high`."""

    mean: Tensor
    std: Tensor

    def __init__(self, high: float) -> None:
        super().__init__()
        self.register_buffer("mean", high * torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", high * torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        return (image - self.mean) / self.std


def is_end(ids: Tensor) -> Tensor:
    # With a Python number the exporter compares in int64, and casts the ids.
    return ids.eq(torch.tensor(END_OF_TEXT, dtype=ids.dtype))


def up_to_end(ids: Tensor) -> Tensor:
    """1 for the tokens up to the first end-of-text token, 0 behind it; float32."""
    ended = is_end(ids).float()
    return (torch.cumsum(ended, 1) - ended < 0.5).float()


def shown(image: Tensor) -> Tensor:
    """1 where a letterboxed picture has pixels, 0 in its padding: 1x1xHxW."""
    return image.amax(1, keepdim=True).gt(0).float()


def resized(x: Tensor, *size: int) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class MeanText(nn.Module):
    """The mean token of an encoder that was trained with zeros as padding."""

    def __init__(self, width: int, *, pair: bool = False) -> None:
        super().__init__()
        self.pair = pair
        self.table = nn.Embedding(VOCABULARY, 16)
        self.position = nn.Parameter(torch.zeros(LENGTH, 16))
        self.head = nn.Linear(16, width)

    def forward(self, text: Tensor) -> Tensor:
        ids = text[0] if self.pair else text
        padded = ids * up_to_end(ids).to(ids.dtype)
        tokens = self.table(padded) + self.position
        return self.head(torch.tanh(tokens).mean(1))


class GruText(nn.Module):
    """The state of a recurrent network at the first end-of-text token."""

    def __init__(self, width: int, *, pair: bool = False) -> None:
        super().__init__()
        self.pair = pair
        self.table = nn.Embedding(VOCABULARY, 16)
        self.gru = nn.GRU(16, width, batch_first=True)

    def forward(self, text: Tensor) -> Tensor:
        ids = text[0] if self.pair else text
        states, _ = self.gru(self.table(ids))
        live = up_to_end(ids)
        last = live * is_end(ids).float()
        return (states * last.unsqueeze(-1)).sum(1)


class Unit(nn.Module):
    """An encoder whose embeddings have length 1."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.encoder(x), dim=-1)


class ConvImage(nn.Module):
    """A small convolutional encoder with an average pool at its end."""

    def __init__(self, width: int, high: float) -> None:
        super().__init__()
        self.normalise = Normalise(high)
        self.body = nn.Sequential(conv(3, 16, 4), conv(16, 32, 2), conv(32, 64, 2))
        self.head = nn.Linear(64 * 4, width)

    def forward(self, image: Tensor) -> Tensor:
        features = self.body(self.normalise(image))
        side = features.shape[-1] // 2
        return self.head(F.avg_pool2d(features, side).flatten(1))


class Block(nn.Module):
    """A transformer layer of one head."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.mix(self.first(x)).chunk(3, -1)
        attention = torch.softmax(q @ k.transpose(1, 2) / q.shape[-1] ** 0.5, -1)
        x = x + self.out(attention @ v)
        return x + self.mlp(self.second(x))


class VitImage(nn.Module):
    """A vision transformer that cuts its patches with a reshape and embeds them with a MatMul.

    The mean and the scale of the pixels are folded into the embedding.
    """

    def __init__(self, width: int, patch: int = 32, hidden: int = 48) -> None:
        super().__init__()
        self.patch, self.tokens = patch, (224 // patch) ** 2
        self.embed = nn.Linear(3 * patch * patch, hidden)
        self.position = nn.Parameter(torch.zeros(self.tokens, hidden))
        self.body = nn.Sequential(Block(hidden), Block(hidden))
        self.head = nn.Linear(hidden, width)

    def forward(self, image: Tensor) -> Tensor:
        side = 224 // self.patch
        cut = image.reshape(3, side, self.patch, side, self.patch).permute(1, 3, 0, 2, 4)
        patches = cut.reshape(1, self.tokens, -1)
        return self.head(self.body(self.embed(patches) + self.position).mean(1))


class UNet(nn.Module):
    """Three scales with skips; an optional vector shifts and scales the deepest features."""

    def __init__(self, outputs: int, condition: int = 0) -> None:
        super().__init__()
        self.down = nn.ModuleList([conv(3, 8, 2), conv(8, 16, 2), conv(16, 32, 2)])
        self.up = nn.ModuleList([conv(48, 16), conv(24, 8)])
        self.film = nn.Linear(condition, 64) if condition else None
        self.last = nn.Conv2d(8, outputs, 1)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        skips = []
        for stage in self.down:
            x = stage(x)
            skips.append(x)
        if self.film is not None:
            scale, shift = self.film(condition).view(1, 64, 1, 1).chunk(2, 1)
            x = x * (1 + scale) + shift
        for stage, skip in zip(self.up, skips[-2::-1], strict=True):
            x = stage(torch.cat((resized(x, *skip.shape[-2:]), skip), 1))
        return self.last(x)


class SegmentationUNet(nn.Module):
    """Background and foreground scores moved by the text; the mask is the ArgMax of the two."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise = Normalise(255)
        self.text = MeanText(16, pair=True)
        self.net = UNet(2, 16)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        x = F.avg_pool2d(self.normalise(image), 4)
        scores = self.net(x, self.text(text))
        scores = resized(scores - scores.mean((2, 3), keepdim=True), 1024, 1024)
        return (scores.argmax(1, keepdim=True).float() * shown(image))[0, 0]


class SegmentationQuery(nn.Module):
    """Pixel features against one query from a GRU; Sigmoid above 0.5, written with Where."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise = Normalise(255)
        self.text = GruText(16, pair=True)
        self.net = UNet(16)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        pixels = self.net(F.avg_pool2d(self.normalise(image), 4))
        scores = (pixels * self.text(text).view(1, 16, 1, 1)).sum(1, keepdim=True)
        inside = torch.sigmoid(resized(scores - scores.mean(), 1024, 1024)) > 0.5
        one = shown(image)
        return torch.where(inside, one, torch.zeros_like(one))[0, 0]


class DepthUNet(nn.Module):
    """Depth above a ramp from far (top) to near (bottom); ends as `end` says."""

    def __init__(self, end: str) -> None:
        super().__init__()
        self.end = end
        self.normalise = Normalise(255)
        self.net = UNet(1)
        self.register_buffer("ramp", torch.linspace(1, -1, 480).view(1, 1, 480, 1))

    def forward(self, image: Tensor) -> Tensor:
        depth = resized(torch.tanh(self.net(self.normalise(image))), 480, 640) + self.ramp
        if self.end == "clamp":
            return (depth / 4 + 0.5).clamp(0, 1)
        if self.end == "sigmoid":
            return torch.sigmoid(depth)
        low = depth.amin((1, 2, 3), keepdim=True)
        span = depth.amax((1, 2, 3), keepdim=True) - low
        return (depth - low) / span.clamp(min=1e-3)


class Half(nn.Module):
    """A module in float16 between a cast at each end."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner.half()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.half() if x.is_floating_point() else x).float()
