"""Classes in the colours of Cityscapes, and where two answers give different ones."""

import numpy as np

from reference import pictures as draw
from reference.pictures import NOT_A_NUMBER, Array, Drawing, Legend, Pixels
from reference.pidnet.cityscapes import CITYSCAPES
from reference.pidnet.metric import IGNORED

NOTE = "Colours of Cityscapes. The suite's photographs are no street scenes."

_RARE = 0.005  # the share of the picture below which a class is not in the legend
_ODD = 254  # beside the classes and what is ignored
_TABLE = np.zeros((256, 3), np.uint8)
_TABLE[: len(CITYSCAPES)] = [colour for _, colour in CITYSCAPES]
_TABLE[_ODD] = NOT_A_NUMBER


def answer(photo: Pixels, output: Array) -> Drawing:
    """The likeliest classes of logits (1, 19, h, w)."""
    return _drawn(_classes(output), draw.odd(output[0].max(axis=0)))


def truth(photo: Pixels, truth: Array) -> Drawing:
    """Train ids (H, W); 255, which does not count, is black."""
    return _drawn(truth)


def difference(host: Array, other: Array) -> Drawing:
    """The classes of two answers, and the pixels that have another in each."""
    one, two = (_classes(output) for output in (host, other))
    odd = (one == _ODD) | (two == _ODD)
    return draw.moved(_TABLE[one], _TABLE[two], (one != two) & ~odd, odd, "have another class")


def _classes(output: Array) -> Array:
    """The likeliest classes; of logits of which the largest is no finite number, none."""
    sure = np.isfinite(output[0].max(axis=0))
    return np.where(sure, output[0].argmax(axis=0), _ODD)


def _drawn(classes: Array, odd: Legend = ()) -> Drawing:
    shares = np.bincount(classes.ravel(), minlength=256)[: len(CITYSCAPES)] / classes.size
    order = [i for i in np.argsort(-shares, kind="stable") if shares[i] >= _RARE]
    legend = (
        *((draw.css(CITYSCAPES[i][1]), f"{CITYSCAPES[i][0]} {shares[i]:.0%}") for i in order),
        *draw.told(classes == IGNORED, "ignored", draw.BLACK),
        *odd,
    )
    alt = f"its classes: {', '.join(name for _, name in legend)}"
    return Drawing((_TABLE[classes],), alt, legend=legend)
