"""Depth in colours from near to far, and how far two maps are apart."""

import numpy as np

from reference import pictures as draw
from reference.depth.dataset import Truth
from reference.pictures import Array, Drawing, Legend, Pixels, Scale, Where, value_range

NOTE = "The colour bar runs over the values of each picture: depth is relative."
_DEPTH, _DIFFERENCE = "viridis", "inferno"


def answer(photo: Pixels, output: Array) -> Drawing:
    """A map of relative depth, (..., H, W)."""
    depth = _map(output)
    return _drawn(depth, np.ones(depth.shape, bool), "relative depth", draw.odd(depth))


def truth(photo: Pixels, truth: Truth) -> Drawing:
    """True depth, black where it has no confidence."""
    sure = truth.confidence > 0
    legend = draw.told(~sure, "confidence 0", draw.BLACK)
    return _drawn(truth.depth, sure, "millimetres", legend)


def difference(host: Array, other: Array) -> Drawing:
    """Two maps of depth in the colours of the first one's values, and how far they are apart."""
    maps = [_map(output) for output in (host, other)]
    apart = np.abs(maps[0] - maps[1])
    largest, odd = value_range(apart)[1], draw.odd(apart)
    panels = [draw.coloured(depth, *value_range(maps[0]), _DEPTH) for depth in maps]
    panels.append(draw.coloured(apart, 0, largest, _DIFFERENCE))
    words = draw.listed(f"largest difference {largest:.3g}", odd)
    scale = Scale(draw.stops(_DIFFERENCE), "0", f"{largest:.3g}", "difference, right picture")
    return Drawing(tuple(panels), words, words, odd, scale)


def _map(output: Array) -> Array:
    return np.asarray(output, np.float64).reshape(output.shape[-2:])


def _drawn(depth: Array, known: Where, meaning: str, legend: Legend) -> Drawing:
    low, high = value_range(depth[known])
    panel = draw.painted(draw.coloured(depth, low, high, _DEPTH), ~known, draw.BLACK)
    alt = f"its depth, from {low:.4g} (dark violet) to {high:.4g} (yellow)"
    scale = Scale(draw.stops(_DEPTH), f"{low:.4g}", f"{high:.4g}", meaning)
    return Drawing((panel,), draw.listed(alt, legend), legend=legend, scale=scale)
