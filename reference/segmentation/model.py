"""X-Decoder Focal-T (Zou et al.: Generalized Decoding for Pixel, Image and Language, CVPR 2023),
the network of the 2025 sample solution and of its winner. Module names are those of the checkpoint.
"""

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from reference.errors import CheckpointWarning, SubmissionError, one_line
from reference.recipe import Recipe
from reference.segmentation.attention import WIDTH
from reference.segmentation.backbone import FocalNet
from reference.segmentation.contract import SEGMENTATION_2025
from reference.segmentation.inputs import CANVAS
from reference.segmentation.mask_decoder import MaskDecoder, resize
from reference.segmentation.pixel_decoder import PixelDecoder
from reference.weights import (
    check_keys,
    checkpoint_shapes,
    load_strict,
    read_checkpoint,
    seed_weights,
)

SAMPLE_RESOLUTION = 256
WINNER_RESOLUTION = 590

# 25LPCVC_Track2_Segmentation_Sample_Solution; ImageNet's, times 255.
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)

_LOWEST, _HIGHEST = 128, 1024
_STRIDES = (32, 16, 8)
_TRAINING_ONLY = "criterion."


def build(
    weights: Path | None = None, *, resolution: int = SAMPLE_RESOLUTION
) -> dict[str, nn.Module]:
    """The track's `model`: image 1x3x1024x1024 float32 in 0..255 and text 2x1x77 int32 to a mask.

    The mask is 1024x1024 float32, exactly 0 or 1. `weights` is the organisers' checkpoint or one
    fine-tuned from it; without it the weights are random and seeded. `resolution` is the edge in
    pixels that the network sees. Raises SubmissionError for a checkpoint that cannot be used and
    for a resolution that is odd or not in 128..1024; warns of tensors that only training needs.
    """
    if resolution % 2 or not _LOWEST <= resolution <= _HIGHEST:
        raise SubmissionError(
            f"resolution {resolution} is not allowed",
            f"choose an even one from {_LOWEST} to {_HIGHEST}; the sample has {SAMPLE_RESOLUTION},"
            f" the winner {WINNER_RESOLUTION}",
        )
    state = None if weights is None else _checked_state(weights)
    model = XDecoder(resolution)
    if state is None:
        seed_weights(model)
        # Of unit variance, as embeddings start in torch: if shorter, all queries become the same.
        model.sem_seg_head.predictor.query_embed.weight.data.mul_(WIDTH**0.5)
    else:
        load_strict(model, state, source=str(weights))
    return {"model": model.eval().requires_grad_(False)}


def _checked_state(weights: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint that the network has; a wrong one is told before it is built."""
    state = _inference_state(read_checkpoint(weights), source=str(weights))
    check_keys(checkpoint_shapes("xdecoder_lpcvc25"), state, source=str(weights))
    return state


def _inference_state(state: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    kept = {k: v for k, v in state.items() if not k.startswith(_TRAINING_ONLY)}
    left_out = ", ".join(name for name in state if name not in kept)
    if left_out:
        note = f"{source}: not loaded, for training only: {left_out}"
        warnings.warn(one_line(note), CheckpointWarning, stacklevel=4)
    return kept


class XDecoder(Recipe):
    """The network between a resize to `resolution` and one back to 1024x1024."""

    track = SEGMENTATION_2025
    part = SEGMENTATION_2025.parts[0]

    mean: Tensor
    std: Tensor

    def __init__(self, resolution: int) -> None:
        super().__init__()
        self.resolution = resolution
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        coarse, middle, fine = (-(-resolution // stride) for stride in _STRIDES)
        self.backbone = FocalNet()
        self.sem_seg_head = Head((coarse, middle, fine))

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """1x3x1024x1024 float32 in 0..255 and 2x1x77 token ids to 1024x1024 float32, 0 or 1."""
        scores, embeddings, features = self.candidates(image, text)
        chosen = embeddings.index_select(0, scores.argmax(dim=0, keepdim=True))
        logits = (chosen @ features.flatten(2)[0]).reshape(1, 1, *features.shape[-2:])
        return (resize(logits, (CANVAS, CANVAS))[0, 0] >= 0).to(image.dtype)

    def candidates(self, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of 100 masks: scores against the prompt, embeddings 100x512 and features 1x512xhxw.

        An embedding times the features is a mask's logits at a quarter of the resolution.
        """
        x = resize((image - self.mean) / self.std, (self.resolution, self.resolution))
        levels, features = self.sem_seg_head.pixel_decoder(self.backbone(x))
        # Row 1 of the text, the attention mask, is never read (E20).
        scores, embeddings = self.sem_seg_head.predictor(levels, features, text[0, 0])
        return scores, embeddings, features


class Head(nn.Module):
    """The two decoders, under the names that the checkpoint gives them."""

    def __init__(self, sides: tuple[int, int, int]) -> None:
        super().__init__()
        self.pixel_decoder = PixelDecoder(sides[0])
        self.predictor = MaskDecoder(sides)
