"""Masks over their pictures in grey, and where two of them differ."""

import numpy as np

from reference.pictures import (
    MASK,
    Array,
    Drawing,
    Pixels,
    Where,
    coloured,
    css,
    listed,
    overlay,
    painted,
    told,
)


def answer(photo: Pixels, output: Array) -> Drawing:
    """A mask, numbers of which what is above 0.5 counts, (..., H, W) as the picture."""
    values = output.reshape(output.shape[-2:])
    return _drawn(photo, values > 0.5, np.isnan(values))


def truth(photo: Pixels, truth: Array) -> Drawing:
    """A true mask of 0 and 1, (H, W) as the picture."""
    return _drawn(photo, truth > 0, np.zeros(truth.shape, bool))


def difference(host: Array, other: Array) -> Drawing:
    """Two masks, and the pixels that are in one of them alone."""
    maps = [output.reshape(output.shape[-2:]) for output in (host, other)]
    masks = [np.where(np.isnan(values), np.nan, values > 0.5) for values in maps]
    odd = np.isnan(masks[0]) | np.isnan(masks[1])
    flipped = (masks[0] != masks[1]) & ~odd
    panels = [coloured(mask, 0, 1, "bone") for mask in masks]
    share = f"{flipped.mean():.3%} of the pixels flipped"
    return Drawing(
        (*panels, painted(overlay(panels[0] // 2, flipped), odd)),
        listed(f"{share}, in red", legend=told(odd)),
        listed(share, legend=told(odd)),
        ((css(MASK), share), *told(odd)),
    )


def _drawn(photo: Pixels, mask: Where, odd: Where) -> Drawing:
    share = f"{mask.mean():.1%} of the picture"
    return Drawing(
        (painted(overlay(photo, mask), odd),),
        listed(f"the mask in red: {share}", legend=told(odd)),
        legend=((css(MASK), f"mask, {share}"), *told(odd)),
    )
