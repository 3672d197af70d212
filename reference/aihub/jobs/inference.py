"""Inference and profile jobs: outputs for a data set, and layers, memory and time."""

import time
import zlib
from collections.abc import Iterator

import numpy as np

from reference.aihub.data import DataSet, DataSetWriter
from reference.aihub.jobs.bench import Bench
from reference.aihub.jobs.profile import profile_of
from reference.aihub.jobs.session import Session, open_session
from reference.aihub.options import RunOptions, run_options
from reference.aihub.tasks import InferenceTask, Profile, Result, TaskError, TensorSpec
from reference.process import ChildError

# The emulator's time says nothing of a device's, and more of it says no more.
_EMULATED_PASSES = 3


def inference_job(task: InferenceTask, bench: Bench) -> Result:
    """Outputs, profile or both, as `task` asks; raises TaskError where the model cannot be run."""
    options = run_options(task.options)
    with open_session(task, options, bench) as session:
        notices = [_where(session, task), *options.notices]
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
            seconds = _passes(session, options)
        else:
            raise TaskError("there is nothing to do: give a data set, or ask for a profile")
        peak = session.peak() or 0
    profile = profile_of(session, seconds, peak, task, bench) if task.profile else None
    if profile:
        notices += [_time(profile), f"host time: {profile.clock}", _memory(session)]
    return Result(
        input_spec=session.inputs, outputs=outputs, profile=profile, notices=tuple(notices)
    )


def _where(session: Session, task: InferenceTask) -> str:
    left = len(session.compiled.placement.cpu) if session.compiled else 0
    rest = f", {left} operators by {session.host} on its CPU" if left else ""
    if session.emulated:
        return (
            f"computed by QAIRT's emulator of {task.device.soc} on this host{rest}, not by a device"
        )
    return (
        f"computed by {session.host} on this host's CPU in the model's own precision,"
        " not by a device"
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


def _passes(session: Session, options: RunOptions) -> list[float]:
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


def _time(profile: Profile) -> str:
    shown = "it" if profile.estimate else "0"
    return f"{profile.basis}; clients show {shown} as estimated_inference_time"


def _memory(session: Session) -> str:
    host = "memory: the peak of the host's process, with the whole toolchain in it"
    traffic = session.compiled.traffic if session.compiled else None
    if traffic is None:
        return host
    return f"{host}; the compiler plans to read {traffic.read} and write {traffic.written} bytes"
