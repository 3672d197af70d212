"""The items of the regression suite: one a submission and group of entries."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from conformance.regression.compare import Change, compare
from conformance.regression.document import Baseline, Recorded, read_baseline, write_baseline
from conformance.regression.entries import Entry
from conformance.regression.environment import differences, versions
from conformance.regression.tolerances import read_tolerances
from conformance.subject import Subject
from reference.errors import SubmissionError
from reference.npu.devices import Device, find_device
from reference.process import Limits

if TYPE_CHECKING:
    from conformance.assessment import BaseAssessment
    from conformance.contract.assessment import Assessment
    from conformance.npu.assessment import NpuAssessment
    from conformance.regression.gather import Group

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


@dataclass(frozen=True)
class RegressionCase:
    """One group of entries of one submission: one item of the suite.

    `options` are those that ask for this submission.
    """

    run: "RegressionRun"
    subject: Subject
    group: "Group"
    options: Sequence[str]

    @property
    def assessment(self) -> "BaseAssessment":
        """What is asked for the group."""
        return self.group.assessment

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

    def changes(self) -> list[Change]:
        """What became of the entries of the group, which are kept for the file to be saved.

        Raises NotCompared where there is nothing to compare, and SubmissionError.
        """
        entries = self.group.gather()
        self.run.gathered.append((self.subject, self.group.prefix, entries))
        before = self.run.recorded(self.subject)
        kept = _of_group(before, self.group.prefix) if before else {}
        changes = compare(kept, entries, self.run.tolerances)
        self.run.compared.append((self, changes))
        return changes


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
        if save is not None and not save.parent.is_dir():
            raise SubmissionError(
                f"there is no folder {str(save.parent)!r} for {save.name}", "make it first"
            )
        self._saved = read_baseline(save) if save is not None and save.exists() else {}

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


@dataclass(frozen=True)
class Makers:
    """How the suite makes what is asked for groups."""

    contract: Callable[[Subject], "Assessment"]
    npu: Callable[[Subject, Device], "NpuAssessment"]


def regression_cases(
    run: RegressionRun,
    subjects: Sequence[Subject],
    makers: Makers,
    devices: Sequence[Device],
    folder: Path,
    limits: Limits,
    options: Sequence[str],
) -> list[RegressionCase]:
    """Every group of entries of every submission, on each device: by default the track's."""
    from conformance.parity.comparison import Comparison
    from conformance.regression import gather

    cases = []
    for subject in subjects:
        own = makers.contract(subject)
        groups = gather.contract_groups(own)
        for device in devices or [find_device(subject.track.device)]:
            if {"compile", "npu"} & set(run.options.beside):
                on_npu = makers.npu(subject, device)
                groups += gather.compiled_groups(on_npu, device.name)
                if "npu" in run.options.beside:
                    groups += gather.npu_groups(on_npu, device.name)
            if "parity" in run.options.beside:
                place = Path(tempfile.mkdtemp(dir=folder, prefix="parity-"))
                groups += gather.parity_groups(Comparison(own, device, place, limits))
        if run.options.latencies is not None:
            groups.append(gather.latency_group(own, subject.label, run.options.latencies))
        if run.options.scores is not None:
            groups.append(gather.score_group(own, subject.label, run.options.scores))
        cases += [RegressionCase(run, subject, group, options) for group in groups]
    return cases


def _of_group(recorded: Recorded, prefix: str) -> dict[str, Entry]:
    return {key: entry for key, entry in recorded.entries.items() if key.startswith(prefix)}
