"""`lpcvc export-card`: a submission as AI Hub's model cards show one."""

from collections.abc import Sequence

from conformance.device.assessment import DeviceAssessment, DeviceOptions
from conformance.device.evidence import DeviceEvidence
from conformance.device.history import runtime_of
from conformance.device.jobs import fault_of
from conformance.report.progress import stderr_progress
from conformance.suite import Suite
from reference.errors import SubmissionError
from reference.process import Limits

NOT_MEASURED = "not measured"
_HEADER = (
    "Model",
    "Precision",
    "Device",
    "Chipset",
    "Target Runtime",
    "Inference Time (ms)",
    "Peak Memory Range (MB)",
    "Primary Compute Unit",
)
_UNITS = ("NPU", "GPU", "CPU")
_MB = 2**20


def export_card(
    track: str,
    submission: Sequence[str],
    devices: Sequence[str],
    options: DeviceOptions,
    limits: Limits,
) -> str:
    """Compiles and profiles a submission on each device; its blocks and its table in Markdown.

    Raises SubmissionError where a part does not compile or cannot be profiled.
    """
    line = stderr_progress()
    suite = Suite([track], submission, None, devices, limits=limits, on_devices=options)
    blocks, rows = [], [_HEADER, tuple("---" for _ in _HEADER)]
    try:
        for own in {case.assessment.id: case.assessment for case in suite.device_cases()}.values():
            assert isinstance(own, DeviceAssessment)
            own.progress = line
            own.prepare()
            e = own.evidence
            for part, reason in {**e.compile_failures, **e.profile_failures}.items():
                raise fault_of(reason) or SubmissionError(
                    f"{e.device.name}: the {part} part: {reason}",
                    "`pytest -m device` holds it to every rule",
                )
            name = own.submission.removesuffix(".onnx")
            blocks.append(profile_block(name, e))
            rows.append(table_row(name, e))
    finally:
        line.clear()
        suite.close()
    return "\n\n".join([*blocks, "\n".join(f"| {' | '.join(row)} |" for row in rows)])


def profile_block(name: str, e: DeviceEvidence) -> str:
    """The block that a card calls Profiling Results."""
    values = {
        "Device": f"{e.device.name} ({e.device.system})",
        "Runtime": runtime_of(e.track.compile_options).upper(),
        "Estimated inference time (ms)": _milliseconds(e, ".1f"),
        "Estimated peak memory usage (MB)": _memory(e, "[{}, {}]"),
        "Total # Ops": str(sum(e.units.values())),
        "Compute Unit(s)": " ".join(f"{u.lower()} ({e.units.get(u, 0)} ops)" for u in _UNITS),
    }
    lines = ["-" * 60, name, *(f"{label:<32}: {value}" for label, value in values.items())]
    return "\n".join(lines)


def table_row(name: str, e: DeviceEvidence) -> tuple[str, ...]:
    """The row of a card's table."""
    return (
        name,
        e.precision,
        e.device.name,
        e.device.chipset,
        runtime_of(e.track.compile_options).upper(),
        _milliseconds(e, ".3f"),
        _memory(e, "{} - {}"),
        max(e.units, key=lambda unit: e.units[unit], default="none"),
    )


def _milliseconds(e: DeviceEvidence, digits: str) -> str:
    if e.device.emulated or e.latency is None:
        return NOT_MEASURED
    return f"{e.latency.median:{digits}}"


def _memory(e: DeviceEvidence, words: str) -> str:
    if e.device.emulated or e.memory is None:
        return NOT_MEASURED
    return words.format(*(round(size / _MB) for size in e.memory))
