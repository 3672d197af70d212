"""Workers as Ray actors, on this machine or a cluster: the same worker, the same results."""

import os
from collections import Counter, deque
from collections.abc import Generator, Iterator, Mapping
from typing import Any

from conformance.scoring.job import Job, Result
from conformance.scoring.worker import Worker
from reference.errors import SubmissionError, one_line
from reference.process import Tick

_TICK_SECONDS = 0.5
# An item on which so many workers have died is not tried again.
_DEATHS = 3
# What passes through the store is numbers and embeddings; it is Ray's least.
_STORE_BYTES = 80 * 2**20


class RayEngine:
    """Scores with actors of a Ray cluster: the one at `address`, or one made for this run."""

    def __init__(self, address: str | None) -> None:
        self._address = address

    def __call__(
        self, job: Job, items: Mapping[int, str], workers: int, tick: Tick
    ) -> Generator[Result, None, None]:
        """Results as they are ready; a worker that dies is replaced and its item tried again.

        Raises SubmissionError where Ray is not installed, the cluster is not there, or the model
        cannot be loaded.
        """
        ray = _connect(self._address, workers, max(job.threads, 1))
        try:
            yield from _Pool(ray, job, tick).results(items, workers)
        finally:
            ray.shutdown()


class _Actor:
    """A worker in a process of Ray's. Ray cannot carry SubmissionError, so it is a value here."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._worker: Worker | None = None

    def score(self, index: int) -> Result | tuple[str, str]:
        """The result of an item, or the problem and the remedy that end the run."""
        try:
            if self._worker is None:
                self._worker = Worker(self._job).__enter__()
            return self._worker.score(index)
        except SubmissionError as error:
            return error.problem, error.remedy


class _Pool:
    """The actors of one run and the items that they have."""

    def __init__(self, ray: Any, job: Job, tick: Tick) -> None:
        self._ray = ray
        self._job = job
        self._tick = tick
        self._make = ray.remote(num_cpus=max(job.threads, 1), max_restarts=0)(_Actor).remote
        self._deaths: Counter[int] = Counter()

    def results(self, items: Mapping[int, str], workers: int) -> Iterator[Result]:
        """One result for each item; at most one item a worker is under way."""
        todo = deque(items)
        under_way: dict[Any, tuple[Any, int]] = {}
        idle = [self._make(self._job) for _ in range(min(workers, len(items)))]
        while todo or under_way:
            while todo and idle:
                actor, index = idle.pop(), todo.popleft()
                under_way[actor.score.remote(index)] = actor, index
            ready, _ = self._ray.wait([*under_way], timeout=_TICK_SECONDS)
            if not ready:
                self._tick(_TICK_SECONDS)
                continue
            actor, index = under_way.pop(ready[0])
            try:
                answer = self._ray.get(ready[0])
            except self._ray.exceptions.RayActorError as error:
                self._deaths[index] += 1
                if self._deaths[index] == _DEATHS:
                    problem = f"{_DEATHS} workers died on it: {error}"
                    yield Result(items[index], error=one_line(problem))
                else:
                    todo.appendleft(index)
                idle.append(self._make(self._job))
                continue
            if isinstance(answer, tuple):
                raise SubmissionError(*answer)
            idle.append(actor)
            yield answer


def _connect(address: str | None, workers: int, threads: int) -> Any:
    # Before the import: Ray reads these once.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError:
        raise SubmissionError(
            "--engine ray needs Ray, which is not installed",
            "pip install 'lpcvc-conformance[ray]'",
        ) from None
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        options |= {
            "num_cpus": workers * threads,
            "include_dashboard": False,
            "object_store_memory": _STORE_BYTES,
        }
    try:
        ray.init(address=address or "local", **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise SubmissionError(
            f"Ray cannot be reached at {address or 'this machine'}: {error}",
            "start one with `ray start --head`, or leave --address out",
        ) from None
    return ray
