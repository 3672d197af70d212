"""The likeliest classes beside the photograph, and the logits of two answers as bars."""

from collections.abc import Mapping, Sequence

import numpy as np

from reference import classes
from reference.classes import RIGHT, WRONG, name_of
from reference.classification.contract import CLASSES
from reference.classification.metric import predicted
from reference.datasets.items import Item
from reference.pictures import Array, Drawing, Pixels, Rank, css
from reference.scores import Result

NOTE = "Probabilities are the evaluator's softmax. Two photographs show no class of the track."


def answer(photo: Pixels, output: Array) -> Drawing:
    """The five likeliest classes of logits (1, 64)."""
    return classes.answer(output, CLASSES)


def truth(photo: Pixels, truth: float) -> Drawing:
    """The class of the data set."""
    return Drawing((photo,), f"its class, {name_of(truth, CLASSES)}")


def difference(host: Array, other: Array) -> Drawing:
    """The logits of two answers as bars, and how far those are apart."""
    one, two = (name_of(predicted(output), CLASSES) for output in (host, other))
    return classes.difference(host, other, (one, two))


def ranked(photo: Pixels, items: Mapping[str, Sequence[Item]], result: Result) -> Drawing:
    """What was found for a picture of a data set, and its class.

    `items` are those of the one part; `result` is the picture's, with its logits.
    """
    own = next(item for each in items.values() for item in each if item.id == result.item)
    wanted = name_of(float(own.truth), CLASSES)
    logits = np.asarray([] if result.array is None else result.array)
    best = [
        Rank(
            rank.place,
            f"{rank.text} {rank.value:.1%}",
            rank.value,
            RIGHT if rank.text == wanted else WRONG,
        )
        for rank in classes.ranking(logits, CLASSES)
    ]
    legend = ((css(RIGHT), f"the picture's class, {wanted}"), (css(WRONG), "another"))
    return Drawing((photo,), "its likeliest classes", legend=legend, ranking=tuple(best))
