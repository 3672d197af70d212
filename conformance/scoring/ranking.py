"""`lpcvc rank`: many submissions on one data set, each held to the contract, scored, compared and
timed.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from conformance.contract.assessment import Assessment
from conformance.device.history import Saved
from conformance.rulebook import Gate
from conformance.runtimes.npu import is_tflite, no_schedule
from conformance.scoring.report import Scoring
from conformance.scoring.score import Options, Scorer, check_options, scoring_of
from conformance.scoring.summary import compare
from conformance.subject import subject_of, ticking
from reference.archive import is_litter
from reference.cache import file_digest
from reference.datasets.items import Item
from reference.errors import SubmissionError, one_line
from reference.npu.budget import add_up
from reference.npu.devices import find_device
from reference.npu.latency import estimate
from reference.tracks import Track

_NO_MODELS = {".data", ".bin", ".md", ".txt", ".csv", ".json", ".html", ".sqlite"}


@dataclass(frozen=True)
class Latency:
    """Milliseconds of all parts together; of a measurement `low` and `high` are the same.

    `basis` says what an estimate rests on.
    """

    milliseconds: float
    low: float
    high: float
    measured: bool
    basis: str = ""


@dataclass(frozen=True)
class Entry:
    """One submission. `place` is None where the gate fails it or it has no score; one that is
    `tied` is not told from the first of its place. `problems` say what went wrong.
    """

    name: str
    fails: tuple[str, ...] = ()
    warns: tuple[str, ...] = ()
    scoring: Scoring | None = None
    latency: Latency | None = None
    problems: tuple[str, ...] = ()
    place: int | None = None
    tied: bool = False

    @property
    def value(self) -> float | None:
        """The score, None where there is none."""
        return self.scoring.summary.value if self.scoring else None


@dataclass(frozen=True)
class Clock:
    """Where latencies are from: results of device runs, and an estimate for what has none."""

    device: str
    measured: Sequence[Saved] = ()
    estimates: bool = True


def find_submissions(folder: Path) -> dict[str, Path]:
    """What lies in `folder` by name, each a submission: files without their ending, where no other
    has that name. Texts, tables and weights beside a model are none.
    """
    if not folder.is_dir():
        raise SubmissionError(f"no such folder: {folder}", "give the folder of the submissions")
    found = [
        path
        for path in sorted(folder.iterdir())
        if not is_litter(path) and not path.name.startswith(".")
        if path.is_dir() or path.suffix.lower() not in _NO_MODELS
    ]
    if not found:
        raise SubmissionError(
            f"{folder} holds no submission", "put a model, or a folder or zip with its parts, there"
        )
    stems = [path.name if path.is_dir() else path.stem for path in found]
    return {
        path.name if stems.count(stem) > 1 else stem: path
        for stem, path in zip(stems, found, strict=True)
    }


def rank(track: Track, data: Path, folder: Path, options: Options, clock: Clock) -> list[Entry]:
    """The submissions in `folder`, the best first; those without a place come last.

    What is wrong with one of them is in its entry. Raises SubmissionError for what no submission
    can help: the options and the data.
    """
    check_options(track, options)
    submissions = find_submissions(folder)
    with scoring_of(track, data, options) as scorer:
        entries: list[Entry] = []
        for name, path in submissions.items():
            scorer.progress(f"{name}, {len(entries) + 1} of {len(submissions)}")
            entries.append(_entry(one_line(name), path, scorer, options, clock))
    return placed(entries, scorer)


def placed(entries: Sequence[Entry], scorer: Scorer) -> list[Entry]:
    """The entries in order, with their places; ties share the place of the first of them."""
    able = [e for e in entries if not e.fails and e.value is not None]
    able.sort(key=lambda entry: -(entry.value or 0.0))
    items = scorer.dataset.of(scorer.dataset.track.parts[0].name)
    found: list[Entry] = []
    first: Entry | None = None
    for number, entry in enumerate(able, 1):
        tied = first is not None and _tied(first, entry, items)
        place = first.place if tied and first else number
        found.append(replace(entry, place=place, tied=tied))
        first = first if tied else found[-1]
    rest = [entry for entry in entries if entry not in able]
    return [*found, *sorted(rest, key=lambda entry: (-(entry.value or -1.0), entry.name))]


def _tied(first: Entry, entry: Entry, items: Sequence[Item]) -> bool:
    """Whether the bootstrap, paired by item, shows no difference."""
    if first.scoring is None or entry.scoring is None:
        return False
    summaries = (first.scoring.summary, entry.scoring.summary)
    one, other = ({result.item: result for result in each.results} for each in summaries)
    found = compare(summaries[0].headline, items, one, other, entry.name)
    return found is not None and found.verdict == "no difference shown"


def _entry(name: str, path: Path, scorer: Scorer, options: Options, clock: Clock) -> Entry:
    entry, track = Entry(name), scorer.dataset.track
    with tempfile.TemporaryDirectory(prefix="lpcvc-") as scratch:
        try:
            subject = subject_of(track, [str(path)], Path(scratch), options.limits)
            assessment = Assessment(subject, Path(scratch), limits=options.limits)
            assessment.progress = scorer.progress
            assessment.open()
            broken = [r for r in assessment.rules if assessment.verdict(r).outcome == "fail"]
        except SubmissionError as error:
            return replace(entry, fails=("cannot be opened",), problems=(str(error),))
        fails = [rule for rule in broken if Gate().fails(rule.level)]
        entry = replace(
            entry,
            fails=tuple(rule.id for rule in fails),
            warns=tuple(rule.id for rule in broken if rule not in fails),
            problems=tuple(f"{r.id}: {assessment.verdict(r).seen}" for r in fails),
        )
        try:
            scoring = scorer.score([str(path)])
            entry = replace(entry, scoring=scoring)
            if scoring.summary.failed:
                count = len(scoring.summary.failed)
                first = scoring.summary.failed[0]
                told = f"{count} items have no answer; {first.item}: {first.error}"
                entry = replace(entry, problems=(*entry.problems, told))
        except SubmissionError as error:
            entry = replace(entry, problems=(*entry.problems, str(error)))
        try:
            files = {p.name: assessment.evidence.graph(p).path for p in track.parts}
            return replace(entry, latency=_latency(track, files, scorer, options, clock))
        except SubmissionError as error:
            return replace(entry, problems=(*entry.problems, f"no latency: {error}"))


def _latency(
    track: Track, files: dict[str, Path], scorer: Scorer, options: Options, clock: Clock
) -> Latency | None:
    digests = {part: file_digest(path) for part, path in files.items()}
    for run in reversed(clock.measured):
        own = {part: saved.sha256 for part, saved in run.parts.items()}
        if run.device == clock.device and own == digests and run.milliseconds is not None:
            return Latency(run.milliseconds, run.milliseconds, run.milliseconds, measured=True)
    if not clock.estimates:
        return None
    device, found = find_device(clock.device), []
    for path in files.values():
        if is_tflite(path):
            raise no_schedule(path)
        tick = ticking(scorer.progress, f"simulating {path.name}")
        found.append(estimate(path, device, track.runtime, limits=options.limits, tick=tick))
    total = add_up(found)
    return Latency(*total, measured=False, basis=found[0].basis) if total else None
