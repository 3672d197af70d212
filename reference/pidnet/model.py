"""PIDNet-S for Cityscapes, in its inference form, written from the paper (Xu, Xiong, Bhattacharyya:
PIDNet, CVPR 2023). Module names are those of the official checkpoints.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference.pidnet.contract import PIDNET
from reference.recipe import Recipe
from reference.weights import load_strict, read_checkpoint, seed_weights

CLASSES = 19
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

_WIDTH = 32
_POOLED_WIDTH = 96
_HEAD_WIDTH = 128


def build(weights: Path | None = None) -> dict[str, nn.Module]:
    """The track's `model`: 1x3x1024x2048 float32 in [0, 1] to logits 1x19x128x256 float32.

    `weights` is an official PIDNet-S Cityscapes checkpoint; without it the weights are random and
    seeded. Raises SubmissionError for a checkpoint that cannot be used.
    """
    model = CityscapesModel()
    if weights is None:
        seed_weights(model)
    else:
        state = inference_state(read_checkpoint(weights))
        load_strict(model.network, state, source=str(weights))
    return {"model": model.eval().requires_grad_(False)}


def inference_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a training checkpoint that inference needs, under the network's names.

    Training wraps the network as `model` beside its losses and gives it two auxiliary heads.
    """
    stripped = {name.removeprefix("model."): value for name, value in state.items()}
    return {name: value for name, value in stripped.items() if not _training_only(name)}


def _training_only(name: str) -> bool:
    parts = name.split(".")
    return parts[0] in ("seghead_p", "seghead_d") or any(
        part == "criterion" or part.endswith("loss") for part in parts
    )


class CityscapesModel(Recipe):
    """PIDNet-S with the normalisation of its images inside."""

    track = PIDNET
    part = PIDNET.parts[0]

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        self.network = PIDNet()

    def forward(self, image: Tensor) -> Tensor:
        """1x3xHxW float32 in [0, 1] to 1x19xH/8xW/8 logits; H and W are multiples of 8."""
        logits: Tensor = self.network((image - self.mean) / self.std)
        return logits


class PIDNet(nn.Module):
    """Three branches: context (`layer1` to `layer5`, `spp`), detail (`_`) and boundary (`_d`)."""

    def __init__(self) -> None:
        super().__init__()
        w = _WIDTH
        self.conv1 = nn.Sequential(
            nn.Conv2d(3, w, 3, stride=2, padding=1),
            nn.BatchNorm2d(w),
            nn.ReLU(),
            nn.Conv2d(w, w, 3, stride=2, padding=1),
            nn.BatchNorm2d(w),
            nn.ReLU(),
        )
        self.layer1 = _basic_stage(w, w, blocks=2)
        self.layer2 = _basic_stage(w, 2 * w, blocks=2, stride=2)
        self.layer3 = _basic_stage(2 * w, 4 * w, blocks=3, stride=2)
        self.layer4 = _basic_stage(4 * w, 8 * w, blocks=3, stride=2)
        self.layer5 = nn.Sequential(Bottleneck(8 * w, 8 * w, stride=2), Bottleneck(16 * w, 8 * w))

        self.compression3 = _conv_norm(4 * w, 2 * w, kernel=1)
        self.compression4 = _conv_norm(8 * w, 2 * w, kernel=1)
        self.pag3 = PixelAttention(2 * w, w)
        self.pag4 = PixelAttention(2 * w, w)
        self.layer3_ = _basic_stage(2 * w, 2 * w, blocks=2)
        self.layer4_ = _basic_stage(2 * w, 2 * w, blocks=2)
        self.layer5_ = nn.Sequential(Bottleneck(2 * w, 2 * w))

        self.layer3_d = BasicBlock(2 * w, w, relu=False)
        self.layer4_d = nn.Sequential(Bottleneck(w, w))
        self.diff3 = _conv_norm(4 * w, w, kernel=3)
        self.diff4 = _conv_norm(8 * w, 2 * w, kernel=3)
        self.spp = PyramidPooling(16 * w, _POOLED_WIDTH, 4 * w)
        self.dfm = BoundaryFusion(4 * w)
        self.layer5_d = nn.Sequential(Bottleneck(2 * w, 2 * w))
        self.final_layer = Head(4 * w, _HEAD_WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised 1x3xHxW to 1x19xH/8xW/8 logits."""
        context = self.layer1(self.conv1(x))
        context = F.relu(self.layer2(F.relu(context)))
        detail, boundary = self.layer3_(context), self.layer3_d(context)

        context = F.relu(self.layer3(context))
        detail = self.pag3(detail, self.compression3(context))
        boundary = boundary + _resize(self.diff3(context), boundary)

        context = F.relu(self.layer4(context))
        detail = self.pag4(self.layer4_(F.relu(detail)), self.compression4(context))
        boundary = self.layer4_d(F.relu(boundary))
        boundary = boundary + _resize(self.diff4(context), boundary)

        detail, boundary = self.layer5_(F.relu(detail)), self.layer5_d(F.relu(boundary))
        context = _resize(self.spp(self.layer5(context)), boundary)
        logits: Tensor = self.final_layer(self.dfm(detail, context, boundary))
        return logits


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; `relu` says whether the sum is rectified."""

    def __init__(self, inputs: int, width: int, *, stride: int = 1, relu: bool = True) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, width, kernel=3, stride=stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, kernel=3)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        """BxCxHxW to Bx(width)xH/stridexW/stride."""
        branch = F.relu(self.bn1(self.conv1(x)))
        total: Tensor = self.bn2(self.conv2(branch)) + self.downsample(x)
        return F.relu(total) if self.relu else total


class Bottleneck(nn.Module):
    """1x1, 3x3 and a widening 1x1 convolution and a shortcut; the sum is not rectified."""

    def __init__(self, inputs: int, width: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, width, kernel=1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, kernel=3, stride=stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _conv(width, 2 * width, kernel=1)
        self.bn3 = nn.BatchNorm2d(2 * width)
        self.downsample = _shortcut(inputs, 2 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """BxCxHxW to Bx(2 width)xH/stridexW/stride."""
        branch = F.relu(self.bn1(self.conv1(x)))
        branch = F.relu(self.bn2(self.conv2(branch)))
        total: Tensor = self.bn3(self.conv3(branch)) + self.downsample(x)
        return total


class PixelAttention(nn.Module):
    """Pag: each pixel of the detail branch takes from the context as far as the two agree."""

    def __init__(self, width: int, key_width: int) -> None:
        super().__init__()
        self.f_x = _conv_norm(width, key_width, kernel=1)
        self.f_y = _conv_norm(width, key_width, kernel=1)

    def forward(self, detail: Tensor, context: Tensor) -> Tensor:
        """Both of one width, the context of a lower resolution; a tensor like the detail."""
        agreement = self.f_x(detail) * _resize(self.f_y(context), detail)
        share = torch.sigmoid(agreement.sum(dim=1, keepdim=True))
        return (1 - share) * detail + share * _resize(context, detail)


class PyramidPooling(nn.Module):
    """PAPPM: five scales of pooling, put together in parallel."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.scale1 = nn.Sequential(nn.AvgPool2d(5, 2, 2), *_norm_conv(inputs, width))
        self.scale2 = nn.Sequential(nn.AvgPool2d(9, 4, 4), *_norm_conv(inputs, width))
        self.scale3 = nn.Sequential(nn.AvgPool2d(17, 8, 8), *_norm_conv(inputs, width))
        self.scale4 = nn.Sequential(nn.AdaptiveAvgPool2d(1), *_norm_conv(inputs, width))
        self.scale0 = _norm_conv(inputs, width)
        self.scale_process = _norm_conv(4 * width, 4 * width, kernel=3, groups=4)
        self.compression = _norm_conv(5 * width, outputs)
        self.shortcut = _norm_conv(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """BxCxHxW to Bx(outputs)xHxW."""
        local = self.scale0(x)
        pools = (self.scale1, self.scale2, self.scale3, self.scale4)
        scales = self.scale_process(torch.cat([_resize(pool(x), x) + local for pool in pools], 1))
        pooled: Tensor = self.compression(torch.cat([local, scales], 1)) + self.shortcut(x)
        return pooled


class BoundaryFusion(nn.Module):
    """Light-Bag: detail counts where there is a boundary, context elsewhere."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_p = _conv_norm(width, width, kernel=1)
        self.conv_i = _conv_norm(width, width, kernel=1)

    def forward(self, detail: Tensor, context: Tensor, boundary: Tensor) -> Tensor:
        """Three tensors of one shape to a fourth."""
        edge = torch.sigmoid(boundary)
        from_detail: Tensor = self.conv_p(detail + (1 - edge) * context)
        from_context: Tensor = self.conv_i(context + edge * detail)
        return from_detail + from_context


class Head(nn.Module):
    """The class logits."""

    def __init__(self, inputs: int, width: int, classes: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = _conv(inputs, width, kernel=3)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """BxCxHxW to Bx(classes)xHxW."""
        x = self.conv1(F.relu(self.bn1(x)))
        logits: Tensor = self.conv2(F.relu(self.bn2(x)))
        return logits


def _conv(inputs: int, outputs: int, *, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution that keeps the size but for its stride; a normalisation holds its bias."""
    return nn.Conv2d(
        inputs, outputs, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False
    )


def _conv_norm(inputs: int, outputs: int, *, kernel: int, stride: int = 1) -> nn.Sequential:
    conv = _conv(inputs, outputs, kernel=kernel, stride=stride)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


def _norm_conv(inputs: int, outputs: int, *, kernel: int = 1, groups: int = 1) -> nn.Sequential:
    conv = _conv(inputs, outputs, kernel=kernel, groups=groups)
    return nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(), conv)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return _conv_norm(inputs, outputs, kernel=1, stride=stride)


def _basic_stage(inputs: int, width: int, *, blocks: int, stride: int = 1) -> nn.Sequential:
    """Basic blocks, the first with the stride; the last leaves the rectifying to its reader."""
    first = BasicBlock(inputs, width, stride=stride)
    rest = (BasicBlock(width, width, relu=index < blocks) for index in range(2, blocks + 1))
    return nn.Sequential(first, *rest)


def _resize(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=False)
