"""What became of each entry of a baseline: better, same, worse, changed, missing or new."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from conformance.regression.entries import Answer, Entry, Nodes, Number, Output
from conformance.regression.fingerprint import distance
from conformance.regression.tolerances import Noise, noise_of

Status = Literal["same", "better", "worse", "changed", "missing", "new"]

_LOST = ("worse", "changed", "missing")
_NAMES_SHOWN = 3


@dataclass(frozen=True)
class Change:
    """What became of one entry; `text` says it in a line, and `fails` whether it is too much.

    `amount` is in the unit of the entry's tolerance.
    """

    key: str
    status: Status
    amount: float
    text: str
    fails: bool


def compare(
    before: Mapping[str, Entry],
    after: Mapping[str, Entry],
    tolerances: Sequence[tuple[str, float]] = (),
) -> list[Change]:
    """Every entry of either side, in order of the keys.

    `tolerances` are patterns of keys with the bound of each, the last that matches counts. Without
    one the bound is the entry's noise. Worse is what fails beyond the bound, and so are an entry
    that is missing and one that changed where no direction is better.
    """
    return [
        _compared(key, before.get(key), after.get(key), tolerances)
        for key in sorted(before.keys() | after.keys())
    ]


def _compared(
    key: str,
    before: Entry | None,
    after: Entry | None,
    tolerances: Sequence[tuple[str, float]],
) -> Change:
    noise = noise_of(key)
    own = [bound for pattern, bound in tolerances if fnmatchcase(key, pattern)]
    bound = own[-1] if own else noise.bound
    if before is None:
        return Change(key, "new", 0.0, "not in the baseline", fails=False)
    status, amount, text = _measured(before, after, noise)
    if status in ("better", "worse", "changed") and amount <= min(bound, noise.bound):
        return Change(key, "same", amount, text, fails=False)
    fails = status in _LOST and amount > bound
    if status in ("worse", "changed"):
        text += f" (tolerance {bound:g})"
    return Change(key, status, amount, text, fails)


def _measured(before: Entry, after: Entry | None, noise: Noise) -> tuple[Status, float, str]:
    match before, after:
        case _, None:
            return "missing", math.inf, "in the baseline, and not in this run"
        case Answer(), Answer():
            return _answers(before, after)
        case Number(), Number() if before.unit == after.unit and before.better == after.better:
            return _numbers(before, after, noise)
        case Nodes(), Nodes():
            return _nodes(before, after)
        case Output(), Output():
            amount, name = distance(before, after)
            seen = f"{_shown(getattr(before, name))} -> {_shown(getattr(after, name))}"
            where = "" if name == "fingerprint" else f", {name} {seen}"
            return "changed", amount, f"{amount:.3g} standard deviations away{where}"
    return "changed", math.inf, "recorded in another way"


def _answers(before: Answer, after: Answer) -> tuple[Status, float, str]:
    if before.outcome == after.outcome:
        return "same", 0.0, before.outcome
    text = f"{before.outcome} -> {after.outcome}" + (f": {after.seen}" if after.seen else "")
    if after.outcome == "skip":
        return "missing", 1.0, text
    return "worse" if after.outcome == "fail" else "better", 1.0, text


def _numbers(before: Number, after: Number, noise: Noise) -> tuple[Status, float, str]:
    difference = after.value - before.value
    amount = abs(difference)
    if noise.relative and amount:
        amount = amount / abs(before.value) if before.value else math.inf
    text = f"{before.value:g} -> {after.value:g} {before.unit}".rstrip()
    if noise.relative and math.isfinite(amount):
        text += f" ({difference / abs(before.value or 1):+.2%})"
    if before.interval and after.interval:
        (low, high), (new_low, new_high) = before.interval, after.interval
        if low <= new_high and new_low <= high:
            return "same", 0.0, f"{text}, and the intervals overlap"
    if not before.better:
        return "changed", amount, text
    gained = (difference > 0) == (before.better == "higher")
    return "better" if gained else "worse", amount, text


def _nodes(before: Nodes, after: Nodes) -> tuple[Status, float, str]:
    """Operators are counted, for another export gives the same nodes other names."""
    old, new = (Counter(op for op, _ in side.nodes.values()) for side in (before, after))
    moved, gone = new - old, old - new
    if moved:
        fresh = [
            f"{op} {name!r}: {reason}"
            for name, (op, reason) in after.nodes.items()
            if op in moved and before.nodes.get(name, ("",))[0] != op
        ]
        more = f" and {len(fresh) - _NAMES_SHOWN} more" if len(fresh) > _NAMES_SHOWN else ""
        text = f"moved to the CPU: {'; '.join(fresh[:_NAMES_SHOWN])}{more}"
        return "worse", float(moved.total()), text
    if gone:
        return "better", float(gone.total()), f"no longer on the CPU: {', '.join(sorted(gone))}"
    return "same", 0.0, f"{len(after.nodes)} nodes"


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
