"""Runs one job in a process of its own: takes it from the store and puts back what it made."""

import contextlib
import errno
import importlib
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path

from reference.aihub.blobs import Blobs, Copies, Damaged
from reference.aihub.data import DataSet
from reference.aihub.folders import zip_folder
from reference.aihub.joblog import LOG_NAME, begin_log, end_log, scrubbed
from reference.aihub.listed import FAULT
from reference.aihub.names import EXTENSIONS
from reference.aihub.records import DatasetRecord, JobRecord, JobState, Made, ModelRecord, new_id
from reference.aihub.room import NO_ROOM, is_no_room
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
from reference.errors import SubmissionError, ToolError, one_line
from reference.npu.devices import find_device
from reference.process import Limits, transcript

Runner = Callable[[Task, Path, Limits], Result]


@dataclass(frozen=True)
class Place:
    """Where the hub keeps its things, and what its jobs may take.

    `runner` is the `module:function` that does a job, `limits` are for each step of one, and
    `deadline` is in seconds, for all of it. `max_upload` is in bytes, of an upload and of what an
    archive holds, and `quota` of all that somebody has, with 0 for no end.
    """

    state: Path
    runner: str = "reference.aihub.work:run"
    limits: Limits = Limits()  # noqa: RUF009 - frozen
    deadline: float = 4 * 3600.0
    max_upload: int = 4 * 2**30
    quota: int = 0

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

    def folder(self, id: str) -> Path:
        """The folder of a job that begins, empty."""
        folder = self.scratch / id
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        return folder.absolute()

    def log(self, id: str) -> Path:
        """What a job prints, while it is not finished."""
        return self.scratch / f"{id}.log"


def run_job(place: Place, id: str) -> None:
    """Does the job `id`, which is marked as started, and writes how it ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the hub, which stops its workers
    os.umask(0o077)
    parent = parent_process()
    if parent is not None:  # a hub that was killed leaves no worker behind
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    store, blobs = place.store(), place.blobs()
    job = store.get(JobRecord, id)
    folder = place.folder(id)
    # What a library puts aside goes with the job's folder, however the job ends.
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    begin_log(place.log(id), job)
    result, reason = None, ""
    try:
        with transcript(sys.stderr):
            task = _task(job, place, store, blobs, folder)
            result = _runner(place)(task, folder / "made", place.limits)
    except ToolError as error:
        reason = f"{FAULT}: {error.problem}"
    except (TaskError, SubmissionError) as error:
        reason = str(error)
    except Exception as error:
        reason = _fault(error)
    try:
        end_job(place, store, blobs, job, result, reason)
    except Exception as error:
        if is_no_room(error):
            sys.exit(errno.ENOSPC)
        end_job(place, store, blobs, job, None, _fault(error))


def end_job(
    place: Place, store: Store, blobs: Blobs, job: JobRecord, result: Result | None, reason: str
) -> None:
    """Writes how a job ended, with what it made and its log; failed where there is no result."""
    others: list[ModelRecord | DatasetRecord] = []
    with blobs.copies() as copies:
        if result is None:
            done = failed(job, scrubbed(reason, place.state))
        else:
            done, others = _keep(job, result, store, copies, place)
        log = end_log(place.log(job.id), done, place.state)
        logs = {**done.made.logs, LOG_NAME: copies.add(log).digest}
        done = replace(done, made=replace(done.made, logs=logs))
        with store.writing():
            if store.finish(done, *others):
                copies.keep()
    shutil.rmtree(place.scratch / job.id, ignore_errors=True)
    log.unlink(missing_ok=True)


def _fault(error: Exception) -> str:
    if is_no_room(error):
        return NO_ROOM
    traceback.print_exc()
    return one_line(f"{FAULT}: {type(error).__name__}: {error}")


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


def _task(job: JobRecord, place: Place, store: Store, blobs: Blobs, folder: Path) -> Task:
    asked = job.asked
    models = tuple(_model(id, place, store, blobs, folder) for id in asked.models)
    data = _dataset(asked.dataset, place, store, blobs, folder) if asked.dataset else None
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


def _model(id: str, place: Place, store: Store, blobs: Blobs, folder: Path) -> Model:
    record = store.get(ModelRecord, id)
    if not record.blob:
        raise TaskError(f"model {id} was never uploaded, or is deleted")
    source = folder / f"{id}.source"
    _copy(f"model {id} ({record.name})", blobs, record.blob, source)
    if record.is_directory and zipfile.is_zipfile(source):
        unpack(source, folder / id, record.name or id, place.max_upload)
        (inner, *more) = sorted((folder / id).iterdir())
        return Model(inner if inner.is_dir() and not more else folder / id, record.kind)
    # What reads it goes by the extension, and the name need not have one.
    path = folder / f"{id}{EXTENSIONS[record.kind]}"
    source.rename(path)
    return Model(path, record.kind)


def _dataset(id: str, place: Place, store: Store, blobs: Blobs, folder: Path) -> Path:
    record = store.get(DatasetRecord, id)
    if not record.blob:
        raise TaskError(f"dataset {id} was never uploaded, or is deleted")
    path = folder / f"{id}.h5"
    _copy(f"dataset {id} ({record.name})", blobs, record.blob, path)
    check_readable(path, place.limits.timeout)
    return path


def check_readable(path: Path, seconds: float) -> None:
    """Raises TaskError for a data set that crashes its reader, or keeps it so long."""
    reader = get_context("fork").Process(target=_read, args=(path,), daemon=True)
    reader.start()
    reader.join(seconds)
    if reader.exitcode == 0:
        return
    reader.kill()
    reader.join()
    raise TaskError(
        "the data set is damaged: HDF5 crashes on it, or does not come to its end;"
        " write it again and compare its size"
    )


def _read(path: Path) -> None:
    with contextlib.suppress(TaskError, MemoryError), DataSet(path) as data:
        for index in range(len(data)):
            data.sample(index)


def _copy(what: str, blobs: Blobs, digest: str, target: Path) -> None:
    try:
        blobs.copy(digest, target)
    except Damaged:
        raise TaskError(
            f"{what} is damaged, or gone, on the disk of this hub: upload or make it again"
        ) from None


def _keep(
    job: JobRecord, result: Result, store: Store, copies: Copies, place: Place
) -> tuple[JobRecord, list[ModelRecord | DatasetRecord]]:
    others: list[ModelRecord | DatasetRecord] = []
    now = time.time()
    if result.model is not None:
        target = store.get(ModelRecord, job.target)
        path = result.model.path
        if path.is_dir():
            path = zip_folder(path, place.scratch / job.id / "target.zip", inside=target.name)
        blob = copies.add(path)
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
        blob = copies.add(result.outputs)
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
    logs = {}
    for name, path in result.logs.items():
        text = path.read_text(encoding="utf-8", errors="replace")
        path.write_text(scrubbed(text, place.state), encoding="utf-8")
        logs[name] = copies.add(path).digest
    notices = tuple(scrubbed(notice, place.state) for notice in result.notices)
    made = Made(output, result.profile, logs, notices, result.input_spec)
    return replace(job, state=JobState.DONE, finished=now, made=made), others
