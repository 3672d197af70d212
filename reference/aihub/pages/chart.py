"""The layers of a profile as bars: what takes the time, and on which unit."""

from collections import Counter
from dataclasses import dataclass

from reference.aihub.tasks import Layer, Profile

_SHOWN = 12


@dataclass(frozen=True)
class Bar:
    """A bar of `width` per cent from `start` on; `unit` is what it is drawn as."""

    name: str
    unit: str
    microseconds: float
    start: float
    width: float


@dataclass(frozen=True)
class Chart:
    """`units` share the whole time, and `layers` are those that take the most of it.

    The widest layer fills the width. `others` is how many are not shown, and `rest` their time.
    """

    units: tuple[Bar, ...]
    layers: tuple[Bar, ...]
    others: int
    rest: float


def unit_of(layer: Layer) -> str:
    """The compute unit, and which part of it where that is known."""
    return layer.part or layer.unit.name


def chart_of(profile: Profile) -> Chart | None:
    """The chart of a profile, None where no layer has a time."""
    timed = [layer for layer in profile.layers if layer.microseconds]
    if not timed:
        return None
    timed.sort(key=_time, reverse=True)
    shares: Counter[str] = Counter()
    for layer in timed:
        shares[unit_of(layer)] += _time(layer)  # type: ignore[assignment]
    whole, start, units = sum(shares.values()), 0.0, []
    for unit, time in shares.most_common():
        units.append(Bar(unit, unit, time, start, 100 * time / whole))
        start += 100 * time / whole
    shown, rest = timed[:_SHOWN], timed[_SHOWN:]
    widest = _time(shown[0])
    return Chart(
        tuple(units),
        tuple(
            Bar(each.name, unit_of(each), _time(each), 0.0, 100 * _time(each) / widest)
            for each in shown
        ),
        len(rest),
        sum(map(_time, rest)),
    )


def _time(layer: Layer) -> float:
    return layer.microseconds or 0.0
