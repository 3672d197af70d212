"""The same network, which takes clips as torchvision's does."""

from pathlib import Path

from torch import nn

from reference.action.model import build_network


def build(weights: Path | None = None) -> dict[str, nn.Module]:
    """As `reference.action.model.build`, of clips 1x3x16x112x112."""
    return {"model": build_network(weights, channels_last=False)}
