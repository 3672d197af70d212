"""Profile, and write what a model card shows."""

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import click

from conformance.device.assessment import DeviceOptions
from conformance.device.evidence import DeviceEvidence
from conformance.device.hub import HubKind
from conformance.device.items import DeviceWing
from conformance.device.jobs import fault_of
from conformance.report.document import NOT_MEASURED
from conformance.report.progress import stderr_progress
from conformance.suite import Suite
from conformance.verbs import Found, held_to_a_track, in_json, limited, on_hub
from reference.errors import SubmissionError
from reference.npu.devices import marketing_name
from reference.process import Limits

_HEADER = (
    "Model",
    "Precision",
    "Device",
    "Chipset",
    "Target Runtime",
    "Inference Time (ms)",
    "Peak Memory Range (MB)",
    "Primary Compute Unit",
    "Target Model",
)
_TITLE = "Profiling Results"
_UNITS = ("NPU", "GPU", "CPU")
# Of the target model, by what `--target_runtime` calls it.
_ENDINGS = {
    "tflite": "tflite",
    "qnn_dlc": "dlc",
    "qnn_context_binary": "bin",
    "onnx": "onnx",
    "precompiled_qnn_onnx": "onnx",
}
_MB = 2**20


@click.command()
@held_to_a_track
@on_hub("auto")
@click.option("--device", multiple=True, metavar="NAME", help="Repeatable; default: the track's.")
@click.option(
    "--runtime",
    multiple=True,
    type=click.Choice([*_ENDINGS]),
    help="What to compile for; repeatable; default: as the track does.",
)
@click.option(
    "--profile-runs",
    default=1,
    metavar="N",
    help="Profile jobs of each part, of which the median counts.",
)
@limited("loading the model or one forward pass")
@in_json
def command(
    track: str,
    submission: Sequence[str],
    hub: HubKind,
    device: Sequence[str],
    runtime: Sequence[str],
    profile_runs: int,
    limits: Limits,
) -> Found:
    """Compile and profile a submission on each device for each runtime; write what a model card
    shows of it, as blocks and as a table in Markdown.
    """
    options = DeviceOptions(hub=hub, repeats=max(1, profile_runs), runtimes=tuple(runtime))
    suite = Suite([track], submission, None, device, limits=limits, remote=hub == "remote")
    wing = DeviceWing(suite, options)
    blocks, rows, found = [], [_HEADER, tuple("---" for _ in _HEADER)], []
    with closing(suite), closing(wing), stderr_progress() as line:
        for own in wing.assessments:
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
            found.append(_values(name, e))
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return "\n\n".join([*blocks, table]), 0, found


def _values(name: str, e: DeviceEvidence) -> dict[str, Any]:
    """A row as values; null is what an emulator does not measure."""
    measured = not e.device.emulated
    return {
        "model": name,
        "precision": e.precision,
        "device": e.device.name,
        "runtime": e.runtime,
        "inference_ms": e.latency.median if measured and e.latency is not None else None,
        "peak_memory_bytes": e.memory if measured else None,
        "operators_by_unit": e.units,
    }


def profile_block(name: str, e: DeviceEvidence) -> str:
    """The block that the export of a card prints; the device is called what AI Hub calls it."""
    values = {
        "Device": f"{e.device.name} ({e.device.system})",
        "Runtime": e.runtime.upper(),
        "Estimated inference time (ms)": _milliseconds(e, "{:.1f}"),
        "Estimated peak memory usage (MB)": _memory(e, "[{}, {}]"),
        "Total # Ops": str(sum(e.units.values())),
        "Compute Unit(s)": " ".join(f"{u.lower()} ({e.units.get(u, 0)} ops)" for u in _UNITS),
    }
    lines = [_TITLE, "-" * 60, name, *(f"{label:<32}: {value}" for label, value in values.items())]
    return "\n".join(lines)


def table_row(name: str, e: DeviceEvidence) -> tuple[str, ...]:
    """The row of a card's table; a chip that is not known here is called what AI Hub calls it."""
    try:
        chipset = marketing_name(e.device.name)
    except SubmissionError:
        chipset = e.device.chipset
    return (
        name,
        e.precision,
        e.device.name,
        chipset,
        e.runtime.upper(),
        _milliseconds(e, "{} ms"),
        _memory(e, "{} - {} MB"),
        max(e.units, key=lambda unit: e.units[unit], default="none"),
        f"{name}.{_ENDINGS.get(e.runtime, e.runtime)}",
    )


def _milliseconds(e: DeviceEvidence, words: str) -> str:
    if e.device.emulated or e.latency is None:
        return NOT_MEASURED
    return words.format(round(e.latency.median, 3))


def _memory(e: DeviceEvidence, words: str) -> str:
    if e.device.emulated or e.memory is None:
        return NOT_MEASURED
    return words.format(*(round(size / _MB) for size in e.memory))
