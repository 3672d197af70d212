"""Workers of one machine: a thread for each, the model in its own child process."""

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterator, Mapping

from conformance.scoring.job import Job
from conformance.scoring.worker import Worker
from reference.process import Tick
from reference.scores import Result

# Scores items, ids by number, in any order, on so many workers; ticks while it waits.
Engine = Callable[[Job, Mapping[int, str], int, Tick], Generator[Result, None, None]]
_TICK_SECONDS = 0.5


def local(
    job: Job, items: Mapping[int, str], workers: int, tick: Tick
) -> Generator[Result, None, None]:
    """Results as they are ready. Raises SubmissionError where the model cannot be loaded."""
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    for index in items:
        todo.put(index)
    # Small, so that workers wait for whoever keeps the results.
    ready: queue.Queue[Result | BaseException | None] = queue.Queue(workers)
    stopped = threading.Event()

    def put(answer: Result | BaseException | None) -> None:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                ready.put(answer, timeout=_TICK_SECONDS)
                return

    def leave(waited: float) -> None:
        """Ends a forward pass that nobody waits for any more."""
        if stopped.is_set():
            raise KeyboardInterrupt

    def serve() -> None:
        try:
            with Worker(job, leave) as worker:
                while not stopped.is_set():
                    put(worker.score(todo.get_nowait()))
        except queue.Empty:
            put(None)
        except BaseException as error:
            put(error)

    threads = [threading.Thread(target=serve) for _ in range(min(workers, len(items)))]
    for thread in threads:
        thread.start()
    try:
        yield from _answers(ready, len(threads), tick)
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


def _answers(
    ready: "queue.Queue[Result | BaseException | None]", working: int, tick: Tick
) -> Iterator[Result]:
    """What comes until every worker has ended; a worker's exception is raised here."""
    while working:
        try:
            answer = ready.get(timeout=_TICK_SECONDS)
        except queue.Empty:
            tick(_TICK_SECONDS)
            continue
        if answer is None:
            working -= 1
        elif isinstance(answer, BaseException):
            raise answer
        else:
            yield answer
