"""A picture beside the texts that are nearest to it."""

from collections.abc import Mapping, Sequence

import numpy as np

from reference.datasets.items import Item
from reference.pictures import Array, Drawing, Pixels, Rank, css
from reference.scores import Result

_RIGHT, _WRONG, _MISSED = (20, 120, 60), (230, 60, 20), (90, 90, 90)


def nearest(
    photo: Pixels, embedding: Array, texts: Sequence[str], gallery: Array, most: int
) -> Drawing:
    """The texts nearest to a picture by cosine; `gallery` (M, D) has an embedding of each."""
    cosines = (_unit(gallery) @ _unit(embedding.reshape(1, -1)).T)[:, 0]
    order = np.argsort(-cosines, kind="stable")[:most]
    ranking = tuple(
        Rank(str(place), texts[i], round(float(cosines[i]), 4)) for place, i in enumerate(order, 1)
    )
    told = "; ".join(f"{rank.place}: {rank.text}, {rank.value:.3f}" for rank in ranking)
    return Drawing((photo,), told, ranking=ranking, unit="cosine")


def ranked(photo: Pixels, items: Mapping[str, Sequence[Item]], result: Result) -> Drawing:
    """What was found for a picture of a data set, and which of its texts were not.

    `items` are those of both parts; `result` is the picture's, from the ranking of the metric.
    """
    texts = items["text"]
    own = next(item for item in items["image"] if item.id == result.item)
    wanted = set(own.truth)
    top = [] if result.array is None else [texts[int(number)] for number in result.array]
    missed = [text for text in texts if text.group in wanted - {each.group for each in top}]
    ranking = tuple(
        Rank(str(place), text.text, colour=_RIGHT if text.group in wanted else _WRONG)
        for place, text in enumerate(top, 1)
    ) + tuple(Rank("-", text.text, colour=_MISSED) for text in missed)
    legend = (
        (css(_RIGHT), "belongs to the picture"),
        (css(_WRONG), "does not"),
        (css(_MISSED), "belongs to it and is not found"),
    )
    return Drawing((photo,), "the texts nearest to it", legend=legend, ranking=ranking)


def _unit(rows: Array) -> Array:
    numbers = np.asarray(rows, np.float64)
    return np.asarray(numbers / np.maximum(np.linalg.norm(numbers, axis=1, keepdims=True), 1e-12))
