"""Inference and profile jobs: outputs for a data set, and layers, memory and time."""

import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from reference.aihub.data import DataSet, DataSetWriter
from reference.aihub.jobs.bench import Bench
from reference.aihub.jobs.session import Session, open_session
from reference.aihub.options import RunOptions, run_options
from reference.aihub.tasks import (
    ComputeUnit,
    InferenceTask,
    Layer,
    ModelKind,
    Profile,
    Result,
    TaskError,
    TensorSpec,
)
from reference.errors import SubmissionError
from reference.npu.latency import estimate
from reference.process import ChildError

# The emulator's time says nothing of a device's, and more of it says no more.
_EMULATED_PASSES = 3


def inference_job(task: InferenceTask, bench: Bench) -> Result:
    """Outputs, profile or both, as `task` asks; raises TaskError where the model cannot be run."""
    options = run_options(task.options)
    with open_session(task, options, bench) as session:
        notices = [_where(session, task)]
        outputs = None
        if task.data is not None:
            outputs = bench.folder / "outputs.h5"
            with DataSet(task.data) as data:
                data.check(session.inputs, "the model")
                samples = (data.sample(index) for index in range(len(data)))
                with DataSetWriter(outputs, session.outputs) as writer:
                    seconds = [_one(session, feeds, writer) for feeds in samples]
        elif task.profile:
            notices.append("timed on random data: no data set was given")
            seconds = _time(session, options)
        else:
            raise TaskError("there is nothing to do: give a data set, or ask for a profile")
        profile = _profile(session, seconds) if task.profile else None
        inputs, source = session.inputs, session.source
    if profile:
        notices += [f"time: {profile.clock}", _memory(session)]
        if source is not None:
            notices.append(_estimated(source, task, bench))
    return Result(input_spec=inputs, outputs=outputs, profile=profile, notices=tuple(notices))


def _estimated(source: Path, task: InferenceTask, bench: Bench) -> str:
    """What a device might take, from the compiler's simulation of one chip and published times."""
    runtime = {
        ModelKind.QNN_DLC: "qnn_dlc",
        ModelKind.QNN_CONTEXT_BINARY: "qnn_context_binary",
    }.get(task.model.kind, "onnx")
    try:
        found = estimate(source, task.device, runtime, limits=bench.limits, tick=bench.tick)
    except SubmissionError as error:
        return f"no latency estimate: {error.problem}"
    return found.summary


def _where(session: Session, task: InferenceTask) -> str:
    if session.emulated:
        return f"computed by QAIRT's emulator of {task.device.soc} on this host, not by a device"
    return (
        "computed by ONNX Runtime on this host's CPU in the model's own precision, not by a device"
    )


def _one(session: Session, feeds: dict[str, np.ndarray], writer: DataSetWriter) -> float:
    """Runs one sample; only that one is in memory."""
    outputs, seconds = _run(session, feeds)
    writer.add(outputs)
    return seconds


def _run(session: Session, feeds: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], float]:
    try:
        return session.run(feeds)
    except ChildError as error:
        raise TaskError(f"the model fails on this input: {error}") from None


def _time(session: Session, options: RunOptions) -> list[float]:
    """The seconds of passes on random data, no more and not much longer than the options allow."""
    most = min(options.passes, _EMULATED_PASSES) if session.emulated else options.passes
    seconds: list[float] = []
    end = time.monotonic() + options.seconds
    for feeds in _random(session.inputs, most):
        seconds.append(_run(session, feeds)[1])
        if time.monotonic() + seconds[-1] > end:
            break
    return seconds


def _random(inputs: tuple[TensorSpec, ...], count: int) -> Iterator[dict[str, np.ndarray]]:
    """The same inputs at each call: floats in [0, 1), and integers that are 0 or 1."""
    rngs = {spec.name: np.random.default_rng(zlib.crc32(spec.name.encode())) for spec in inputs}
    for _ in range(count):
        yield {
            spec.name: (
                rngs[spec.name].random(spec.shape)
                if spec.dtype.startswith("float")
                else rngs[spec.name].integers(0, 2, spec.shape)
            ).astype(spec.dtype)
            for spec in inputs
        }


def _profile(session: Session, seconds: list[float]) -> Profile:
    compiled = session.compiled
    simulated = compiled.simulated if compiled and session.emulated else None
    times: tuple[float, ...]
    if compiled and simulated:
        times = (simulated.ms * 1000,)
        missing = f", {simulated.uncosted} operators not counted" if simulated.uncosted else ""
        clock = (
            f"the compiler's simulation of {compiled.device.soc},"
            f" {simulated.lowest_ms:g} to {simulated.highest_ms:g} ms{missing}; not measured"
        )
    else:
        times = tuple(second * 1e6 for second in seconds)
        what = "emulating the NPU" if session.emulated else "on its CPU"
        clock = f"this host's, {what}; it says nothing of a device"
    return Profile(
        times=times,
        load_time=session.loading * 1e6,
        compile_time=compiled.seconds * 1e6 if compiled else 0.0,
        peak_memory=session.peak() or 0,
        load_peak_memory=session.load_peak,
        layers=_layers(session),
        clock=clock,
        tools=session.tools,
    )


def _layers(session: Session) -> tuple[Layer, ...]:
    if session.compiled is None:
        unit = ComputeUnit.NPU if session.emulated else ComputeUnit.CPU
        return tuple(Layer(name, op, unit) for name, op in session.nodes)
    placement = session.compiled.placement
    return (
        *(Layer(node.name, node.op, ComputeUnit.NPU) for node in placement.npu),
        *(Layer(node.name, node.op, ComputeUnit.CPU) for node in placement.cpu),
    )


def _memory(session: Session) -> str:
    host = "memory: the peak of the host's process, with the whole toolchain in it"
    traffic = session.compiled.traffic if session.compiled else None
    if traffic is None:
        return host
    return f"{host}; the compiler plans to read {traffic.read} and write {traffic.written} bytes"
