"""What the NPU compiler made of a model: a table of devices, and what to fix."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from conformance.report.columns import columns
from conformance.runtimes.ranges import Ranges, find_offences
from conformance.submission.graph import megabytes, read_graph
from conformance.submission.remedies import hazard_remedies
from reference.errors import SubmissionError, one_line
from reference.litert.compile import CompiledTflite
from reference.npu.compile import Compiled
from reference.npu.devices import Device
from reference.npu.trace import CpuNode

_HEADINGS = ("device", "compiles", "NPU ops", "CPU ops", "binary", "simulated", "seconds")
_RIGHT = {"NPU ops", "CPU ops", "binary", "seconds"}
_NAMES_SHOWN = 3
_RANGES_SHOWN = 6


@dataclass(frozen=True)
class Attempt:
    """One model for one device: what was made of it, or why the compiler gave no answer."""

    device: Device
    compiled: Compiled | CompiledTflite | None
    failure: str = ""
    remedy: str = ""

    @property
    def whole(self) -> bool:
        """Whether all of the model runs on the NPU."""
        return self.compiled is not None and self.compiled.whole


def compile_report(
    label: str,
    model: Path,
    attempts: Sequence[Attempt],
    toolchain: str,
    ranges: Ranges | SubmissionError | None = None,
) -> str:
    """The table and what to fix, as text; `label` heads it.

    `ranges` are those of the tensors on the host, or why there are none; None where nobody asked.
    """
    whole = f"{sum(a.whole for a in attempts)} of {len(attempts)} compile whole"
    rows = [_HEADINGS, *(_row(attempt) for attempt in attempts)]
    lines = [f"{one_line(label)}: {whole}", *columns(rows, _RIGHT)]
    lines.append(f"  {toolchain}")
    if any(a.compiled and a.compiled.simulated for a in attempts):
        lines.append("  simulated: by the compiler, milliseconds (bounds); not a measurement")
    rewritten = dict.fromkeys(note for a in attempts if a.compiled for note in a.compiled.notes)
    lines += [f"  rewritten for onnxruntime, in a copy: {note}" for note in rewritten]
    if ranges is not None:
        lines += _ranges(model, ranges)
    if not all(a.whole for a in attempts):
        lines += ["", "to fix:", *_fixes(model, attempts)]
    return "\n".join(lines)


def _ranges(model: Path, ranges: Ranges | SubmissionError) -> list[str]:
    """What float16 does not hold of the tensors on the host, first computed first."""
    if isinstance(ranges, SubmissionError):
        return [f"  ranges not seen: {ranges.problem}"]
    found = find_offences(read_graph(model), ranges)
    if not found:
        return [f"  ranges on the host: {len(ranges.tensors)} tensors, all within float16"]
    lines = ["", "beyond float16 on the host (advice):"]
    for each, remedy in found[:_RANGES_SHOWN]:
        lines += [f"  {each.node} is {each}", f"    -> {remedy}"]
    more = len(found) - _RANGES_SHOWN
    return [*lines, f"  and {more} more"] if more > 0 else lines


def _row(attempt: Attempt) -> tuple[str, ...]:
    compiled = attempt.compiled
    if compiled is None:
        return (attempt.device.name, "no", "-", "-", "-", "not available", "-")
    placement, time = compiled.placement, compiled.simulated
    size = compiled.binary.stat().st_size if compiled.binary.exists() else 0
    simulated = "not available"
    if time is not None:
        simulated = f"{time.ms:.3g} ms ({time.lowest_ms:.3g}..{time.highest_ms:.3g})"
        simulated += f", {time.uncosted} operators not counted" if time.uncosted else ""
    return (
        attempt.device.name,
        "no" if compiled.failure else "whole" if compiled.whole else "partly",
        str(placement.npu_ops),
        str(len(placement.cpu)),
        megabytes(size) if size else "-",
        simulated,
        "cached" if compiled.cached else f"{compiled.seconds:.1f}",
    )


def _fixes(model: Path, attempts: Sequence[Attempt]) -> list[str]:
    """Each problem once, with the devices that have it and what helps."""
    hazards = hazard_remedies(read_graph(model))
    devices: dict[tuple[str, str], list[str]] = {}
    for attempt in attempts:
        for fix in _problems(attempt, hazards):
            devices.setdefault(fix, []).append(attempt.device.name)
    lines = []
    for (problem, remedy), names in devices.items():
        where = "all devices" if len(names) == len(attempts) else ", ".join(names)
        prefix = f"{where}: " if len(attempts) > 1 else ""
        lines += [f"  {prefix}{problem}", f"    -> {remedy}"]
    return lines


def _problems(attempt: Attempt, hazards: dict[str, str]) -> list[tuple[str, str]]:
    """(what is wrong, what helps), nodes of the same operator and reason together."""
    compiled = attempt.compiled
    if compiled is None:
        return [(attempt.failure, attempt.remedy)]
    if not attempt.device.float16:
        hazards = {}  # they are those of float16
    log = f"read what the compiler says: {compiled.log}"
    if compiled.failure:
        first = next((node.name for node in compiled.placement.cpu), "")
        return [(compiled.failure, hazards.get(first) or compiled.remedy or log)]
    groups: dict[tuple[str, str, str], list[CpuNode]] = {}
    for node in compiled.placement.cpu:
        remedy = hazards.get(node.name) or node.remedy or log
        groups.setdefault((node.op, node.reason, remedy), []).append(node)
    return [
        (one_line(f"{op} {_names(nodes)} on the CPU: {reason}"), remedy)
        for (op, reason, remedy), nodes in groups.items()
    ]


def _names(nodes: Sequence[CpuNode]) -> str:
    shown = ", ".join(repr(node.name or "unnamed") for node in nodes[:_NAMES_SHOWN])
    more = len(nodes) - _NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
