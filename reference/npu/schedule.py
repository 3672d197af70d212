"""Reads the compiler's simulated schedule: when each unit of the NPU is busy, and with which
operator.

Compiled with the profiling level "optrace", a model comes with a trace of the inference that the
compiler simulates, an event for each piece of work, and its binary names the operators.
"""

import json
import struct
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from reference.errors import one_line

MATRIX, VECTOR, DMA, SCALAR = "matrix", "vector", "DMA", "scalar"
UNITS = (MATRIX, VECTOR, DMA, SCALAR)

# Of one event; the DMA of the vector unit's own threads moves data like the other.
_FLAGS = {"uses_hmx": MATRIX, "for_hvx": VECTOR, "for_dma": DMA, "for_hvx_dma": DMA}
_VECTOR_THREADS = 4
_EVENTS = b'"traceEvents":'
_INPUT, _OUTPUT = 2, 3  # numbers of the graph's own ends, which have no operator
_ENDS = {_INPUT: ("(input)", "read"), _OUTPUT: ("(output)", "write")}
_NUMBER = 0xFFFFFFFF  # the low half of an event's id is that of its operator


@dataclass(frozen=True)
class Operator:
    """One operator in the simulated schedule.

    `ms` is its part of the simulated time: each moment is divided evenly between the operators
    that compute in it, and goes to those that move data where none computes. `unit` does most of
    its work, and `moved` are the bytes between DDR memory and the chip. Operators that the compiler
    fuses count as the last of them.
    """

    name: str
    op: str
    unit: str
    ms: float
    moved: int


@dataclass(frozen=True)
class Schedule:
    """Milliseconds in which the units are busy, and what each operator takes of the whole.

    `vector` is the work of all vector threads divided by their number, the others are the time in
    which the unit works at all. In `alone` one vector thread works, and neither another one nor the
    matrix unit. `kinds` counts the operators of the graph by type.
    """

    matrix: float
    vector: float
    dma: float
    scalar: float
    operators: tuple[Operator, ...]
    kinds: Mapping[str, int]
    alone: float = 0.0


@dataclass(frozen=True)
class _Event:
    unit: str
    operator: int
    start: int
    end: int
    moved: int


def read_schedule(profile: bytes, trace: str, binary: bytes, total_ms: float) -> Schedule | None:
    """The schedule of a compiled model; None where there is none, as for most chips.

    `profile` is the compiler's binary log, `trace` the text of `qnn_op_trace.json`, `binary` the
    context binary and `total_ms` the simulated time, which the last event ends.
    """
    events = list(_events(profile))
    cycles = max((event.end for event in events), default=0)
    if not cycles or not trace:
        return None
    scale = total_ms / cycles
    known = _operators(trace)
    busy = {unit: _union((e.start, e.end) for e in events if e.unit == unit) for unit in UNITS}
    busy[VECTOR] = sum(e.end - e.start for e in events if e.unit == VECTOR) / _VECTOR_THREADS
    matrix, vector, dma, scalar = (busy[unit] * scale for unit in UNITS)
    shares = _shares(events)
    names = {**_ENDS, **_numbers(known, binary)}
    operators = [
        Operator(
            *names.get(number, ("(unnamed)", "unknown")),
            unit=_main_unit(number, events_of),
            ms=shares.get(number, 0.0) * scale,
            moved=sum(event.moved for event in events_of),
        )
        for number, events_of in _by_operator(events).items()
    ]
    operators.sort(key=lambda operator: -operator.ms)
    kinds = dict(Counter(known.values()))
    return Schedule(matrix, vector, dma, scalar, tuple(operators), kinds, _alone(events) * scale)


def _events(profile: bytes) -> Iterator[_Event]:
    """The work in the trace that is embedded in the log, without the counters."""
    start = profile.find(_EVENTS)
    if start < 0:
        return
    # Up to the closing bracket: what follows the JSON is binary again.
    text = profile[start + len(_EVENTS) :].decode(errors="replace").lstrip()
    try:
        found, _ = json.JSONDecoder(strict=False).raw_decode(text)
    except ValueError:
        return
    for event in found:
        facts = event.get("args", {})
        if event.get("ph") == "X" and event["dur"] > 0 and "id" in facts:
            unit = next((_FLAGS[flag] for flag in facts["flags"] if flag in _FLAGS), SCALAR)
            moved = _moved(facts) if unit == DMA else 0
            start, end = int(event["ts"]), int(event["ts"] + event["dur"])
            yield _Event(unit, int(facts["id"], 16) & _NUMBER, start, end, moved)


def _moved(facts: Mapping[str, Any]) -> int:
    widths = facts.get("bw_info", {})
    return int(widths.get("dram_read", 0)) + int(widths.get("dram_write", 0))


def _operators(trace: str) -> dict[str, str]:
    """The type of each NPU operator by its name."""
    parts = json.loads(trace).get("subgraph_traces", ())
    return {
        mapping["dst_name"]: mapping["dst_qnn_op_type"]
        for part in parts
        for mapping in part["op_mappings"]
    }


def _numbers(known: Mapping[str, str], binary: bytes) -> dict[int, tuple[str, str]]:
    """(name, type) by the number under which the trace has an operator.

    The binary keeps records of a number, the distance to a string (4), its length and its text.
    """
    found = {}
    for name, kind in known.items():
        text = name.encode()
        at = binary.find(struct.pack("<II", 4, len(text)) + text)
        if at >= 4:
            found[struct.unpack_from("<I", binary, at - 4)[0]] = (one_line(name), one_line(kind))
    return found


def _by_operator(events: Iterable[_Event]) -> dict[int, list[_Event]]:
    groups = defaultdict(list)
    for event in events:
        groups[event.operator].append(event)
    return groups


def _main_unit(number: int, events: Iterable[_Event]) -> str:
    if number in _ENDS:
        return DMA
    work: Counter[str] = Counter()
    for event in events:
        threads = _VECTOR_THREADS if event.unit == VECTOR else 1
        work[event.unit] += (event.end - event.start) / threads  # type: ignore[assignment]
    return max(UNITS, key=lambda unit: work[unit])


def _union(spans: Iterable[tuple[int, int]]) -> float:
    """The length that the spans cover together."""
    covered, last = 0, 0
    for start, end in sorted(spans):
        covered += max(0, end - max(start, last))
        last = max(last, end)
    return covered


def _alone(events: Iterable[_Event]) -> int:
    """The cycles in which one vector thread works, and nothing else computes."""
    changes = sorted(
        (moment, step, event.unit)
        for event in events
        if event.unit in (MATRIX, VECTOR)
        for moment, step in ((event.start, 1), (event.end, -1))
    )
    active = Counter({MATRIX: 0, VECTOR: 0})
    alone = last = 0
    for moment, step, unit in changes:
        if active[VECTOR] == 1 and not active[MATRIX]:
            alone += moment - last
        active[unit] += step
        last = moment
    return alone


def _shares(events: Iterable[_Event]) -> dict[int, float]:
    """The cycles of each operator, by sweeping over the moments in which something changes."""
    changes = sorted(
        (moment, step, event.unit in (MATRIX, VECTOR), event.operator)
        for event in events
        for moment, step in ((event.start, 1), (event.end, -1))
    )
    active: dict[bool, Counter[int]] = {True: Counter(), False: Counter()}
    shares: dict[int, float] = defaultdict(float)
    last = 0
    for moment, group in groupby(changes, key=lambda change: change[0]):
        working = active[True] or active[False]
        for operator in working:
            shares[operator] += (moment - last) / len(working)
        last = moment
        for _, step, computes, operator in group:
            active[computes][operator] += step
            if not active[computes][operator]:
                del active[computes][operator]
    return shares
