"""`lpcvc compile`: a model, or the reference of a track, compiled for devices."""

import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from conformance.contract.feeding import feed, match_inputs
from conformance.contract.probes import probes_for
from conformance.report.compile import Attempt, compile_report
from conformance.report.progress import stderr_progress
from conformance.runtimes.process import ModelProcess, export_onnx
from conformance.runtimes.ranges import Ranges, measure_ranges
from conformance.submission.graph import read_graph
from conformance.submission.opening import Model, open_submission
from reference.errors import SubmissionError
from reference.npu.cache import model_digest
from reference.npu.compile import compile_model
from reference.npu.devices import Device, all_devices, find_device
from reference.npu.toolchain import find_toolchain
from reference.process import Limits
from reference.tracks import Track


def choose_devices(track: Track, names: Sequence[str], everything: bool) -> tuple[Device, ...]:
    """The devices called `names`, or all of them; by default the one of the track.

    Raises SubmissionError for an unknown name.
    """
    if everything:
        return all_devices()
    return tuple(find_device(name) for name in names or [track.device])


def compile_for_devices(
    track: Track,
    specs: Sequence[str],
    devices: Sequence[Device],
    *,
    dlc: bool,
    limits: Limits,
    output: Path | None,
) -> tuple[str, int]:
    """Compiles each part for each device; the report, and 1 where something is not whole.

    `specs` are `PATH` or `PART=PATH` as for a submission; without any it is the track's reference
    with random weights. What was made is copied to a folder for each device below `output`. Raises
    SubmissionError for what cannot be opened.
    """
    toolchain = find_toolchain()
    with tempfile.TemporaryDirectory(prefix="lpcvc-") as scratch, Steps() as progress:
        models = onnx_files(track, specs, Path(scratch), limits, progress)
        reports, whole = [], True
        for part, model in models.items():
            model_digest(model)  # what cannot be read is told at once, not for every device
            attempts = []
            for count, device in enumerate(devices, 1):
                progress.step = f"compiling {model.name} for {device.name} ({count}/{len(devices)})"
                attempts.append(_attempt(model, device, dlc, limits, progress))
                if output is not None:
                    _copy(attempts[-1], output / part)
            label = f"{track.id}, {model.name}" + ("" if specs else " (random weights)")
            progress.step = f"looking at the ranges in {model.name}"
            ranges = _ranges(track, part, model, limits, progress)
            reports.append(compile_report(label, model, attempts, toolchain, ranges))
            whole = whole and all(attempt.whole for attempt in attempts)
    return "\n\n".join(reports), 0 if whole else 1


class Steps:
    """A line on stderr: the present `step` and the seconds that it has taken. A context manager."""

    def __init__(self) -> None:
        self.step = ""
        self._line = stderr_progress()

    def __call__(self, seconds: float) -> None:
        """Shows both."""
        self._line(f"{self.step} {seconds:.0f} s")

    def __enter__(self) -> "Steps":
        return self

    def __exit__(self, *_: object) -> None:
        self._line.clear()


def onnx_files(
    track: Track, specs: Sequence[str], scratch: Path, limits: Limits, progress: Steps
) -> dict[str, Path]:
    """The ONNX file of each part of a submission; PyTorch models are exported.

    Without `specs` it is the track's reference with random weights. What is written goes to
    `scratch`. Raises SubmissionError for what cannot be opened.
    """
    if not specs:
        if not track.has("model"):
            raise SubmissionError(f"{track.id} has no reference model", "give your own model")
        progress.step = f"building the reference of {track.id}"
        with ModelProcess(progress.step, scratch, progress, limits) as process:
            paths = process.reference(track.spec, scratch, None)
        return {part: Path(path) for part, path in paths.items()}
    models = open_submission(track, specs, scratch, limits).models
    files = {
        part: model.path
        if model.format == "onnx"
        else _export(track, part, model, scratch, limits, progress)
        for part, model in models.items()
    }
    for path in files.values():  # what is within limits there is so here
        progress.step = f"reading {path.name}"
        read_graph(path, limits, progress)
    return files


def _export(
    track: Track, part: str, model: Model, scratch: Path, limits: Limits, progress: Steps
) -> Path:
    path = scratch / f"{part}.onnx"
    progress.step = f"exporting {model.path.name} to ONNX"
    export_onnx(model, track.spec, path, limits, progress)
    return path


def _attempt(model: Path, device: Device, dlc: bool, limits: Limits, progress: Steps) -> Attempt:
    try:
        compiled = compile_model(model, device, dlc=dlc, limits=limits, tick=progress)
    except SubmissionError as error:
        return Attempt(device, None, error.problem, error.remedy)
    return Attempt(device, compiled)


def _ranges(
    track: Track, name: str, model: Path, limits: Limits, progress: Steps
) -> Ranges | SubmissionError:
    """The ranges in one part, on the first photograph or text."""
    part = track.part(name)
    try:
        inputs = read_graph(model, limits, progress).inputs
        matched = match_inputs(part, inputs, raw_pixels=track.image_high > 1)
        if matched is None:
            raise SubmissionError(
                f"its inputs ({', '.join(value.label for value in inputs)}) are not the track's",
                "give the model the inputs of the track",
            )
        feeds = feed(probes_for(track, part)[0].feeds(), matched)
        return measure_ranges(model, [feeds], limits, progress)
    except SubmissionError as error:
        return error


def _copy(attempt: Attempt, output: Path) -> None:
    compiled = attempt.compiled
    if compiled is None:
        return
    folder = output / re.sub(r"[^\w.+-]+", "-", attempt.device.name).strip("-")
    folder.mkdir(parents=True, exist_ok=True)
    for file in (compiled.context, compiled.binary, compiled.dlc, compiled.log):
        if file.exists():
            shutil.copy(file, folder)
