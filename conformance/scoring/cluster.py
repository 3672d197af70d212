"""Workers as Ray actors, on this machine or a cluster: the same worker, the same results.

A machine that has not the files of the job gets them through Ray's object store, once for all its
workers.
"""

import os
import shutil
import socket
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import cached_property
from typing import Any

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
# What passes through the store of one machine is numbers and embeddings; it is Ray's least.
_STORE_BYTES = 80 * 2**20


class RayEngine:
    """Scores with actors of a Ray cluster: the one at `address`, or one made for this run."""

    def __init__(self, address: str | None) -> None:
        self._address = address

    def __call__(
        self, job: Job, items: Mapping[int, str], workers: int, tick: Tick
    ) -> Generator[Result, None, None]:
        """Results as they are ready; a worker that dies is replaced and its item tried again.

        Where a machine dies, its workers' replacements wait for room, and the others go on.

        Raises SubmissionError where Ray is not installed, the cluster is not there, or the model
        cannot be loaded.
        """
        ray = _connect(self._address, workers, max(job.threads, 1))
        try:
            # A cluster made for this run is this machine, which has all files.
            cargo = Cargo.of(job) if self._address else Cargo(())
            with closing(_Pool(ray, job, cargo, tick)) as pool:
                yield from pool.results(items, workers)
        finally:
            ray.shutdown()


class _Actor:
    """A worker in a process of Ray's. Ray cannot carry SubmissionError, so it is a value here."""

    def __init__(self, job: Job, cargo: Cargo) -> None:
        self._job = job
        self._cargo = cargo
        self._own = ExitStack()
        self._worker: Worker | None = None

    def arrive(self) -> bool:
        """Whether the files are here, in their own place or in that of another worker's."""
        if self._cargo.is_here():
            return True
        if self._cargo.folder.is_dir():
            self._job = self._cargo.moved(self._job)
            return True
        return False

    def receive(self, blocks: Sequence[tuple[int, Any]]) -> bool | tuple[str, str]:
        """Writes the files of the job, or says the problem and the remedy that end the run."""
        import ray

        try:
            self._cargo.unload(blocks, ray.get)
        except OSError as error:
            told = f"a machine of the cluster cannot keep the data and the models ({error})"
            return told, "see that its folder for temporary files has room"
        return self.arrive()

    def score(self, index: int) -> Result | tuple[str, str]:
        """The result of an item, or the problem and the remedy that end the run."""
        try:
            if self._worker is None:
                self._worker = self._own.enter_context(Worker(self._job))
            return self._worker.score(index)
        except SubmissionError as error:
            return error.problem, error.remedy

    def close(self) -> None:
        """Ends the model's process and removes what the worker has written."""
        self._own.close()
        shutil.rmtree(self._cargo.folder, ignore_errors=True)


class _Pool:
    """The actors of one run, each with at most one item under way."""

    def __init__(self, ray: Any, job: Job, cargo: Cargo, tick: Tick) -> None:
        self._ray = ray
        self._tick = tick
        self._cargo = cargo
        remote = ray.remote(num_cpus=max(job.threads, 1), max_restarts=0)(_Actor)
        self._make: Callable[[], Any] = lambda: remote.remote(job, cargo)
        self._arriving: dict[Any, Any] = {}
        self._idle: list[Any] = []
        self._busy: dict[Any, tuple[Any, int]] = {}
        self._lost = 0

    def results(self, items: Mapping[int, str], workers: int) -> Iterator[Result]:
        """One result for each item."""
        todo, deaths = deque(items), Counter[int]()
        for _ in range(min(workers, len(items))):
            self._hire()
        while todo or self._busy:
            while todo and self._idle:
                actor, index = self._idle.pop(), todo.popleft()
                self._busy[actor.score.remote(index)] = actor, index
            ready, _ = self._ray.wait([*self._busy, *self._arriving], timeout=_TICK_SECONDS)
            if not ready:
                self._tick(_TICK_SECONDS)
                continue
            if ready[0] in self._arriving:
                self._welcome(ready[0])
                continue
            actor, index = self._busy.pop(ready[0])
            try:
                answer = self._ray.get(ready[0])
            except self._ray.exceptions.RayActorError as error:
                self._hire()
                deaths[index] += 1
                if deaths[index] < _DEATHS:
                    todo.appendleft(index)
                    continue
                answer = Result(items[index], error=one_line(f"{_DEATHS} workers died: {error}"))
            else:
                self._idle.append(actor)
            if isinstance(answer, tuple):
                raise SubmissionError(*answer)
            yield answer

    def close(self) -> None:
        """Lets the actors put away what they have; what does not end in time is left to Ray."""
        actors = [*self._idle, *(actor for actor, _ in self._busy.values())]
        ends = [actor.close.remote() for actor in actors]
        self._ray.wait(ends, num_returns=len(ends), timeout=_PATIENCE_SECONDS)

    def _hire(self) -> None:
        # On a machine that has died there is no room any more, and this one may never arrive.
        actor = self._make()
        self._arriving[actor.arrive.remote()] = actor

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
            self._idle.append(actor)
        else:
            self._arriving[actor.receive.remote(self._blocks)] = actor

    @cached_property
    def _blocks(self) -> list[tuple[int, Any]]:
        return [(number, self._ray.put(block)) for number, block in self._cargo.blocks()]


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
