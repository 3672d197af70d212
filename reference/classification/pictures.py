"""The likeliest classes beside the photograph, and the logits of two answers as bars."""

from collections.abc import Mapping, Sequence

import numpy as np

from reference.classification.contract import CLASSES
from reference.classification.metric import predicted, softmax
from reference.datasets.items import Item
from reference.pictures import BLACK, Array, Drawing, Pixels, Rank, css, value_range
from reference.scores import Result

NOTE = "Probabilities are the evaluator's softmax. Two photographs show no class of the track."

_SHOWN = 5
_RIGHT, _WRONG = (20, 120, 60), (230, 60, 20)
_BAR, _HEIGHT = 5, 180


def answer(photo: Pixels, output: Array) -> Drawing:
    """The five likeliest classes of logits (1, 64)."""
    ranking = _best(output)
    if not ranking:
        return Drawing((), "no class, for a value is not a number")
    told = "; ".join(f"{rank.place}: {rank.text}, {rank.value:.1%}" for rank in ranking)
    return Drawing((), f"its likeliest classes: {told}", ranking=ranking, unit="probability")


def truth(photo: Pixels, truth: float) -> Drawing:
    """The class of the data set."""
    return Drawing((photo,), f"its class, {_name(truth)}")


def difference(host: Array, other: Array) -> Drawing:
    """The logits of two answers as bars, and how far those are apart."""
    one, two = (np.asarray(output, np.float64).reshape(-1) for output in (host, other))
    apart = np.abs(one - two)
    low, high = value_range(np.concatenate((one, two)))
    largest = value_range(apart)[1]
    names = [_name(predicted(output)) for output in (one, two)]
    classes = names[0] if names[0] == names[1] else f"{names[0]} and {names[1]}"
    words = f"{classes}; largest difference {largest:.3g} of {low:.3g}..{high:.3g}"
    panels = (_bars(one, low, high), _bars(two, low, high), _bars(apart, 0.0, high - low))
    return Drawing(panels, f"their difference, as bars on one scale: {words}", words)


def ranked(photo: Pixels, items: Mapping[str, Sequence[Item]], result: Result) -> Drawing:
    """What was found for a picture of a data set, and its class.

    `items` are those of the one part; `result` is the picture's, with its logits.
    """
    own = next(item for each in items.values() for item in each if item.id == result.item)
    wanted = _name(float(own.truth))
    logits = np.asarray([] if result.array is None else result.array)
    best = [
        Rank(rank.place, f"{rank.text} {rank.value:.1%}", rank.value, _judged(rank.text, wanted))
        for rank in (_best(logits) if logits.size else ())
    ]
    legend = ((css(_RIGHT), f"the picture's class, {wanted}"), (css(_WRONG), "another"))
    return Drawing((photo,), "its likeliest classes", legend=legend, ranking=tuple(best))


def _judged(name: str, wanted: str) -> tuple[int, int, int]:
    return _RIGHT if name == wanted else _WRONG


def _best(logits: Array) -> tuple[Rank, ...]:
    shares = softmax(np.asarray(logits, np.float64).reshape(-1))
    if np.isnan(shares).any():
        return ()
    order = np.argsort(-shares, kind="stable")[:_SHOWN]
    return tuple(
        Rank(str(place), _name(int(i)), round(float(shares[i]), 4))
        for place, i in enumerate(order, 1)
    )


def _name(number: float) -> str:
    return CLASSES[int(number)] if number in range(len(CLASSES)) else f"class {number:g}"


def _bars(values: Array, low: float, high: float) -> Pixels:
    """Bars from `low`, at the bottom, to `high`; what is not finite has none."""
    shares = np.where(np.isfinite(values), (values - low) / ((high - low) or 1.0), 0.0)
    heights = np.repeat((shares * _HEIGHT).round(), _BAR)
    filled = np.arange(_HEIGHT, 0, -1)[:, None] <= heights
    filled[:, _BAR - 1 :: _BAR] = False
    return np.where(filled[..., None], np.array(BLACK, np.uint8), np.uint8(255))
