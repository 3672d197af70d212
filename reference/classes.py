"""The likeliest classes of an answer in words and bars, for all tracks that give pictures a class.

Logits are rows (1, C); `names` are the classes' in the order of the logits.
"""

from collections.abc import Sequence

import numpy as np

from reference.pictures import BLACK, Array, Drawing, Pixels, Rank, value_range

SHOWN = 5
RIGHT, WRONG = (20, 120, 60), (230, 60, 20)
_BAR, _HEIGHT = 5, 180


def name_of(number: float, names: Sequence[str]) -> str:
    """`cat`, or `class 80` for one that is not among the names."""
    return names[int(number)] if number in range(len(names)) else f"class {number:g}"


def ranking(logits: Array, names: Sequence[str]) -> tuple[Rank, ...]:
    """The five likeliest classes and their probabilities; none where a value is no number."""
    row = np.asarray(logits, np.float64).reshape(-1)
    with np.errstate(invalid="ignore"):
        powers = np.exp(row - row.max(initial=-np.inf))
        shares = powers / powers.sum()
    if not shares.size or np.isnan(shares).any():
        return ()
    order = np.argsort(-shares, kind="stable")[:SHOWN]
    return tuple(
        Rank(str(place), name_of(int(i), names), round(float(shares[i]), 4))
        for place, i in enumerate(order, 1)
    )


def answer(logits: Array, names: Sequence[str]) -> Drawing:
    """The five likeliest classes, beside a photograph."""
    found = ranking(logits, names)
    if not found:
        return Drawing((), "no class, for a value is not a number")
    told = "; ".join(f"{rank.place}: {rank.text}, {rank.value:.1%}" for rank in found)
    return Drawing((), f"its likeliest classes: {told}", ranking=found, unit="probability")


def difference(host: Array, other: Array, names: tuple[str, str]) -> Drawing:
    """The logits of two answers as bars, and how far those are apart; `names` are their classes."""
    one, two = (np.asarray(output, np.float64).reshape(-1) for output in (host, other))
    apart = np.abs(one - two)
    low, high = value_range(np.concatenate((one, two)))
    largest = value_range(apart)[1]
    classes = " and ".join(dict.fromkeys(names))
    words = f"{classes}; largest difference {largest:.3g} of {low:.3g}..{high:.3g}"
    panels = (_bars(one, low, high), _bars(two, low, high), _bars(apart, 0.0, high - low))
    return Drawing(panels, f"their difference, as bars on one scale: {words}", words)


def _bars(values: Array, low: float, high: float) -> Pixels:
    """Bars from `low`, at the bottom, to `high`; what is not finite has none."""
    shares = np.where(np.isfinite(values), (values - low) / ((high - low) or 1.0), 0.0)
    heights = np.repeat((shares * _HEIGHT).round(), _BAR)
    filled = np.arange(_HEIGHT, 0, -1)[:, None] <= heights
    filled[:, _BAR - 1 :: _BAR] = False
    return np.where(filled[..., None], np.array(BLACK, np.uint8), np.uint8(255))
