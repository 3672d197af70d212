"""Workers as Ray actors, on this machine or a cluster: the same worker, the same results.

A machine that has not the files of a job gets them through Ray's object store, once for all its
workers and all jobs of a run.
"""

import os
import shutil
import socket
import uuid
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from conformance.scoring.cargo import Cargo
from conformance.scoring.job import Job
from conformance.scoring.worker import Worker
from reference.errors import SubmissionError, one_line
from reference.install import install_command
from reference.process import Tick
from reference.scores import Result

_TICK_SECONDS = 0.5
_PATIENCE_SECONDS = 10.0
# An item on which so many workers have died is not tried again.
_DEATHS = 3
# So many workers may end before they have begun.
_LOSSES = 20
# So long a worker is not asked anew: of quick models, asking and answering is half the work.
_BATCH_SECONDS = 1.0
# What passes through the store of one machine is numbers and embeddings; it is Ray's least.
_STORE_BYTES = 80 * 2**20


class RayEngine:
    """Scores with actors of a Ray cluster: the one at `address`, or one made for this run.

    A context manager: cluster, workers and what was sent to them serve all jobs within it.
    """

    def __init__(self, address: str | None) -> None:
        self._address = address
        self._name = f"lpcvc-{uuid.uuid4().hex}"
        self._pool: _Pool | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def __call__(
        self, job: Job, items: Mapping[int, str], workers: int, tick: Tick
    ) -> Generator[Result, None, None]:
        """Results as they are ready; a worker that dies is replaced and its item tried again.

        Where a machine dies, its workers' replacements wait for room, and the others go on.

        Raises SubmissionError where Ray is not installed, the cluster is not there, or the model
        cannot be loaded.
        """
        # A cluster made for this run is this machine, which has all files.
        cargo = Cargo.of(job, self._name) if self._address else Cargo((), self._name)
        if self._pool is None:
            ray = _connect(self._address, workers, max(job.threads, 1))
            self._pool = _Pool(ray, max(job.threads, 1))
        yield from self._pool.results(job, cargo, items, workers, tick)


class _Actor:
    """A worker in a process of Ray's. Ray cannot carry SubmissionError, so it is a value here."""

    def __init__(self) -> None:
        self._own = ExitStack()
        self._worker: Worker | None = None

    def take(self, job: Job, cargo: Cargo) -> list[int]:
        """Begins a job; the numbers of its files that are neither in their place nor below the
        folder of this run.
        """
        self._own.close()
        self._worker, self._job, self._cargo = None, job, cargo
        if cargo.is_here():
            return []
        cargo.tidy()
        missing = cargo.missing()
        if not missing:
            self._job = cargo.moved(job)
        return missing

    def receive(self, sent: Mapping[int, Sequence[Any]]) -> list[int] | tuple[str, str]:
        """Writes the files that were missing, or says the problem and the remedy that end the run.

        None is missing then.
        """
        import ray

        try:
            self._cargo.unload(sent, ray.get)
        except OSError as error:
            told = f"a machine of the cluster cannot keep the data and the models ({error})"
            return told, "see that its folder for temporary files has room"
        self._job = self._cargo.moved(self._job)
        return []

    def score(self, batch: Sequence[int]) -> list[Result] | tuple[str, str]:
        """The results of items, or the problem and the remedy that end the run."""
        try:
            if self._worker is None:
                self._worker = self._own.enter_context(Worker(self._job))
            return [self._worker.score(index) for index in batch]
        except SubmissionError as error:
            return error.problem, error.remedy

    def close(self) -> None:
        """Ends the model's process and removes what the workers of this machine have written."""
        self._own.close()
        shutil.rmtree(self._cargo.folder, ignore_errors=True)


class _Pool:
    """The actors of a run, each with at most one batch of items under way."""

    def __init__(self, ray: Any, cpus: int) -> None:
        self._ray = ray
        self._make: Callable[[], Any] = ray.remote(num_cpus=cpus, max_restarts=0)(_Actor).remote
        self._start: Callable[[Any], Any]
        self._arriving: dict[Any, Any] = {}
        self._idle: list[Any] = []
        self._busy: dict[Any, tuple[Any, list[int]]] = {}
        self._stored: dict[tuple[Path, int, int], list[Any]] = {}
        self._lost = 0

    def results(
        self, job: Job, cargo: Cargo, items: Mapping[int, str], workers: int, tick: Tick
    ) -> Iterator[Result]:
        """One result for each item."""
        self._begin(job, cargo, min(workers, len(items)))
        todo, deaths = deque(items), Counter[int]()
        pace = _BATCH_SECONDS  # of an item, as far as is known
        try:
            while todo or self._busy:
                while todo and self._idle:
                    most = min(int(_BATCH_SECONDS / pace), len(todo) // (2 * workers))
                    batch = _batch(todo, deaths, most)
                    actor = self._idle.pop()
                    self._busy[actor.score.remote(batch)] = actor, batch
                ready, _ = self._ray.wait([*self._busy, *self._arriving], timeout=_TICK_SECONDS)
                if not ready:
                    tick(_TICK_SECONDS)
                    continue
                if ready[0] in self._arriving:
                    self._welcome(ready[0])
                    continue
                actor, batch = self._busy.pop(ready[0])
                try:
                    answer = self._ray.get(ready[0])
                except self._ray.exceptions.RayActorError as error:
                    self._hire()
                    deaths.update(batch)
                    lost = [index for index in batch if deaths[index] == _DEATHS]
                    todo.extendleft(index for index in reversed(batch) if index not in lost)
                    told = one_line(f"{_DEATHS} workers died: {error}")
                    answer = [Result(items[index], error=told) for index in lost]
                else:
                    self._idle.append(actor)
                    if isinstance(answer, tuple):
                        raise SubmissionError(*answer)
                    pace = max(sum(result.seconds for result in answer) / len(answer), 1e-3)
                yield from answer
        finally:
            self._free()

    def close(self) -> None:
        """Lets the actors put away what they have, and leaves the cluster."""
        ends = [actor.close.remote() for actor in self._idle]
        if ends:
            self._ray.wait(ends, num_returns=len(ends), timeout=_PATIENCE_SECONDS)
        self._ray.shutdown()

    def _begin(self, job: Job, cargo: Cargo, workers: int) -> None:
        """Those that are here, or on their way, take the job; others are hired for the rest."""
        self._cargo, self._lost = cargo, 0
        self._start = lambda actor: actor.take.remote(job, cargo)
        files = set(cargo.files)
        self._stored = {file: refs for file, refs in self._stored.items() if file in files}
        known = [*self._idle, *self._arriving.values()]
        self._idle, self._arriving = [], {}
        for actor in known:
            self._arriving[self._start(actor)] = actor
        for _ in range(workers - len(known)):
            self._hire()

    def _free(self) -> None:
        """Where a job ends early, who is not done in time is not waited for."""
        if not self._busy:
            return
        self._ray.wait([*self._busy], num_returns=len(self._busy), timeout=_PATIENCE_SECONDS)
        for ready, (actor, _) in self._busy.items():
            try:
                self._ray.get(ready, timeout=0)
            except self._ray.exceptions.RayError:
                self._ray.kill(actor)
            else:
                self._idle.append(actor)
        self._busy = {}

    def _hire(self) -> None:
        # On a machine that has died there is no room any more, and this one may never arrive.
        actor = self._make()
        self._arriving[self._start(actor)] = actor

    def _welcome(self, arrival: Any) -> None:
        actor = self._arriving.pop(arrival)
        try:
            answer = self._ray.get(arrival)
        except self._ray.exceptions.RayActorError as error:
            self._lost += 1
            if self._lost > _LOSSES:
                raise SubmissionError(
                    f"Ray's workers end as they start: {one_line(str(error))}",
                    "install this package on every machine of the cluster, and Ray in one version",
                ) from None
            self._hire()
            return
        if isinstance(answer, tuple):
            raise SubmissionError(*answer)
        if answer:
            self._arriving[actor.receive.remote({n: self._sent(n) for n in answer})] = actor
        else:
            self._idle.append(actor)

    def _sent(self, number: int) -> list[Any]:
        """A file in Ray's object store, in blocks."""
        file = self._cargo.files[number]
        if file not in self._stored:
            self._stored[file] = [self._ray.put(block) for block in self._cargo.blocks(number)]
        return self._stored[file]


def _batch(todo: deque[int], deaths: Mapping[int, int], most: int) -> list[int]:
    """The next items; one with which a worker has died goes alone, so that no other dies of it."""
    batch = [todo.popleft()]
    while todo and len(batch) < most and not deaths[batch[0]] and not deaths[todo[0]]:
        batch.append(todo.popleft())
    return batch


def _connect(address: str | None, workers: int, threads: int) -> Any:
    # Before the import: Ray reads it once.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise SubmissionError(
            "--engine ray needs Ray, which is not installed",
            install_command("ray"),
        ) from None
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        options |= {
            "num_cpus": workers * threads,
            "include_dashboard": False,
            "object_store_memory": _STORE_BYTES,
        }
    else:
        _knock(address)
    try:
        ray.init(address=address or "local", **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise SubmissionError(
            f"Ray cannot be reached at {address or 'this machine'}: {error}",
            "start one with `ray start --head`, or leave --address out",
        ) from None
    cpus = int(ray.cluster_resources().get("CPU", 0))
    if cpus < workers * threads:
        ray.shutdown()
        raise SubmissionError(
            f"the cluster has {cpus} CPUs and {workers} workers with {threads} each need more",
            f"give --workers {max(cpus // threads, 1)}",
        )
    return ray


def _knock(address: str) -> None:
    """Raises SubmissionError where nobody answers at HOST:PORT: Ray itself waits for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():  # such as "auto"
        return
    try:
        socket.create_connection((host, int(port)), _PATIENCE_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise SubmissionError(
            f"nobody answers at {address} ({error})", "start a cluster with `ray start --head`"
        ) from None
