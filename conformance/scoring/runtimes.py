"""Where a part of a submission computes: a table with one entry a runtime.

An entry has the words that say what computes, version included, and opens a session: a context
manager that gives the forward pass.
"""

import contextlib
import itertools
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from conformance.device.hub import Hub, import_client
from conformance.device.jobs import answers, dataset, submit_compile, wait
from conformance.runtimes.npu import compile_file, emulated
from conformance.runtimes.process import ModelProcess, export_onnx
from conformance.scoring.job import Job
from conformance.submission.graph import read_graph
from conformance.submission.model import Model
from reference.errors import SubmissionError
from reference.install import install_command
from reference.litert.toolchain import find_litert
from reference.npu.devices import find_device
from reference.npu.toolchain import find_toolchain
from reference.process import Tick

Feeds = dict[str, np.ndarray]
Forward = Callable[[Feeds], np.ndarray]


@dataclass(frozen=True)
class Runtime:
    """`label` says what computes; `open` gives the forward pass of a model, the first output.

    `open` takes a folder to write in. The pass raises ChildError where the model does not take an
    input, and SubmissionError where the session is gone.
    """

    label: Callable[[Job], str]
    open: Callable[[Model, Job, Path, Tick], AbstractContextManager[Forward]]


@contextlib.contextmanager
def _ort(model: Model, job: Job, scratch: Path, tick: Tick) -> Iterator[Forward]:
    if model.format == "tflite":
        raise SubmissionError(f"{model.path.name} is TFLite, not ONNX", "take --runtime tflite")
    onnx = _onnx_file(model, job, scratch, tick)
    with _loaded(Model(model.part, "onnx", str(onnx)), job, scratch, tick) as forward:
        yield _declared(onnx, job, forward)


@contextlib.contextmanager
def _tflite(model: Model, job: Job, scratch: Path, tick: Tick) -> Iterator[Forward]:
    if model.format != "tflite":
        raise SubmissionError(f"{model.path.name} is no .tflite", "take --runtime ort")
    with _loaded(model, job, scratch, tick) as forward:
        yield _declared(model.path, job, forward)


@contextlib.contextmanager
def _torch(model: Model, job: Job, scratch: Path, tick: Tick) -> Iterator[Forward]:
    if not model.torch:
        form, runtime = ("TFLite", "tflite") if model.format == "tflite" else ("ONNX", "ort")
        told = f"{model.path.name} is {form}, not PyTorch"
        raise SubmissionError(told, f"take --runtime {runtime}")
    with _loaded(model, job, scratch, tick) as forward:
        yield forward


@contextlib.contextmanager
def _npu(model: Model, job: Job, scratch: Path, tick: Tick) -> Iterator[Forward]:
    onnx = _onnx_file(model, job, scratch, tick)
    compiled = compile_file(onnx, find_device(job.device), limits=job.limits, tick=tick)
    with emulated(compiled, job.limits, tick) as emulate:
        yield _declared(onnx, job, lambda feeds: next(iter(emulate(feeds).values())))


@contextlib.contextmanager
def _aihub(model: Model, job: Job, scratch: Path, tick: Tick) -> Iterator[Forward]:
    """Compiled once on AI Hub, then an inference job for each pass."""
    hub, start = Hub("auto"), time.monotonic()

    def finish(submitted: Any) -> Any:
        reason = hub.ask(partial(wait, submitted, lambda _: tick(time.monotonic() - start)))
        if reason:
            raise SubmissionError(
                f"{submitted.job_type} job {submitted.job_id} failed: {reason}",
                "`pytest -m device` holds the model to the rules of the device",
            )
        return submitted

    def forward(feeds: Feeds) -> np.ndarray:
        submit = partial(
            hub.client.submit_inference_job,
            model=target,
            device=device.device,
            inputs=dataset(job.track, [feeds]),
            profile=False,
        )
        ((output, *_),) = answers(hub, finish(hub.ask(submit)))
        return output

    onnx = _onnx_file(model, job, scratch, tick)
    with contextlib.closing(hub):
        device = hub.device(job.device)
        submitted = submit_compile(hub, device, job.track, job.part, model, onnx, scratch)
        target = finish(submitted).get_target_model()
        yield _declared(onnx, job, forward)


@contextlib.contextmanager
def _loaded(model: Model, job: Job, scratch: Path, tick: Tick) -> Iterator[Forward]:
    """A model in its child; what it wrote is read into memory and removed."""
    passes = itertools.count()

    def forward(feeds: Feeds) -> np.ndarray:
        folder = scratch / f"pass-{next(passes)}"
        try:
            outputs = process.run(feeds, folder).outputs
            if not outputs:
                raise SubmissionError("the model returned no tensor", "return the answer")
            return np.array(outputs[0])
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    name = model.path.name
    with ModelProcess(name, scratch, tick, job.limits, torch=model.torch) as process:
        process.load(model, job.threads)
        yield forward


def _onnx_file(model: Model, job: Job, scratch: Path, tick: Tick) -> Path:
    if not model.torch:
        return model.path
    path = scratch / f"{model.part}-export.onnx"
    export_onnx(model, job.track_id, path, job.limits, tick)
    return path


def _declared(onnx: Path, job: Job, forward: Forward) -> Forward:
    """The pass with the inputs in the dtypes that the graph declares, where there is a choice."""
    if all(len(tensor.dtypes) == 1 for tensor in job.part.inputs):  # reading a graph takes memory
        return forward
    dtypes = {value.name: value.dtype for value in read_graph(onnx, job.limits).inputs}
    return lambda feeds: forward(
        {name: array.astype(dtypes.get(name, array.dtype)) for name, array in feeds.items()}
    )


def _version(package: str) -> str:
    try:
        return f"{package} {version(package).partition('+')[0]} CPU"
    except PackageNotFoundError:
        raise SubmissionError(
            f"{package} is not installed", install_command("torch" if package == "torch" else "")
        ) from None


def _hub_label(job: Job) -> str:
    """The toolchain of a local hub is in its words; AI Hub's own changes without a word."""
    import_client()
    hub = Hub("auto")
    if hub.own or hub.local:  # one that is started for the run need not be, for a word
        return f"local AI Hub, emulated {job.device}, {find_toolchain()}"
    return f"AI Hub, {job.device}"


RUNTIMES: dict[str, Runtime] = {
    "ort": Runtime(lambda job: _version("onnxruntime"), _ort),
    "tflite": Runtime(lambda job: f"{find_litert()} CPU", _tflite),
    "torch": Runtime(lambda job: _version("torch"), _torch),
    "aihub": Runtime(_hub_label, _aihub),
    "npu": Runtime(lambda job: f"emulated NPU of {job.device}, {find_toolchain()}", _npu),
}
