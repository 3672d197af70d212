"""`lpcvc score`: a submission on a data set, to the number that the organisers would get."""

import hashlib
import os
import tempfile
import time
import uuid
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from conformance.report.progress import ProgressLine, stderr_progress
from conformance.scoring.datasets import Dataset, open_dataset
from conformance.scoring.engines import Engine
from conformance.scoring.job import Job
from conformance.scoring.kept import keep_score, read_scores, score_of
from conformance.scoring.pictures import draw, drawers
from conformance.scoring.recorded import ANSWERS, open_scored
from conformance.scoring.report import Scoring, score_report, write_table
from conformance.scoring.runtimes import RUNTIMES
from conformance.scoring.store import Run, Store
from conformance.scoring.summary import Comparison, compare, summarise
from conformance.submission.model import Model
from reference.errors import SubmissionError
from reference.install import install_command
from reference.npu.cache import model_digest
from reference.npu.devices import find_device
from reference.process import Limits
from reference.scores import Joint, Metric, Remarks, Result
from reference.tracks import Track

# A model that answers none of these first items answers none of the others.
_HOPELESS = 10


@dataclass(frozen=True)
class Options:
    """How a submission is scored and what is written; all but the engine is `lpcvc score`'s."""

    runtime: str
    device: str
    engine: Engine
    workers: int
    limits: Limits
    results: Path
    pictures: Path | None
    table: Path | None
    compare: Path | None
    keep: Path | None = None


def score_submission(
    track: Track, data: Path, specs: Sequence[str], options: Options
) -> tuple[str, int]:
    """Scores what is not in the results yet; the report, and 1 where an item went wrong.

    Raises SubmissionError for what cannot be opened, and where the first items all fail.
    """
    metric: Metric = track.room("metric").METRIC
    if find_spec("numba") is None:
        raise SubmissionError(
            "scoring needs numba, which is not installed", install_command("score")
        )
    # What is wrong with the options is told before hours of work.
    if options.pictures is not None:
        drawers(track)
    runtimes = (*RUNTIMES, ANSWERS)
    if options.runtime not in runtimes:
        raise SubmissionError(
            f"unknown runtime {options.runtime!r}", f"choose one of: {', '.join(runtimes)}"
        )
    find_device(options.device)
    if options.keep is not None and options.keep.exists():
        read_scores(options.keep)
    if options.compare not in (None, options.results):
        with Store(options.compare, create=False):
            pass
    progress = stderr_progress()
    dataset = open_dataset(track, data.resolve())
    try:
        digest = dataset.digest(lambda done, n: progress(f"reading the data, file {done}/{n}"))
        with (
            tempfile.TemporaryDirectory(prefix="lpcvc-") as scratch,
            Store(options.results) as store,
        ):
            submission = open_scored(options.runtime, track, specs, Path(scratch), options.limits)
            scorer = _Scorer(dataset, digest, tuple(map(_absolute, specs)), options, store)
            runs = {
                part.name: scorer.run_of(part.name, submission.models[part.name], submission.label)
                for part in track.parts
            }
            new = sum(scorer.work(run, progress) for run in runs.values())
            final, remarks = next(iter(runs.values())), Remarks()
            if metric.joint:
                final, remarks = scorer.joined(metric.joint, runs)
            chance = metric.headline.chance
            scoring = replace(
                scorer.scoring(final, runs),
                new=new,
                chance=chance(dataset.items) if chance else None,
                remarks=remarks,
            )
            if options.keep is not None:
                keep_score(
                    options.keep,
                    score_of(track, dataset, options.runtime, final, scoring.summary),
                )
            if options.table is not None:
                write_table(options.table, scoring.summary)
            drawn = []
            if options.pictures is not None:
                drawn = draw(
                    dataset, scorer.job(track.parts[0].name), scoring.summary, options.pictures
                )
            return score_report(replace(scoring, pictures=tuple(drawn))), int(scoring.failed)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"run the same command again: {options.results} has what was done"
        ) from None
    finally:
        progress.clear()


class _Scorer:
    """One submission on one data set, into one file of results."""

    def __init__(
        self, dataset: Dataset, digest: str, specs: tuple[str, ...], options: Options, store: Store
    ) -> None:
        self._dataset = dataset
        self._digest = digest
        self._specs = specs
        self._options = options
        self._store = store
        self._track = dataset.track
        self._metric: Metric = dataset.track.room("metric").METRIC

    def job(self, part: str) -> Job:
        """What a worker is told about a part."""
        options = self._options
        threads = max(1, (os.cpu_count() or 1) // options.workers)
        return Job(
            self._track.spec,
            part,
            self._dataset.folder,
            self._specs,
            options.runtime,
            options.device,
            options.limits,
            threads,
        )

    def run_of(self, part: str, model: Model, label: str) -> Run:
        """The run of a part, as its key will have it."""
        runtime = self._options.runtime
        own = "answers of a file" if runtime == ANSWERS else RUNTIMES[runtime].label(self.job(part))
        return Run(
            label,
            part,
            _digest(model),
            self._digest,
            own,
            _version(self._track, self._metric.measure.version),
        )

    def work(self, run: Run, progress: ProgressLine) -> int:
        """Scores the items that have no answer yet; how many those were."""
        number = self._store.open_run(run)
        answered = self._store.answered(number)
        items = self._dataset.of(run.part)
        todo = {index: item.id for index, item in enumerate(items) if item.id not in answered}
        line = _Rate(progress, f"scoring {run.label}", len(items), len(todo))
        if not todo:
            return 0
        failed = 0
        engine = self._options.engine(self.job(run.part), todo, self._options.workers, line.tick)
        with closing(engine) as results:
            for count, result in enumerate(results, 1):
                self._store.add(number, result)
                line.advance()
                failed += bool(result.error)
                if failed == count == _HOPELESS and not answered:
                    raise SubmissionError(
                        f"the first {count} items all failed; {result.item}: {result.error}",
                        "put that right, and run the same command again",
                    )
        return len(todo)

    def joined(self, joint: Joint, runs: dict[str, Run]) -> tuple[Run, Remarks]:
        """The run of what the parts make together, in the file, and what is remarked of it."""
        parts = list(runs.values())
        run = replace(
            parts[0],
            part="",
            model=" ".join(each.model for each in parts),
            metric=_version(self._track, joint.version),
        )
        number = self._store.open_run(run)
        joined = joint.score(
            {part: self._dataset.of(part) for part in runs},
            {part: self._store.results(self._store.open_run(own)) for part, own in runs.items()},
        )
        for result in joined.results:
            self._store.add(number, result)
        return run, joined.remarks

    def scoring(self, run: Run, parts: dict[str, Run]) -> Scoring:
        """What is reported of a run."""
        items = self._dataset.of(self._track.parts[0].name)
        own = self._results(self._store, run)
        lost = [
            result
            for part in list(parts.values())[1:]  # a failed picture is in the run itself
            for result in self._store.results(self._store.open_run(part))
            if result.error
        ]
        summary = summarise(self._metric.headline, items, own)
        return Scoring(
            self._track,
            run,
            self._dataset.folder,
            self._dataset.findings,
            summary,
            tuple(lost),
            tuple(self._comparisons(run, own)),
        )

    def _comparisons(self, run: Run, own: dict[str, Result]) -> list[Comparison]:
        """With every other run of the file to compare with, on this data with this metric."""
        path = self._options.compare
        if path is None:
            return []
        items, headline = self._dataset.of(self._track.parts[0].name), self._metric.headline
        with Store(path, create=False) as other:
            wanted = (run.part, run.data, run.metric)
            found = [
                compare(headline, items, own, self._results(other, each), each.label)
                for each in other.runs().values()
                if (each.part, each.data, each.metric) == wanted and each.key != run.key
            ]
        comparisons = [each for each in found if each is not None]
        if not comparisons:
            raise SubmissionError(
                f"{path} has no other run on this data set with this metric",
                "score the other submission into it first",
            )
        return comparisons

    @staticmethod
    def _results(store: Store, run: Run) -> dict[str, Result]:
        return {result.item: result for result in store.results(store.open_run(run))}


class _Rate:
    """Progress: items done, how many a second, and the time that is left."""

    def __init__(self, line: ProgressLine, step: str, total: int, todo: int) -> None:
        self._line = line
        self._step = step
        self._total = total
        self._todo = todo
        self._done = 0
        self._start = time.monotonic()

    def advance(self) -> None:
        """One more is done."""
        self._done += 1
        self.tick(0.0)

    def tick(self, _: float) -> None:
        """Shows the line, where it is time to."""
        rate = self._done / max(time.monotonic() - self._start, 1e-9)
        left = f", {rate:.2f}/s, {_time((self._todo - self._done) / rate)} left" if rate else ""
        done = self._total - self._todo + self._done
        self._line(f"{self._step}: {done}/{self._total}{left}")


def _time(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def _absolute(spec: str) -> str:
    """A specification whose path holds in any folder; a factory is left alone."""
    part, separator, target = spec.rpartition("=")
    path = Path(target)
    return f"{part}{separator}{path.resolve()}" if path.exists() else spec


def _version(track: Track, version: str) -> str:
    """What prepares and scores: other versions of these libraries may resize otherwise."""
    import cv2
    import PIL

    return f"{track.id} {version}, Pillow {PIL.__version__}, OpenCV {cv2.__version__}"


def _digest(model: Model) -> str:
    """What identifies a model; a factory may give another each time, so nothing does."""
    if model.format == "factory":
        return uuid.uuid4().hex
    if model.format == "onnx":
        return model_digest(model.path)
    with model.path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
