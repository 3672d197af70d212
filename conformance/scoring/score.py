"""`lpcvc score`: a submission on a data set, to the number that the organisers would get."""

import hashlib
import os
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from conformance.outputs import made_room
from conformance.report.progress import ProgressLine, stderr_progress
from conformance.report.writers import need_jinja
from conformance.scoring.datasets import Dataset, open_dataset
from conformance.scoring.engines import Engine
from conformance.scoring.job import Job
from conformance.scoring.kept import keep_score, read_scores, score_of
from conformance.scoring.page import write_page
from conformance.scoring.pictures import draw, drawers
from conformance.scoring.recorded import ANSWERS, open_scored
from conformance.scoring.report import Scoring, score_report, write_table
from conformance.scoring.runtimes import RUNTIMES
from conformance.scoring.store import Run, Store
from conformance.scoring.summary import Comparison, compare, summarise
from conformance.submission.model import Model
from reference.cache import model_digest
from reference.closest import unknown
from reference.errors import SubmissionError
from reference.install import install_command
from reference.npu.devices import find_device
from reference.process import Limits
from reference.scores import COMPILING, Joint, Metric, Remarks, Result
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
    pictures: Path | None = None
    table: Path | None = None
    compare: Path | None = None
    keep: Path | None = None
    html: Path | None = None


def score_submission(
    track: Track, data: Path, specs: Sequence[str], options: Options
) -> tuple[str, int]:
    """Scores what is not in the results yet; the report, and 1 where an item went wrong.

    Raises SubmissionError as `scored` does.
    """
    scoring = scored(track, data, specs, options)
    return score_report(scoring), int(scoring.failed)


def scored(track: Track, data: Path, specs: Sequence[str], options: Options) -> Scoring:
    """Scores what is not in the results yet, and writes what the options ask for.

    Raises SubmissionError for what cannot be opened, and where the first items all fail.
    """
    check_options(track, options)
    with scoring_of(track, data, options) as scorer:
        scoring = scorer.score(specs)
        if options.keep is not None:
            summary = scoring.summary
            kept = score_of(track, scorer.dataset, options.runtime, scoring.run, summary)
            keep_score(options.keep, kept)
        if options.table is not None:
            write_table(options.table, scoring.summary)
        if options.html is not None:
            write_page(options.html, scoring)
        drawn = []
        if options.pictures is not None:
            job = scorer.job(specs, track.parts[0].name)
            drawn = draw(scorer.dataset, job, scoring.summary, options.pictures)
        return replace(scoring, pictures=tuple(drawn))


def check_options(track: Track, options: Options) -> None:
    """What is wrong with the options is told before hours of work: raises SubmissionError."""
    if find_spec("numba") is None:
        raise SubmissionError(
            "scoring needs numba, which is not installed", install_command("score")
        )
    if options.pictures is not None:
        drawers(track)
    runtimes = (*RUNTIMES, ANSWERS)
    if options.runtime not in runtimes:
        raise unknown(f"unknown runtime {options.runtime!r}", options.runtime, runtimes)
    find_device(options.device)
    for path in filter(None, (options.table, options.keep, options.html)):
        made_room(path)
    if options.html is not None:
        need_jinja("--html")
    if options.keep is not None and options.keep.exists():
        read_scores(options.keep)
    if options.compare not in (None, options.results):
        with Store(options.compare, create=False):
            pass


@contextmanager
def scoring_of(track: Track, data: Path, options: Options) -> Iterator["Scorer"]:
    """What scores submissions on one data set, which is read once for all of them.

    Raises SubmissionError for a data set that cannot be scored.
    """
    progress = stderr_progress()
    dataset = open_dataset(track, data.resolve())
    try:
        digest = dataset.digest(lambda done, n: progress(f"reading the data, file {done}/{n}"))
        with Store(options.results) as store:
            yield Scorer(dataset, digest, options, store, progress)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"run the same command again: {options.results} has what was done"
        ) from None
    finally:
        progress.clear()


class Scorer:
    """Submissions on one data set, into one file of results."""

    def __init__(
        self,
        dataset: Dataset,
        digest: str,
        options: Options,
        store: Store,
        progress: ProgressLine,
    ) -> None:
        self.dataset = dataset
        self.progress = progress
        self.store = store
        self._digest = digest
        self._options = options
        self._track = dataset.track
        self._metric: Metric = dataset.track.room("metric").METRIC

    def score(self, specs: Sequence[str]) -> Scoring:
        """Scores what is not in the results yet of the submission that `specs` name.

        Raises SubmissionError for what cannot be opened, and where the first items all fail.
        """
        options, runs = self._options, {}
        with tempfile.TemporaryDirectory(prefix="lpcvc-") as scratch:
            submission = open_scored(
                options.runtime, self._track, specs, Path(scratch), options.limits
            )
            new = 0
            for name in (part.name for part in self._track.parts):
                job = self.job(specs, name)
                runs[name] = self._run(job, submission.models[name], submission.label)
                new += self._work(runs[name], job)
        final, remarks = next(iter(runs.values())), Remarks()
        if self._metric.joint:
            final, remarks = self._joined(self._metric.joint, runs)
        chance = self._metric.headline.chance
        return replace(
            self._scoring(final, runs),
            new=new,
            chance=chance(self.dataset.items) if chance else None,
            remarks=remarks,
        )

    def job(self, specs: Sequence[str], part: str) -> Job:
        """What a worker is told about a part."""
        options = self._options
        threads = max(1, (os.cpu_count() or 1) // options.workers)
        return Job(
            self._track.spec,
            part,
            self.dataset.folder,
            tuple(map(_absolute, specs)),
            options.runtime,
            options.device,
            options.limits,
            threads,
        )

    def _run(self, job: Job, model: Model, label: str) -> Run:
        """The run of a part, as its key will have it."""
        runtime = job.runtime
        return Run(
            label,
            job.part_name,
            _digest(model),
            self._digest,
            "answers of a file" if runtime == ANSWERS else RUNTIMES[runtime].label(job),
            _version(self._track, self._metric.measure.version),
        )

    def _work(self, run: Run, job: Job) -> int:
        """Scores the items that have no answer yet; how many those were."""
        number = self.store.open_run(run)
        answered = self.store.answered(number)
        items = self.dataset.of(run.part)
        todo = {index: item.id for index, item in enumerate(items) if item.id not in answered}
        line = _Rate(self.progress, f"scoring {run.label}", len(items), len(todo))
        if not todo:
            return 0
        failed = 0
        engine = self._options.engine(job, todo, self._options.workers, line.tick)
        with closing(engine) as results:
            for count, result in enumerate(results, 1):
                self.store.add(number, result)
                line.advance()
                failed += bool(result.error)
                if failed == count == _HOPELESS and not answered:
                    raise SubmissionError(
                        f"the first {count} items all failed; {result.item}: {result.error}",
                        "put that right, and run the same command again",
                    )
        return len(todo)

    def _joined(self, joint: Joint, runs: dict[str, Run]) -> tuple[Run, Remarks]:
        """The run of what the parts make together, in the file, and what is remarked of it."""
        parts = list(runs.values())
        run = replace(
            parts[0],
            part="",
            model=" ".join(each.model for each in parts),
            metric=_version(self._track, joint.version),
        )
        number = self.store.open_run(run)
        joined = joint.score(
            {part: self.dataset.of(part) for part in runs},
            {part: self.store.results(self.store.open_run(own)) for part, own in runs.items()},
        )
        for result in joined.results:
            self.store.add(number, result)
        return run, joined.remarks

    def _scoring(self, run: Run, parts: dict[str, Run]) -> Scoring:
        """What is reported of a run."""
        items = self.dataset.of(self._track.parts[0].name)
        own = self._results(self.store, run)
        lost = [
            result
            for part in list(parts.values())[1:]  # a failed picture is in the run itself
            for result in self.store.results(self.store.open_run(part))
            if result.error
        ]
        summary = summarise(self._metric.headline, items, own)
        answered = [(item, own[item.id]) for item in items if item.id in own]
        answered = [(item, result) for item, result in answered if not result.error]
        classes = self._metric.classes if answered else None
        return Scoring(
            self._track,
            run,
            self.dataset.folder,
            self.dataset.findings,
            summary,
            tuple(lost),
            tuple(self._comparisons(run, own)),
            classes=tuple(classes(answered)) if classes else (),
        )

    def _comparisons(self, run: Run, own: dict[str, Result]) -> list[Comparison]:
        """With every other run of the file to compare with, on this data with this metric."""
        path = self._options.compare
        if path is None:
            return []
        items, headline = self.dataset.of(self._track.parts[0].name), self._metric.headline
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
        for name in COMPILING[:1]:  # with what it calls
            left = f", numba compiles {name}, once on this machine"
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
