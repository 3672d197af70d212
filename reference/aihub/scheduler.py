"""Starts jobs when what they need is there, a few at a time, each in a process of its own."""

import contextlib
import errno
import multiprocessing
import os
import shutil
import signal
import sqlite3
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import connection, forkserver
from multiprocessing.process import BaseProcess

from reference.aihub.access import Unknown
from reference.aihub.execute import Place, end_job, run_job
from reference.aihub.listed import FAULT
from reference.aihub.records import DatasetRecord, JobRecord, JobState, ModelRecord
from reference.aihub.room import NO_ROOM
from reference.aihub.store import Store

_ATTEMPTS = 2
_RETRY_SECONDS = 1.0
_TERM_SECONDS = 2.0
_UNKNOWN = 255  # the forkserver, which would have told, has ended
_TERMINATED = (-signal.SIGTERM, _UNKNOWN)
_RUNNING: dict[str, JobState] = {
    "compile": JobState.OPTIMIZING_MODEL,
    "quantize": JobState.QUANTIZING_MODEL,
    "link": JobState.LINKING_MODELS,
}


@dataclass(frozen=True)
class _Running:
    """A job at work; `until` is when it is stopped, of the monotonic clock."""

    job: JobRecord
    process: BaseProcess
    until: float


class Scheduler:
    """Does the jobs of one hub. A context manager; at its end running jobs are stopped, and begin
    again when the hub does, as if they had not yet.

    `changed` is called, in the scheduler's thread, when a job has come to its end.
    """

    def __init__(self, place: Place, workers: int, changed: Callable[[], None]) -> None:
        self._place = place
        self._workers = workers
        self._changed = changed
        self._store: Store = place.store()
        self._blobs = place.blobs()
        self._running: dict[str, _Running] = {}
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        # Forked from a server that has imported what every job needs.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([place.runner.partition(":")[0], __name__, "h5py"])

    def wake(self) -> None:
        """There is something new to do."""
        self._wake.set()

    def stop(self) -> None:
        """Nothing new is begun, and nothing that ends by the same signal has failed."""
        self._stop.set()
        self._wake.set()

    def __enter__(self) -> "Scheduler":
        shutil.rmtree(self._place.scratch, ignore_errors=True)
        self._place.scratch.mkdir(mode=0o700, parents=True)
        forkserver.ensure_running()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join()
        for running in self._running.values():
            running.process.kill()
            running.process.join()
            with contextlib.suppress(sqlite3.Error):
                self._store.put_back(running.job)

    def _loop(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            try:
                self._reap()
                self._start()
            except Exception:  # such as a full disk: nothing is lost, only later
                traceback.print_exc()
                self._wake.wait(_RETRY_SECONDS)
                self._wake.set()
            ends = [running.until for running in self._running.values()]
            self._wake.wait(max(0.0, min(ends) - time.monotonic()) if ends else None)

    def _reap(self) -> None:
        for id, running in list(self._running.items()):
            process = running.process
            if time.monotonic() >= running.until:
                process.kill()
                process.join()
                reason = f"this job took more than {self._place.deadline:.0f} s and was stopped"
            elif process.is_alive():
                continue
            else:
                process.join()
                # Sent to all processes of a service, it may come here ahead of the hub.
                if process.exitcode in _TERMINATED and self._stop.wait(_TERM_SECONDS):
                    return
                if process.exitcode == _UNKNOWN and process.pid:  # it may be at work still
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGKILL)
                reason = _exit(process.exitcode)
            self._end(running.job, reason)  # unless it has come to an end of its own
            del self._running[id]

    def _start(self) -> None:
        if len(self._running) >= self._workers:
            return
        for job in self._store.unfinished():
            if self._stop.is_set() or len(self._running) >= self._workers:
                return
            if job.id in self._running:
                continue
            try:
                ready = self._ready(job)
            except Unknown as error:
                self._end(job, f"{error} is not there any more")
                continue
            if isinstance(ready, str):
                self._end(job, ready)
            elif ready:
                self._run(job)

    def _ready(self, job: JobRecord) -> bool | str:
        """Whether a job can start, or why it never can."""
        for id in job.asked.models:
            producer = self._store.get(ModelRecord, id).producer
            if not producer:
                continue
            source = self._store.get(JobRecord, producer)
            if source.state == JobState.FAILED:
                return f"model {id} was not made: job {producer} failed: {source.failure}"
            if source.state != JobState.DONE:
                return False
        if job.asked.dataset:
            self._store.get(DatasetRecord, job.asked.dataset)
        return True

    def _run(self, job: JobRecord) -> None:
        if job.attempt >= _ATTEMPTS:
            self._end(job, f"the hub was killed {job.attempt} times while this job ran")
            return
        state = _RUNNING.get(job.asked.kind)
        if state is None:
            measured = job.asked.profile
            state = JobState.MEASURING_PERFORMANCE if measured else JobState.RUNNING_INFERENCE
        begun = self._store.update(job, state=state, started=time.time(), attempt=job.attempt + 1)
        process = self._context.Process(target=run_job, args=(self._place, job.id), daemon=False)
        try:
            process.start()
        except (EOFError, OSError):  # without a forkserver, which comes again
            self._store.put_back(begun)
            raise
        self._running[job.id] = _Running(begun, process, time.monotonic() + self._place.deadline)
        threading.Thread(target=self._watch, args=(process,), daemon=True).start()

    def _watch(self, process: BaseProcess) -> None:
        connection.wait([process.sentinel])
        self._wake.set()

    def _end(self, job: JobRecord, reason: str) -> None:
        if not self._store.get(JobRecord, job.id).state.finished:
            end_job(self._place, self._store, self._blobs, job, None, reason)
        self._changed()


def _exit(code: int | None) -> str:
    if code == errno.ENOSPC:
        return NO_ROOM
    name = f" ({signal.Signals(-code).name})" if code is not None and code < 0 else ""
    return f"{FAULT}: the worker of this job ended with exit code {code}{name}"
