"""Compile for the NPU of a device, offline."""

import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from conformance.contract.probes import need_inputs, probes_for
from conformance.report.compile import Attempt, compile_report
from conformance.report.progress import stderr_progress
from conformance.runtimes.npu import compile_file, is_tflite
from conformance.runtimes.ranges import Ranges, find_offences, measure_ranges
from conformance.subject import Progress, ticking
from conformance.submission.feeding import feed, match_inputs
from conformance.submission.graph import read_graph
from conformance.verbs import PATH, Found, for_devices, in_json, limited
from conformance.verbs._models import files_by_part
from reference.cache import model_digest
from reference.errors import SubmissionError
from reference.npu.compile import Compiled
from reference.npu.devices import Device
from reference.npu.toolchain import find_toolchain
from reference.process import Limits
from reference.tracks import Track


@click.command()
@for_devices
@click.option("--dlc", is_flag=True, help="Write a DLC too.")
@click.option("-o", "--output", type=PATH, metavar="FOLDER", help="Copy what was made into FOLDER.")
@limited("one compilation")
@in_json
def command(
    models: Sequence[str],
    track: Track | None,
    devices: Sequence[Device],
    dlc: bool,
    output: Path | None,
    limits: Limits,
) -> Found:
    """Compile each MODEL for the NPU of each device, offline, and say what to fix. Exit code 1: one
    does not run on the NPU as a whole.

    A MODEL is what the suite takes for --submission; with --track alone it is the track's reference
    with random weights. Without --track it is any ONNX file, --device or --all-devices says what it
    is for, and nothing is said of the ranges in it.
    """
    toolchain = str(find_toolchain())
    with tempfile.TemporaryDirectory(prefix="lpcvc-") as scratch, stderr_progress() as progress:
        files = files_by_part(track, models, Path(scratch), limits, progress)
        reports, found, whole = [], [], True
        for part, model in files.items():
            if not is_tflite(model):
                model_digest(model)  # what cannot be read is told at once, not for every device
            attempts = []
            for count, device in enumerate(devices, 1):
                what = f"compiling {model.name} for {device.name} ({count}/{len(devices)})"
                attempts.append(_attempt(model, device, dlc, limits, progress, what))
                if output is not None:
                    _copy(attempts[-1], output / part)
            label = f"{track.id}, {model.name}" if track else model.name
            label += "" if models else " (random weights)"
            ranges = _ranges(track, part, model, limits, progress)
            tools = next((str(a.compiled.toolchain) for a in attempts if a.compiled), toolchain)
            reports.append(compile_report(label, model, attempts, tools, ranges))
            found.append(
                {
                    "part": part,
                    "file": model.name,
                    "toolchain": tools,
                    "devices": [_values(attempt) for attempt in attempts],
                    "ranges": _range_values(model, ranges),
                }
            )
            whole = whole and all(attempt.whole for attempt in attempts)
    document = {"track": track.id if track else None, "whole": whole, "models": found}
    return "\n\n".join(reports), 0 if whole else 1, document


def _values(attempt: Attempt) -> dict[str, Any]:
    """What a row of the table says, and each node that is left to the CPU."""
    compiled, named = attempt.compiled, {"device": attempt.device.name, "whole": attempt.whole}
    if compiled is None:
        return {**named, "failure": attempt.failure, "remedy": attempt.remedy}
    size = compiled.binary.stat().st_size if compiled.binary.exists() else None
    return {
        **named,
        "failure": compiled.failure,
        "remedy": compiled.remedy,
        "npu_operators": compiled.placement.npu_ops,
        "cpu_nodes": compiled.placement.cpu,
        "binary_bytes": size,
        "simulated": compiled.simulated,
        "compile_seconds": compiled.seconds,
        "cached": compiled.cached,
    }


def _range_values(model: Path, ranges: Ranges | SubmissionError) -> dict[str, Any]:
    if isinstance(ranges, SubmissionError):
        return {"none": ranges.problem}
    beyond = [
        {"node": each.node, "seen": str(each), "remedy": remedy}
        for each, remedy in find_offences(read_graph(model), ranges)
    ]
    return {"tensors": len(ranges.tensors), "beyond_float16": beyond}


def _attempt(
    model: Path, device: Device, dlc: bool, limits: Limits, progress: Progress, what: str
) -> Attempt:
    try:
        tick = ticking(progress, what)
        compiled = compile_file(model, device, dlc=dlc, limits=limits, tick=tick)
    except SubmissionError as error:
        return Attempt(device, None, error.problem, error.remedy)
    return Attempt(device, compiled)


def _ranges(
    track: Track | None, name: str, model: Path, limits: Limits, progress: Progress
) -> Ranges | SubmissionError:
    """The ranges in one part, on the first photograph or text.

    Without a track there are none: on noise of the wrong range they would mislead.
    """
    tick = ticking(progress, f"looking at the ranges in {model.name}")
    try:
        if is_tflite(model):
            raise SubmissionError("a .tflite shows no tensors inside", "give the ONNX of it")
        if track is None:
            raise SubmissionError("nothing says what the model is fed", "add --track")
        need_inputs(track)
        part = track.part(name)
        inputs = read_graph(model, limits, tick).inputs
        matched = match_inputs(part, inputs, raw_pixels=track.image_high > 1)
        if matched is None:
            raise SubmissionError(
                f"its inputs ({', '.join(value.label for value in inputs)}) are not the track's",
                "give the model the inputs of the track",
            )
        feeds = feed(probes_for(track, part)[0].feeds(), matched)
        return measure_ranges(model, [feeds], limits, tick)
    except SubmissionError as error:
        return error


def _copy(attempt: Attempt, output: Path) -> None:
    compiled = attempt.compiled
    if compiled is None:
        return
    folder = output / re.sub(r"[^\w.+-]+", "-", attempt.device.name).strip("-")
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(compiled, Compiled):
        made = [compiled.context, compiled.binary, compiled.dlc]
    else:
        made = [compiled.model, *(compiled.folder / name for name in compiled.dlcs)]
    for file in (*made, compiled.log):
        if file.exists():
            shutil.copy(file, folder)
