"""The values that a baseline holds, and how each is written to JSON."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from conformance.rulebook import Outcome

Better = Literal["higher", "lower", ""]


@dataclass(frozen=True)
class Answer:
    """What a rule or the compiler said; `seen` is kept for a failure alone."""

    outcome: Outcome
    seen: str = ""


@dataclass(frozen=True)
class Number:
    """One figure; `better` is empty where neither way is. `interval` is its noise, if known."""

    value: float
    unit: str
    better: Better = ""
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Nodes:
    """Nodes that the NPU left to the CPU: operator and reason by name."""

    nodes: Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class Output:
    """A model's answer to one probe: statistics of the finite values, in the output's own unit.

    `not_finite` counts the others. The fingerprint is the means of 8x8 blocks of a map, the upper
    left first, and of anything else a random projection (`fingerprint.project`).
    """

    dtype: str
    shape: tuple[int, ...]
    not_finite: int
    min: float
    max: float
    mean: float
    std: float
    fingerprint: tuple[float, ...]


Entry = Answer | Number | Nodes | Output

_KINDS: dict[str, type[Entry]] = {
    kind.__name__.lower(): kind for kind in (Answer, Number, Nodes, Output)
}


def to_json(entry: Entry) -> dict[str, Any]:
    """The entry as a JSON object; what is empty is left out."""
    fields = {k: v for k, v in vars(entry).items() if v not in ("", None)}
    return {"kind": type(entry).__name__.lower(), **fields}


def from_json(document: Mapping[str, Any]) -> Entry:
    """The entry that `to_json` wrote.

    Raises KeyError, TypeError or ValueError for anything else.
    """
    kind = _KINDS[document["kind"]]
    given = {name: value for name, value in document.items() if name != "kind"}
    if kind is Answer:
        if given["outcome"] not in ("pass", "fail", "skip"):
            raise ValueError(f"no outcome: {given['outcome']!r}")
        return Answer(given["outcome"], str(given.get("seen", "")))
    if kind is Nodes:
        return Nodes({name: (str(op), str(why)) for name, (op, why) in given["nodes"].items()})
    if kind is Number:
        if (better := given.get("better", "")) not in ("higher", "lower", ""):
            raise ValueError(f"no direction: {better!r}")
        interval = given.get("interval")
        return Number(
            _finite(given["value"]),
            str(given.get("unit", "")),
            better,
            None if interval is None else (_finite(interval[0]), _finite(interval[1])),
        )
    numbers = {name: _finite(given[name]) for name in ("min", "max", "mean", "std")}
    return Output(
        dtype=str(given["dtype"]),
        shape=tuple(int(size) for size in given["shape"]),
        not_finite=int(given["not_finite"]),
        fingerprint=tuple(map(_finite, given["fingerprint"])),
        **numbers,
    )


def short(value: float) -> float:
    """The value to six digits: enough for any tolerance, and short in a file."""
    return float(f"{value:.6g}")


def _finite(value: Any) -> float:
    if isinstance(value, str) or not math.isfinite(number := float(value)):
        raise ValueError(f"no number: {value!r}")
    return number
