"""Depth in colours from near to far, and how far two maps are apart."""

import numpy as np

from reference.depth.dataset import Truth
from reference.pictures import (
    Array,
    Drawing,
    Legend,
    Pixels,
    Scale,
    coloured,
    listed,
    painted,
    stops,
    told,
    value_range,
)

NOTE = "The colour bar runs over the values of each picture: depth is relative."
_DEPTH, _DIFFERENCE = "viridis", "inferno"
_BLACK = (0, 0, 0)


def answer(photo: Pixels, output: Array) -> Drawing:
    """A map of relative depth, (..., H, W)."""
    depth = _map(output)
    return _drawn(
        coloured(depth, *value_range(depth), _DEPTH), depth, "relative depth", _odd(depth)
    )


def truth(photo: Pixels, truth: Truth) -> Drawing:
    """True depth, black where it has no confidence."""
    unsure = truth.confidence == 0
    depth = truth.depth.astype(np.float64)
    low, high = value_range(depth[~unsure])
    panel = painted(coloured(depth, low, high, _DEPTH), unsure, _BLACK)
    return _drawn(panel, depth[~unsure], "millimetres", told(unsure, "confidence 0", _BLACK))


def difference(host: Array, other: Array) -> Drawing:
    """Two maps of depth in the colours of the first one's values, and how far they are apart."""
    maps = [_map(output) for output in (host, other)]
    apart = np.abs(maps[0] - maps[1])
    largest = value_range(apart)[1]
    panels = [coloured(depth, *value_range(maps[0]), _DEPTH) for depth in maps]
    odd = _odd(apart)
    words = listed(f"largest difference {largest:.3g}", legend=odd)
    scale = Scale(stops(_DIFFERENCE), "0", f"{largest:.3g}", "difference, right picture")
    return Drawing((*panels, coloured(apart, 0, largest, _DIFFERENCE)), words, words, odd, scale)


def _map(output: Array) -> Array:
    return np.asarray(output, np.float64).reshape(output.shape[-2:])


def _drawn(panel: Pixels, depth: Array, meaning: str, legend: Legend) -> Drawing:
    low, high = (f"{value:.4g}" for value in value_range(depth))
    alt = f"its depth, from {low} (dark violet) to {high} (yellow)"
    scale = Scale(stops(_DEPTH), low, high, meaning)
    return Drawing((panel,), listed(alt, legend=legend), legend=legend, scale=scale)


def _odd(values: Array) -> Legend:
    infinite = np.isinf(values).any()
    return told(~np.isfinite(values), "not finite" if infinite else "not a number")
