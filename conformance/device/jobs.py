"""The jobs of one part of a submission on one device of a hub."""

import shutil
import statistics
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from conformance.device.hub import Hub, HubDevice
from conformance.submission.model import Model
from reference.aihub.listed import FAULT
from reference.aihub.room import NO_ROOM
from reference.errors import SubmissionError, ToolError, one_line
from reference.litert.toolchain import has_converter
from reference.tracks import TRUNCATE, Part, Track

ORGANISERS = "lowpowervision@gmail.com"
_TICK_SECONDS = 0.5
# AI Hub ends a job of its own after less.
_PATIENCE_SECONDS = 6 * 3600

Say = Callable[[str], None]


@dataclass(frozen=True)
class Profiled:
    """What one profile job reports of one part.

    `milliseconds` is AI Hub's estimated inference time, of an emulated device a latency estimate or
    0. `memory` is the range of the peak in bytes, None where it does not tell. `units` counts the
    layers on each compute unit.
    """

    job: str
    milliseconds: float
    memory: tuple[int, int] | None
    units: Mapping[str, int]


@dataclass
class PartJobs:
    """The jobs of one part. Jobs are the client's; a failed one has its reason in `failures`."""

    part: Part
    compiling: Any = None
    profiling: list[Any] = field(default_factory=list)
    inferring: Any = None
    failures: dict[str, str] = field(default_factory=dict)


def submit_compile(
    hub: Hub, device: HubDevice, track: Track, part: Part, model: Model, onnx: Path, folder: Path
) -> Any:
    """Uploads a part and has it compiled with the options of the track; the job.

    TorchScript and .pt2 go as they are, everything else as `onnx`. A local hub makes TFLite of the
    former alone: for the rest its default takes the place, a DLC of the same operators on the same
    NPU. Raises SubmissionError for a TFLite file.
    """
    if model.format == "tflite":
        raise SubmissionError(
            f"{model.path.name} is compiled by no job: AI Hub takes .tflite for profile and"
            " inference jobs alone",
            "hand in the ONNX or PyTorch model that it was made of",
        )
    options = track.compile_options
    traced = model.format in ("torchscript", "exported")
    if device.emulated and not (traced and has_converter()):
        options = options.replace("--target_runtime tflite", "").strip()
    source = model.path if traced else upload_form(onnx, folder / f"upload-{part.name}")
    return hub.ask(
        lambda: hub.client.submit_compile_job(
            model=str(source),
            device=device.device,
            name=f"{track.id} {part.name}",
            input_specs=track.input_specs(part) if traced else None,
            options=options,
        )
    )


def upload_form(path: Path, folder: Path) -> Path:
    """What the client takes: the file alone, or a folder of it and one file of external data."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    if not any(onnx.external_data_helper.uses_external_data(t) for t in model.graph.initializer):
        return path
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    onnx.external_data_helper.load_external_data_for_model(model, str(path.parent))
    onnx.save(
        model,
        folder / "model.onnx",
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location="model.data",
    )
    return folder


def dataset(track: Track, feeds: Sequence[Mapping[str, np.ndarray]]) -> dict[str, list[np.ndarray]]:
    """One sample for each of `feeds`, as the client uploads them; 64-bit ids become 32, and what
    the options say is fed channels last is.
    """
    narrow, last = TRUNCATE in track.compile_options, track.fed_channels_last

    def uploaded(name: str, array: np.ndarray) -> np.ndarray:
        if narrow and array.dtype == np.int64:
            return array.astype(np.int32)
        return np.ascontiguousarray(np.moveaxis(array, 1, -1) if name in last else array)

    return {name: [uploaded(name, each[name]) for each in feeds] for name in feeds[0]}


def share(hub: Hub, job: Any) -> None:
    """Shares a compile job with the organisers."""
    hub.ask(lambda: job.modify_sharing(add_emails=[ORGANISERS]))


def wait(job: Any, say: Say) -> str:
    """Waits for a job; why it failed, empty where it did not."""
    done: Future[Any] = Future()

    def poll() -> None:
        try:
            done.set_result(job.wait(_PATIENCE_SECONDS))
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=poll, daemon=True).start()
    seconds = 0.0
    while True:
        try:
            status = done.result(_TICK_SECONDS)
        except NotYet:
            if done.done():
                return f"not finished within {_PATIENCE_SECONDS / 3600:.0f} hours"
            seconds += _TICK_SECONDS
            say(f"{job.job_type} job {job.job_id} {seconds:.0f} s")
        else:
            return "" if status.success else one_line(status.message or "AI Hub gives no reason")


def fault_of(reason: str) -> ToolError | None:
    """What to tell of a failed job that the hub itself is to blame for, None for any other."""
    return ToolError(reason) if FAULT in reason or NO_ROOM in reason else None


def read_profile(hub: Hub, job: Any, *, emulated: bool) -> Profiled:
    """The figures of a profile job that has succeeded; an emulated device need not have a time."""
    profile = hub.ask(job.download_profile)
    summary = profile.get("execution_summary", {})
    if not (emulated or summary.get("estimated_inference_time")):
        raise SubmissionError(
            f"profile job {job.job_id} reports no inference time", "profile the model again"
        )
    memory = summary.get("inference_memory_peak_range")
    units = Counter(str(layer["compute_unit"]) for layer in profile.get("execution_detail", ()))
    return Profiled(
        job.job_id,
        summary["estimated_inference_time"] / 1000,
        (int(memory[0]), int(memory[1])) if memory else None,
        dict(units),
    )


def median(profiles: Sequence[Profiled]) -> float:
    """The median of their milliseconds."""
    return statistics.median(profile.milliseconds for profile in profiles)


def answers(hub: Hub, job: Any) -> list[tuple[np.ndarray, ...]]:
    """The outputs of every sample of an inference job that has succeeded, in order."""
    data = hub.ask(job.download_output_data) or {}
    return list(zip(*data.values(), strict=True))
