"""Four frames of a clip, and the likeliest classes beside them."""

import numpy as np

from reference import classes
from reference.action.contract import CLASSES
from reference.action.dataset import Truth
from reference.pictures import Array, Drawing, Pixels, Rank

NOTE = "Of each clip four frames; the suite's own clips are pans across photographs, no exercises."

_NAMES = tuple(name.replace("_", " ") for name in CLASSES)


def answer(photo: Pixels, output: Array) -> Drawing:
    """The five likeliest classes of logits (1, 92)."""
    return classes.answer(output, _NAMES)


def truth(photo: Pixels, truth: Truth) -> Drawing:
    """The class of the data set."""
    name = _NAMES[truth.number]
    return Drawing((), f"its class, {name}", ranking=(Rank("is", name, None, classes.RIGHT),))


def difference(host: Array, other: Array) -> Drawing:
    """The logits of two answers as bars, and how far those are apart."""
    one, two = (_NAMES[int(np.argmax(output))] for output in (host, other))
    return classes.difference(host, other, (one, two))
