"""Networks of the transformers library, small and with random weights, to the tracks' contracts."""

import torch
from torch import Tensor, nn
from transformers import (
    CLIPSegConfig,
    CLIPSegForImageSegmentation,
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    ConvNextConfig,
    ConvNextModel,
    DPTConfig,
    DPTForDepthEstimation,
    GLPNConfig,
    GLPNForDepthEstimation,
    SegformerConfig,
    SegformerForSemanticSegmentation,
)

from conformance.selftest.peers_torch import (
    END_OF_TEXT,
    LENGTH,
    VOCABULARY,
    MeanText,
    Normalise,
    resized,
    shown,
)

_TEXT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": LENGTH,
    "eos_token_id": END_OF_TEXT,
    "bos_token_id": END_OF_TEXT - 1,
    "pad_token_id": END_OF_TEXT,
    "attn_implementation": "eager",
}
_VISION = {
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "attn_implementation": "eager",
}


class ClipImage(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.normalise = Normalise(1)
        config = CLIPVisionConfig(**_VISION, image_size=224, patch_size=16, projection_dim=width)
        self.clip = CLIPVisionModelWithProjection(config)

    def forward(self, image: Tensor) -> Tensor:
        return self.clip(self.normalise(image)).image_embeds


class ClipText(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.clip = CLIPTextModelWithProjection(CLIPTextConfig(**_TEXT, projection_dim=width))

    def forward(self, text: Tensor) -> Tensor:
        return self.clip(text).text_embeds


class ConvNextImage(nn.Module):
    """The draft's image encoder: 1024 pixels a side, 0..255."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.normalise = Normalise(255)
        config = ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], patch_size=8)
        self.body = ConvNextModel(config)
        self.head = nn.Linear(32, width)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.body(self.normalise(image)).pooler_output)


class ClipSeg(nn.Module):
    """A mask decoder conditioned on a CLIP text embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise = Normalise(255)
        config = CLIPSegConfig(
            text_config=_TEXT,
            vision_config=_VISION | {"image_size": 224, "patch_size": 16},
            projection_dim=24,
            reduce_dim=16,
            extract_layers=[0, 1],
            decoder_num_attention_heads=2,
            decoder_intermediate_size=32,
            attn_implementation="eager",
        )
        self.net = CLIPSegForImageSegmentation(config)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        x = resized(self.normalise(image), 224, 224)
        logits = self.net(input_ids=text[0], pixel_values=x).logits.reshape(1, 1, 224, 224)
        inside = resized(logits - logits.mean(), 1024, 1024).sigmoid().gt(0.5).float()
        return (inside * shown(image))[0, 0]


class SegFormer(nn.Module):
    """The pixel features of SegFormer against an averaged text."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise = Normalise(255)
        config = SegformerConfig(
            depths=[1, 1, 1, 1],
            hidden_sizes=[8, 16, 24, 32],
            num_attention_heads=[1, 1, 2, 2],
            decoder_hidden_size=32,
            num_labels=16,
            attn_implementation="eager",
        )
        self.net = SegformerForSemanticSegmentation(config)
        self.text = MeanText(16, pair=True)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        pixels = self.net(resized(self.normalise(image), 512, 512)).logits
        scores = torch.einsum("bchw,bc->bhw", pixels, self.text(text)).unsqueeze(1)
        inside = resized(scores - scores.mean(), 1024, 1024) >= 0
        return torch.where(inside, shown(image), 0.0)[0, 0]


class Glpn(nn.Module):
    """GLPN's depth, which ends in a sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise = Normalise(255)
        config = GLPNConfig(
            depths=[1, 1, 1, 1],
            hidden_sizes=[8, 16, 24, 32],
            num_attention_heads=[1, 1, 2, 2],
            decoder_hidden_size=16,
            max_depth=1,
            attn_implementation="eager",
        )
        self.net = GLPNForDepthEstimation(config)

    def forward(self, image: Tensor) -> Tensor:
        return self.net(self.normalise(image)).predicted_depth.reshape(1, 1, 480, 640)


class Dpt(nn.Module):
    """A dense prediction transformer of another input size, min-max normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise = Normalise(255)
        config = DPTConfig(
            **_VISION | {"num_hidden_layers": 4},
            image_size=256,
            patch_size=16,
            backbone_out_indices=[0, 1, 2, 3],
            neck_hidden_sizes=[8, 8, 16, 16],
            reassemble_factors=[4, 2, 1, 0.5],
            fusion_hidden_size=16,
            head_in_index=-1,
        )
        self.net = DPTForDepthEstimation(config)

    def forward(self, image: Tensor) -> Tensor:
        x = resized(self.normalise(image), 256, 256)
        depth = self.net(x).predicted_depth.unsqueeze(1)
        depth = resized(depth, 480, 640)
        low, high = depth.min(), depth.max()
        return (depth - low) / (high - low).clamp(min=1e-6)
