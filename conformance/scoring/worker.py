"""A worker: the data set, a session on one part of the submission, and the metric between them."""

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import numpy as np

from conformance.contract.look import describe
from conformance.scoring.datasets import Dataset
from conformance.scoring.job import Job
from conformance.scoring.recorded import ANSWERS, Rows, open_scored, recorded
from conformance.scoring.runtimes import RUNTIMES
from reference.errors import SubmissionError
from reference.process import ChildError, Tick
from reference.scores import Metric, Result
from reference.tracks import fits, format_shape


class Worker:
    """Scores items of a job one at a time, in memory for one item. A context manager.

    Entering loads the model and raises SubmissionError where that cannot be.
    """

    def __init__(self, job: Job, tick: Tick = lambda seconds: None) -> None:
        self._job = job
        self._tick = tick
        self._dataset = Dataset(job.track, job.data)
        self._items = self._dataset.of(job.part_name)
        self._metric: Metric = job.track.room("metric").METRIC
        self._own = ExitStack()
        self._session = ExitStack()
        self._answers: Rows | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="lpcvc-"))
            self._scratch = Path(scratch)
            job = self._job
            submission = open_scored(
                job.runtime, job.track, job.submission, self._scratch, job.limits
            )
            self._model = submission.models[job.part_name]
            self._own = stack.pop_all()
        try:
            self._answers = self._open()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()
        self._own.close()

    def score(self, index: int) -> Result:
        """The result of the item `index` of the part; what goes wrong with it is in the result."""
        item = self._items[index]
        start = time.perf_counter()
        try:
            truth = self._dataset.truth(item)
            scored = self._metric.measure.score(self.predict(index), truth)
        except (SubmissionError, ChildError) as error:
            return Result(item.id, error=str(error), seconds=time.perf_counter() - start)
        return Result(
            item.id,
            scored.numbers,
            scored.array,
            note=scored.note,
            seconds=time.perf_counter() - start,
        )

    def predict(self, index: int) -> np.ndarray:
        """The model's answer to an item; raises SubmissionError or ChildError for none.

        After a crash the model is loaded again for the next item.
        """
        if self._answers is None:
            self._answers = self._open()
        output = self._answers(index)
        wanted = self._job.part.output
        if output.dtype.kind not in "biuf" or not fits(output.shape, wanted.shape):
            raise SubmissionError(
                f"the model answers {describe(output)}, not {format_shape(wanted.shape)}",
                "hold it to the contract first: pytest --pyargs conformance -m contract",
            )
        return output

    def _open(self) -> Rows:
        job = self._job
        if job.runtime == ANSWERS:
            return self._session.enter_context(recorded(self._model, job, len(self._items)))
        forward = self._session.enter_context(
            RUNTIMES[job.runtime].open(self._model, job, self._scratch, self._tick)
        )

        def answer(index: int) -> np.ndarray:
            feeds = self._dataset.feeds(job.part, self._items[index])
            try:
                return forward(feeds)
            except SubmissionError:  # the session is gone
                self._answers = None
                self._session.close()
                raise

        return answer
