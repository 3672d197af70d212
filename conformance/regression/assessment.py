"""Holds the entries of a submission to those of a baseline, and keeps them for the next one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from conformance.outputs import made_room
from conformance.regression.compare import Change, compare
from conformance.regression.document import Baseline, Recorded, read_baseline, write_baseline
from conformance.regression.entries import Entry
from conformance.regression.environment import differences, versions
from conformance.regression.gather import Group
from conformance.regression.rows import explain_regression, tally
from conformance.regression.tolerances import read_tolerances
from conformance.report.terminal import Row, Status, shell_word
from conformance.subject import Progress, Subject
from conformance.wing import Case, Judged, attempted
from reference.errors import SubmissionError

Beside = Literal["compile", "npu", "parity"]


@dataclass(frozen=True)
class RegressionOptions:
    """What a run was asked to compare and to keep.

    `beside` is what is looked at beside the contract. `latencies` is the file of device runs,
    and `scores` the one that `lpcvc score` kept.
    """

    baseline: Path | None = None
    save: Path | None = None
    beside: Sequence[Beside] = ()
    tolerances: Sequence[str] = ()
    latencies: Path | None = None
    scores: Path | None = None

    @property
    def words(self) -> list[str]:
        """As they are given to pytest, but for the file that is saved."""
        files = {"baseline": self.baseline, "save": self.latencies, "scores": self.scores}
        return [
            *(f"--{name} {shell_word(str(file))}" for name, file in files.items() if file),
            *(f"--with {name}" for name in self.beside),
            *(f"--tolerance {shell_word(text)}" for text in self.tolerances),
        ]


@dataclass(frozen=True)
class RegressionCase(Case):
    """One group of entries of one submission. `options` ask for this submission."""

    run: "RegressionRun"
    subject: Subject
    group: Group
    options: Sequence[str]

    @property
    def label(self) -> str:
        """`depth-2025, my.onnx`."""
        return f"{self.subject.track.id}, {self.subject.label}"

    @property
    def id(self) -> str:
        """`depth-2025::outputs/model`."""
        return f"{self.subject.track.id}::{self.group.name}"

    @cached_property
    def versions(self) -> list[str]:
        """The versions that differ from those of the baseline."""
        before = self.run.recorded(self.subject)
        return differences(before.environment, self.run.environment) if before else []

    def follow(self, progress: Progress) -> None:
        """Has the assessment of the group tell it."""
        self.group.assessment.progress = progress

    def judged(self) -> Judged:
        """What became of the entries of the group.

        Raises SubmissionError where the baseline has no such submission.
        """
        versions = "; ".join(self.versions)
        found = attempted(self.group.name, self._measure, self._row)
        return replace(found, beside={"versions": versions})

    def changes(self) -> list[Change]:
        """One for each entry; what was found is kept for the file to be saved.

        Raises NotCompared where there is nothing to compare, and SubmissionError.
        """
        entries = self.group.gather()
        self.run.gathered.append((self.subject, self.group.prefix, entries))
        before = self.run.recorded(self.subject)
        kept = _of_group(before, self.group.prefix) if before else {}
        changes = compare(kept, entries, self.run.tolerances)
        self.run.compared.append((self, changes))
        return changes

    def _measure(self) -> Judged:
        changes = self.changes()
        if not any(change.fails for change in changes):
            return Judged(self._row("pass", tally(changes)))
        row = self._row("FAIL", tally(changes))
        return Judged(row, explain_regression(row, self.versions, changes))

    def _row(self, status: Status, seen: str) -> Row:
        track, subject = self.subject.track, f"{self.label}: regression"
        asked = [f"--track {shell_word(track.spec)}", *self.options, *self.run.options.words]
        again = " ".join(["pytest --pyargs conformance -m regression", *asked])
        return Row(subject, self.group.name, "baseline", status, seen, "", track.id, again=again)


class RegressionRun:
    """One run of the suite: the baseline that it compares with, and what it has `gathered`.

    `compared` is what came of each group. Raises SubmissionError for options that cannot be used.
    """

    def __init__(self, options: RegressionOptions) -> None:
        self.options = options
        self.gathered: list[tuple[Subject, str, dict[str, Entry]]] = []
        self.compared: list[tuple[RegressionCase, list[Change]]] = []
        self.tolerances = read_tolerances(options.tolerances)
        self._baseline: Baseline = {}
        if options.baseline is not None:
            self._baseline = read_baseline(options.baseline)
        save = options.save
        self._saved = read_baseline(save) if save is not None and made_room(save).exists() else {}

    @cached_property
    def environment(self) -> dict[str, str]:
        """The versions that are installed."""
        return versions()

    def recorded(self, subject: Subject) -> Recorded | None:
        """What the baseline has of a submission, or of the only one to its track.

        None without a baseline. Raises SubmissionError where it has none, or several others.
        """
        if self.options.baseline is None:
            return None
        own = {
            label: r for (track, label), r in self._baseline.items() if track == subject.track.id
        }
        if subject.label in own:
            return own[subject.label]
        if len(own) == 1:
            return next(iter(own.values()))
        listed = "; ".join(own) or "none"
        raise SubmissionError(
            f"{self.options.baseline.name} has no {subject.label!r} of {subject.track.id}, of"
            f" which it has: {listed}",
            "save it with --save-baseline, or keep one submission a track in the file",
        )

    def save(self) -> list[str]:
        """Writes what was gathered, if that was asked for; what it replaced, in lines.

        A group takes the place of the same group of the same submission. An entry that stays
        within its noise stays as it was.
        """
        path = self.options.save
        if path is None:
            return []
        if not self.gathered:
            return [f"nothing was saved to {path}"]
        document = dict(self._saved)
        lines = []
        for subject, prefix, entries in self.gathered:
            name = subject.track.id, subject.label
            before = document.get(name, Recorded({}, {}))
            old = _of_group(before, prefix)
            changes = compare(old, entries)
            same = {change.key for change in changes if change.status == "same"}
            others = {k: v for k, v in before.entries.items() if not k.startswith(prefix)}
            group = {k: old[k] if k in same else v for k, v in entries.items()}
            document[name] = Recorded(self.environment, {**others, **group})
            lines += [
                f"{subject.track.id}, {subject.label}: {c.key} was replaced: {c.status}, {c.text}"
                for c in changes
                if c.status not in ("same", "new")
            ]
        write_baseline(path, document)
        return [*lines, f"saved to {path}: {sum(len(e) for _, _, e in self.gathered)} entries"]


def _of_group(recorded: Recorded, prefix: str) -> dict[str, Entry]:
    return {key: entry for key, entry in recorded.entries.items() if key.startswith(prefix)}
