"""Runs one job in a process of its own: takes it from the store and puts back what it made."""

import importlib
import os
import shutil
import signal
import tempfile
import threading
import time
import traceback
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing import parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path

from reference.aihub.blobs import Blobs
from reference.aihub.folders import zip_folder
from reference.aihub.names import EXTENSIONS
from reference.aihub.records import DatasetRecord, JobRecord, JobState, Made, ModelRecord, new_id
from reference.aihub.store import Store
from reference.aihub.tasks import (
    CompileTask,
    InferenceTask,
    LinkTask,
    Model,
    QuantizeTask,
    Result,
    Task,
    TaskError,
)
from reference.archive import unpack
from reference.errors import SubmissionError, one_line
from reference.npu.devices import find_device
from reference.process import Limits

Runner = Callable[[Task, Path, Limits], Result]


@dataclass(frozen=True)
class Place:
    """Where the hub keeps its things, and what its jobs may take.

    `runner` is the `module:function` that does a job, `limits` are for each step of one, and
    `deadline` is in seconds, for all of it.
    """

    state: Path
    runner: str = "reference.aihub.work:run"
    limits: Limits = Limits()  # noqa: RUF009 - frozen
    deadline: float = 4 * 3600.0

    def store(self) -> Store:
        """The database."""
        return Store(self.state / "hub.sqlite")

    def blobs(self) -> Blobs:
        """The files."""
        return Blobs(self.state / "blobs")

    @property
    def scratch(self) -> Path:
        """Where jobs work; emptied when the hub starts."""
        return self.state / "scratch"


def run_job(place: Place, id: str) -> None:
    """Does the job `id`, which is marked as started, and writes how it ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the hub, which stops its workers
    parent = parent_process()
    if parent is not None:  # a hub that was killed leaves no worker behind
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    store, blobs = place.store(), place.blobs()
    job = store.get(JobRecord, id)
    with tempfile.TemporaryDirectory(dir=place.scratch, prefix=f"{id}-") as folder:
        try:
            task = _task(job, store, blobs, Path(folder))
            result = _runner(place)(task, Path(folder) / "made", place.limits)
            done, others = _keep(job, result, store, blobs, Path(folder))
        except (TaskError, SubmissionError) as error:
            done, others = failed(job, str(error)), []
        except Exception as error:
            traceback.print_exc()
            reason = one_line(f"{type(error).__name__}: {error}")
            done, others = failed(job, f"a fault of this hub, not of the job: {reason}"), []
    store.finish(done, *others)


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def failed(job: JobRecord, reason: str) -> JobRecord:
    """The job as it is when it has failed."""
    return replace(job, state=JobState.FAILED, failure=reason, finished=time.time())


def _runner(place: Place) -> Runner:
    module, _, function = place.runner.partition(":")
    runner: Runner = getattr(importlib.import_module(module), function)
    return runner


def _task(job: JobRecord, store: Store, blobs: Blobs, folder: Path) -> Task:
    asked = job.asked
    models = tuple(_model(id, store, blobs, folder) for id in asked.models)
    data = _dataset(asked.dataset, store, blobs, folder) if asked.dataset else None
    match asked.kind:
        case "compile":
            device = find_device(asked.devices[0])
            return CompileTask(models[0], device, asked.options, asked.input_specs, data)
        case "quantize":
            if data is None:
                raise TaskError("a quantize job needs calibration data")
            return QuantizeTask(models[0], asked.weights, asked.activations, data, asked.options)
        case "link":
            return LinkTask(models, find_device(asked.devices[0]), asked.options)
        case "inference":
            device = find_device(asked.devices[0])
            return InferenceTask(models[0], device, asked.options, data, asked.profile)


def _model(id: str, store: Store, blobs: Blobs, folder: Path) -> Model:
    record = store.get(ModelRecord, id)
    if not record.blob:
        raise TaskError(f"model {id} was never uploaded")
    source = blobs.path(record.blob)
    if record.is_directory and zipfile.is_zipfile(source):
        unpack(source, folder / id, record.name or id)
        (inner, *more) = sorted((folder / id).iterdir())
        return Model(inner if inner.is_dir() and not more else folder / id, record.kind)
    # What reads it goes by the extension, and the name need not have one.
    path = folder / f"{id}{EXTENSIONS[record.kind]}"
    shutil.copyfile(source, path)
    return Model(path, record.kind)


def _dataset(id: str, store: Store, blobs: Blobs, folder: Path) -> Path:
    record = store.get(DatasetRecord, id)
    if not record.blob:
        raise TaskError(f"dataset {id} was never uploaded")
    path = folder / f"{id}.h5"
    shutil.copyfile(blobs.path(record.blob), path)
    return path


def _keep(
    job: JobRecord, result: Result, store: Store, blobs: Blobs, folder: Path
) -> tuple[JobRecord, list[ModelRecord | DatasetRecord]]:
    others: list[ModelRecord | DatasetRecord] = []
    now = time.time()
    if result.model is not None:
        target = store.get(ModelRecord, job.target)
        path = result.model.path
        if path.is_dir():
            path = zip_folder(path, folder / "target.zip", inside=target.name)
        blob = blobs.add(path)
        others.append(
            replace(
                target,
                kind=result.model.kind,
                is_directory=result.model.path.is_dir(),
                blob=blob.digest,
                size=blob.size,
                input_spec=result.input_spec,
                output_spec=result.output_spec,
                metadata=result.metadata,
            )
        )
    output = ""
    if result.outputs is not None:
        output = new_id("d")
        blob = blobs.add(result.outputs)
        others.append(
            DatasetRecord(
                output,
                job.owner,
                f"{job.name} output",
                now,
                None,
                job.asked.project,
                job.id,
                blob.digest,
                blob.size,
            )
        )
    logs = {name: blobs.add(path).digest for name, path in result.logs.items()}
    made = Made(output, result.profile, logs, result.notices)
    return replace(job, state=JobState.DONE, finished=now, made=made), others
