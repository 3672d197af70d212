"""Latency estimates as text: a table of devices, what takes the time, and what would help."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from conformance.report.columns import columns
from conformance.submission.graph import megabytes
from reference.errors import one_line
from reference.npu.budget import add_up, judge
from reference.npu.latency import Estimate
from reference.npu.schedule import Operator, Schedule
from reference.npu.simulation import SIMULATED_DEVICE, Simulation

_HEADINGS = ("part", "device", "estimate", "80 % interval", "budget", "verdict", "confidence")
_RIGHT = {"estimate", "budget"}
_OPERATORS_SHOWN = 10
_SHOWN = 60  # characters of an operator's name
_TOKEN = re.compile(r"_token_\d+$")
_NAMES_SHOWN = 3
_WORTH = 0.1  # of the simulated time, for a remedy to be named

# (types of operators, what helps against their part of the time).
_REMEDIES = (
    (("Transpose",), "keep images channel-first, where the runtime allows it: --what-if nchw"),
    (("ElementWiseAdd",), "fuse bias adds: write MatMul and Add as Gemm, or leave the bias out"),
    (("Softmax", "MatMul"), "split attention heads into separate operators, or use fewer tokens"),
    (("ResizeBilinear", "ResizeNearestNeighbor"), "resize fewer channels, before the last layers"),
    (("Conv2d", "Relu", "FullyConnected"), "lower the internal resolution, or use fewer channels"),
)


@dataclass(frozen=True)
class Change:
    """A model that was changed and simulated again; `note` says how.

    `before` is what it is compared with, and its estimates, where that is not the model's own.
    """

    name: str
    note: str
    simulation: Simulation
    estimates: Sequence[Estimate]
    before: tuple[Simulation, Sequence[Estimate]] | None = None


@dataclass(frozen=True)
class PartEstimate:
    """One part of a submission: its simulation, an estimate for each device, and the same for each
    change. `normalisation` are the nodes that prepare the image inside the graph.
    """

    part: str
    simulation: Simulation
    estimates: Sequence[Estimate]
    changes: Sequence[Change]
    normalisation: tuple[str, ...]


def estimate_report(
    label: str,
    parts: Sequence[PartEstimate],
    *,
    budget: float | None,
    note: str = "",
    why: bool = False,
) -> str:
    """The table, why each estimate is not good, changes, and with `why` what takes the time.

    `budget` is in milliseconds, for all parts together; `note` says why there is none.
    """
    rows: list[tuple[str, ...]] = [_HEADINGS]
    for part in parts:
        whole = len(parts) == 1
        rows += [_row(part.part, e, budget if whole else None) for e in part.estimates]
    if len(parts) > 1:
        together = zip(*(part.estimates for part in parts), strict=True)
        rows += [_together(estimates, budget) for estimates in together]
    first = parts[0].estimates[0]
    lines = [f"{label}: latency estimates, not measurements", *columns(rows, _RIGHT)]
    lines.append(f"  {first.basis}")
    lines += [f"  {note}"] if note else []
    lines += _remarks(parts)
    for part in parts:
        for change in part.changes:
            lines += ["", *_change(part, change)]
        if why and part.simulation.compiled and part.simulation.compiled.schedule:
            lines += ["", *_why(part, part.simulation.compiled.schedule)]
    return "\n".join(lines)


def _row(part: str, estimate: Estimate, budget: float | None) -> tuple[str, ...]:
    found = add_up([estimate])
    return (part, estimate.device.name, *_cells(found, budget), estimate.confidence)


def _together(estimates: Sequence[Estimate], budget: float | None) -> tuple[str, ...]:
    order = ("none", "low", "good")
    worst = min((e.confidence for e in estimates), key=order.index)
    return ("together", estimates[0].device.name, *_cells(add_up(estimates), budget), worst)


def _cells(found: tuple[float, float, float] | None, budget: float | None) -> tuple[str, ...]:
    limit = "-" if budget is None else f"{budget:.3g} ms"
    if found is None:
        return ("none", "-", limit, "-")
    ms, low, high = found
    return (f"{ms:.3g} ms", f"{low:.3g}..{high:.3g} ms", limit, judge(low, high, budget))


def _remarks(parts: Sequence[PartEstimate]) -> list[str]:
    """Each reason, note and anchor once, with the devices that have it, and what helps.

    What helps against one device of many is left out: the table shows better ones.
    """
    found: dict[str, list[Estimate]] = {}
    for part in parts:
        for estimate in part.estimates:
            remarks = [f"confidence {estimate.confidence}: {r}" for r in estimate.reasons]
            remarks += [*estimate.notes, *([f"tied to {estimate.anchor}"] * bool(estimate.anchor))]
            for remark in remarks:
                found.setdefault(f"{part.part}: {remark}", []).append(estimate)
    every = len(parts[0].estimates)
    lines = []
    for remark, estimates in found.items():
        names = ", ".join(estimate.device.name for estimate in estimates)
        if len(estimates) > _NAMES_SHOWN:
            names = f"{len(estimates)} devices"
        lines.append(f"  {remark}" + (f" ({names})" if len(estimates) < every else ""))
        if estimates[0].remedy and (every <= _NAMES_SHOWN or len(estimates) == every):
            lines.append(f"    -> {estimates[0].remedy}")
    return lines


def _change(part: PartEstimate, change: Change) -> list[str]:
    lines = [f"{part.part}, what if {change.name}: {change.note}"]
    one, estimates = change.before or (part.simulation, part.estimates)
    before, after = one.milliseconds, change.simulation.milliseconds
    if before is None or after is None:
        failed = one if before is None else change.simulation
        return [*lines, f"  {failed.problem}", f"    -> {failed.remedy}"]
    gain = 1 - after / before
    less = "less" if gain >= 0 else "more"
    lines.append(f"  simulated: {before:.3g} ms, then {after:.3g} ms ({abs(gain):.0%} {less})")
    for old, new in zip(estimates, change.estimates, strict=True):
        lines.append(f"  estimate for {old.device.name}: {old.span}, then {new.span}")
    return lines


def _why(part: PartEstimate, schedule: Schedule) -> list[str]:
    simulated = part.simulation.simulated
    assert simulated is not None
    total = simulated.whole
    top = schedule.operators[:_OPERATORS_SHOWN]
    rows: list[tuple[str, ...]] = [("operator", "type", "unit", "ms", "share", "DDR")]
    rows += [_operator(operator, total) for operator in top]
    return [
        f"{part.part}, why: {total:.3g} ms simulated for {SIMULATED_DEVICE}; busy: matrix unit"
        f" {schedule.matrix:.3g}, vector threads {schedule.vector:.3g}, DMA {schedule.dma:.3g} ms",
        *columns(rows, {"ms", "share", "DDR"}),
        "  operators that the compiler fuses count as the last of them",
        *(f"  {rewritten}" for rewritten in part.simulation.rewritten),
        *([f"    -> what that gains: {_ask(part, 'rewrite')}"] * bool(part.simulation.rewritten)),
        *_costs(part, schedule, total),
    ]


def short_name(operator: Operator) -> str:
    """The name of an operator as the model has it, its end where that is long."""
    name = _TOKEN.sub("", operator.name)
    return one_line(name if len(name) <= _SHOWN else f"...{name[3 - _SHOWN :]}")


def _operator(operator: Operator, total: float) -> tuple[str, ...]:
    share = f"{operator.ms / total:.0%}"
    moved = megabytes(operator.moved) if operator.moved else "-"
    return (
        short_name(operator),
        one_line(operator.op),
        operator.unit,
        f"{operator.ms:.3g}",
        share,
        moved,
    )


def _costs(part: PartEstimate, schedule: Schedule, total: float) -> list[str]:
    lines = []
    names = set(part.normalisation)  # fused, they may have no operator of their own
    own = [o for o in schedule.operators if _TOKEN.sub("", o.name) in names]
    costs = [
        ("layout transposes", [o for o in schedule.operators if o.op == "Transpose"]),
        ("normalisation in the graph", own),
    ]
    for what, operators in costs:
        ms = sum(operator.ms for operator in operators)
        lines.append(f"  {what}: {ms:.3g} ms, {ms / total:.0%}, {len(operators)} operators")
    if names:
        lines.append(f"    -> fold it into the convolution: {_ask(part, 'fold-normalisation')}")
    for kinds, remedy in _REMEDIES:
        share = sum(o.ms for o in schedule.operators if o.op in kinds) / total
        if share >= _WORTH and not ("nchw" in remedy and part.simulation.runtime == "onnx"):
            lines.append(f"  {', '.join(kinds)}: {share:.0%}")
            lines.append(f"    -> {remedy}")
    return lines


def _ask(part: PartEstimate, name: str) -> str:
    done = any(change.name == name for change in part.changes)
    return "see above" if done else f"--what-if {name}"
