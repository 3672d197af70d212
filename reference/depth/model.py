"""Depth-Anything-V2 ViT-S as the 2025 sample solution changes it: preparation and normalisation are
inside the model. The layers are those of transformers, the weights the official ones.
"""

import re
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference.depth.contract import DEPTH_2025
from reference.hugging_face import (
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
)
from reference.recipe import Recipe
from reference.weights import (
    check_keys,
    checkpoint_shapes,
    load_strict,
    read_checkpoint,
    seed_weights,
)

# LPCVC 2025 Track 3 sample solution, README section 2; ImageNet's, times 255.
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)

_SIZE = 518  # the resolution that the position embedding was trained for
_PATCHES = _SIZE // 14
_TAPS = (2, 5, 8, 11)  # the blocks whose tokens the head reads

# Official names to those of transformers, for the tensors that are renamed only.
_RENAMED = (
    (r"^pretrained\.(cls_token|mask_token)$", r"embeddings.\1"),
    (r"^pretrained\.pos_embed$", "embeddings.position_embeddings"),
    (r"^pretrained\.patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
    (r"^pretrained\.norm\.", "norm."),
    (r"^pretrained\.blocks\.", "blocks."),
    (r"\.attn\.proj\.", ".attention.o_proj."),
    (r"\.ls([12])\.gamma$", r".layer_scale\1.lambda1"),
    (r"^depth_head\.projects\.(\d)\.", r"neck.reassemble_stage.layers.\1.projection."),
    (r"^depth_head\.resize_layers\.(\d)\.", r"neck.reassemble_stage.layers.\1.resize."),
    (r"\.resConfUnit([12])\.conv([12])\.", r".residual_layer\1.convolution\2."),
    (r"\.out_conv\.", ".projection."),
    (r"^depth_head\.scratch\.output_conv1\.", "head.conv1."),
    (r"^depth_head\.scratch\.output_conv2\.0\.", "head.conv2."),
    (r"^depth_head\.scratch\.output_conv2\.2\.", "head.conv3."),
)


def build(weights: Path | None = None, *, safe: bool = True) -> dict[str, nn.Module]:
    """The track's `model`: 1x3x480x640 float32 in 0..255 to relative depth 1x1x480x640 in [0, 1].

    `weights` is the official depth_anything_v2_vits.pth; without it the weights are random and
    seeded. `safe` keeps a constant depth map finite; the sample solution gives NaN there (E12).
    Raises SubmissionError for a checkpoint that cannot be used.
    """
    model = DepthModel(safe=safe)
    if weights is None:
        seed_weights(model)
        # The last layer reads rectified features; of one sign, it cannot leave a map of zeros.
        model.head.conv3.weight.data.abs_()
    else:
        official = read_checkpoint(weights)
        check_keys(checkpoint_shapes("dav2_vits"), official, source=str(weights))
        load_strict(model, convert(official), source=str(weights))
    return {"model": model.eval().requires_grad_(False)}


class DepthModel(Recipe):
    """The network between a resize to 518x518 and one back to 480x640, then scaled to [0, 1]."""

    track = DEPTH_2025
    part = DEPTH_2025.parts[0]

    mean: Tensor
    std: Tensor

    def __init__(self, *, safe: bool) -> None:
        super().__init__()
        self.safe = safe
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        backbone = Dinov2Config(
            hidden_size=384,
            num_hidden_layers=12,
            num_attention_heads=6,
            mlp_ratio=4,
            hidden_act="gelu",
            layer_norm_eps=1e-6,
            image_size=_SIZE,
            patch_size=14,
            out_indices=[tap + 1 for tap in _TAPS],
            reshape_hidden_states=False,
            attn_implementation="eager",
        )
        config = DepthAnythingConfig(
            backbone_config=backbone,
            reassemble_hidden_size=384,
            neck_hidden_sizes=[48, 96, 192, 384],
            fusion_hidden_size=64,
            head_hidden_size=32,
        )
        network = DepthAnythingForDepthEstimation(config)
        self.embeddings, self.norm = network.backbone.embeddings, network.backbone.layernorm
        self.blocks = network.backbone.encoder.layer
        self.neck, self.head = network.neck, network.head

    def forward(self, image: Tensor) -> Tensor:
        """1x3x480x640 float32 in 0..255 to 1x1x480x640 float32 in [0, 1]."""
        x = F.interpolate(image, (_SIZE, _SIZE), mode="bilinear", align_corners=True)
        depth = F.relu(self.inverse_depth((x - self.mean) / self.std))
        depth = F.interpolate(depth, image.shape[-2:], mode="bilinear", align_corners=True)
        low = depth.min()
        span = depth.max() - low
        if self.safe:
            span = span + (span == 0).to(span.dtype)
        return (depth - low) / span

    def inverse_depth(self, x: Tensor) -> Tensor:
        """Normalised 1x3x518x518 to the network's own 1x1x518x518, larger is nearer (E13).

        The backbone runs block by block: traced whole, it would resample its position embedding in
        the graph, though at 518x518 there is nothing to resample.
        """
        embeddings = self.embeddings
        tokens = torch.cat((embeddings.cls_token, embeddings.patch_embeddings(x)), dim=1)
        tokens = tokens + embeddings.position_embeddings
        taps = []
        for index, block in enumerate(self.blocks):
            tokens = block(tokens)
            if index in _TAPS:
                taps.append(self.norm(tokens))
        maps = self.neck(taps, _PATCHES, _PATCHES)
        depth: Tensor = self.head(maps, _PATCHES, _PATCHES).unsqueeze(1)
        return depth


def convert(official: dict[str, Tensor]) -> dict[str, Tensor]:
    """The official tensors under the names of transformers, with q, k and v apart."""
    state: dict[str, Tensor] = {}
    for name, value in official.items():
        # The official head counts maps and fusions from the finest, transformers fusions from the
        # coarsest.
        target = re.sub(
            r"^depth_head\.scratch\.layer(\d)_rn\.",
            lambda m: f"neck.convs.{int(m[1]) - 1}.",
            name,
        )
        target = re.sub(
            r"^depth_head\.scratch\.refinenet(\d)\.",
            lambda m: f"neck.fusion_stage.layers.{4 - int(m[1])}.",
            target,
        )
        for pattern, replacement in _RENAMED:
            target = re.sub(pattern, replacement, target)
        if ".attn.qkv." in target:
            for letter, third in zip("qkv", value.chunk(3), strict=True):
                state[target.replace(".attn.qkv.", f".attention.{letter}_proj.")] = third
        else:
            state[target] = value
    return state
