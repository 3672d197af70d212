"""Masks over their pictures in grey, and where two of them differ."""

import numpy as np

from reference import pictures as draw
from reference.pictures import Array, Drawing, Pixels, Where


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
    one, two = (np.where(np.isnan(values), np.nan, values > 0.5) for values in maps)
    odd = np.isnan(one) | np.isnan(two)
    first, second = (draw.coloured(mask, 0, 1, "bone") for mask in (one, two))
    return draw.moved(first, second, (one != two) & ~odd, odd, "flipped")


def _drawn(photo: Pixels, mask: Where, odd: Where) -> Drawing:
    share, legend = f"{mask.mean():.1%} of the picture", draw.told(odd)
    return Drawing(
        (draw.painted(draw.overlay(photo, mask), odd),),
        draw.listed(f"the mask in red: {share}", legend),
        legend=((draw.css(draw.MASK), f"mask, {share}"), *legend),
    )
