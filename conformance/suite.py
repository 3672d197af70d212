"""What the options ask for: which submissions are held to which tracks, and how strictly."""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.assessment import BaseAssessment
from conformance.contract.assessment import Assessment
from conformance.device.assessment import DeviceOptions, DeviceRun
from conformance.gate import Gate
from conformance.npu.assessment import NpuAssessment
from conformance.regression.assessment import (
    Makers,
    RegressionCase,
    RegressionOptions,
    RegressionRun,
    regression_cases,
)
from conformance.report.terminal import Row, Status, repeat_rule, shell_word
from conformance.rulebook import Rule, Verdict
from conformance.subject import Subject, subject_of
from reference.errors import SubmissionError
from reference.npu.devices import Device, find_device
from reference.process import Limits
from reference.registry import default_tracks, find_track
from reference.tracks import Track

if TYPE_CHECKING:
    from conformance.parity.comparison import Comparison
    from conformance.parity.items import ParityCase
    from conformance.regression.compare import Change


@dataclass(frozen=True)
class Case:
    """One rule for one submission: one item of the suite."""

    suite: "Suite"
    assessment: BaseAssessment
    rule: Rule

    @property
    def id(self) -> str:
        """`depth-2025::DEP-4`, `depth-2025::Samsung Galaxy S24::NPU-1`."""
        return f"{self.assessment.id}::{self.rule.id}"

    def row(self, verdict: Verdict) -> Row:
        """The line of the table."""
        status: Status = "pass" if verdict.outcome == "pass" else "skip"
        if verdict.outcome == "fail":
            status = "FAIL" if self.suite.gate.fails(self.rule.level) else "warn"
        seen = f"{verdict.seen} ({verdict.where})" if verdict.where else verdict.seen
        track = self.assessment.track
        return Row(
            self.assessment.label,
            self.rule.id,
            self.rule.level.value,
            status,
            seen,
            verdict.remedy or self.rule.remedy,
            track.id,
            verdict.expected,
            self.rule.source_for(track),
            repeat_rule(track, self.rule, self.suite.options),
        )


class Suite:
    """The options of one run. Raises SubmissionError for what cannot be asked together."""

    def __init__(
        self,
        tracks: Sequence[str],
        submission: Sequence[str],
        weights: str | None,
        devices: Sequence[str],
        gate: Gate = Gate(),  # noqa: B008 - frozen
        limits: Limits = Limits(),  # noqa: B008 - frozen
        on_devices: DeviceOptions = DeviceOptions(),  # noqa: B008 - frozen
        regression: RegressionOptions = RegressionOptions(),  # noqa: B008 - frozen
    ) -> None:
        self._regression = RegressionRun(regression)
        self._limits = limits
        self._on_devices = on_devices
        self.gate = gate
        named = dict.fromkeys(find_track(name) for name in tracks)
        self.tracks = list(named or (t for t in default_tracks().values() if t.has("model")))
        given = [f"--submission {shell_word(spec)}" for spec in submission]
        given += [f"--weights {shell_word(weights)}"] if weights else []
        self._device_names = list(devices)
        # AI Hub itself says which devices it has; it has more than the compiler's table.
        self._devices = [] if on_devices.hub == "remote" else [find_device(n) for n in devices]
        given += [f"--device {shell_word(name)}" for name in devices]
        given += ["--as-evaluated"] if gate.as_evaluated else []
        given += ["--strict"] if gate.strict else []
        self.options = given
        self._subjects: list[Subject] = []
        self._submitted_one = False
        # What the items of this run are about; a report is drawn from what they have seen.
        self.assessments: list[BaseAssessment] = []
        self.comparisons: list[Comparison] = []
        if submission or weights or tracks:
            self._open(tracks, submission, weights)

    def _open(self, tracks: Sequence[str], submission: Sequence[str], weights: str | None) -> None:
        if submission or weights:
            if len(self.tracks) != 1 or not tracks:
                option = "--submission" if submission else "--weights"
                raise SubmissionError(
                    f"{option} needs one --track and {len(tracks)} are given",
                    f"add --track with one of: {', '.join(default_tracks())}",
                )
            if submission and weights:
                raise SubmissionError(
                    "--weights is for the reference model, not for a submission",
                    "give --submission or --weights",
                )
        self._submitted_one = bool(submission)
        if submission:
            self._subjects = [self._subject(self.tracks[0], submission)]
            if not self._subjects[0].torch:
                self._contract(self._subjects[0]).open()
        else:
            file = Path(weights) if weights else None
            self._subjects = [self._subject(track, weights=file) for track in self.tracks]

    def cases(self) -> list[Case]:
        """Every rule of the contract for every submission, or for the references without one."""
        return self._cases(map(self._contract, self._all_subjects()))

    def npu_cases(self) -> list[Case]:
        """Every rule of the NPU for the same, on each device: by default the track's."""
        return self._cases(
            self._npu(subject, device)
            for subject in self._all_subjects()
            for device in self._devices or [find_device(subject.track.device)]
        )

    @property
    def compared(self) -> "list[tuple[RegressionCase, list[Change]]]":
        """What came of the comparisons with a baseline so far."""
        return self._regression.compared

    def device_cases(self) -> list[Case]:
        """Every rule of the device for the same, on each device: by default the track's."""
        return self._cases(
            self._device_run.assess(
                subject,
                device,
                partial(self._folder, subject.track),
                self._limits,
                self._subject(subject.track)
                if self._submitted_one and subject.track.has("model")
                else None,
            )
            for subject in self._all_subjects()
            for device in self._device_names or [subject.track.device]
        )

    def regression_cases(self) -> list[RegressionCase]:
        """Every group of a baseline's entries for the same."""
        return regression_cases(
            self._regression,
            self._all_subjects(),
            Makers(self._contract, self._npu),
            self._devices,
            Path(self._scratch.name),
            self._limits,
            self.options,
        )

    def save_baseline(self) -> list[str]:
        """Writes the baseline, if that was asked for; what it replaced, in lines."""
        return self._regression.save()

    def save_device_runs(self) -> list[str]:
        """Keeps the results of devices, if that was asked for; what has changed, in lines."""
        return self._device_run.save() if "_device_run" in vars(self) else []

    @property
    def text_tracks(self) -> list[Track]:
        """The chosen tracks that feed a text."""
        return [track for track in self.tracks if any(part.text for part in track.parts)]

    def close(self) -> None:
        """Ends what was started and removes what was written."""
        if "_device_run" in vars(self):
            self._device_run.close()
        if "_scratch" in vars(self):
            self._scratch.cleanup()

    @cached_property
    def _scratch(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(prefix="lpcvc-")

    @cached_property
    def _device_run(self) -> DeviceRun:
        return DeviceRun(self._on_devices, self._limits)

    def parity_cases(self) -> "list[ParityCase]":
        """Every pair of runtimes for every part of the same."""
        from conformance.parity.items import parity_cases

        own = [self._contract(subject) for subject in self._all_subjects()]
        folder = Path(self._scratch.name)
        cases = parity_cases(own, self._devices, folder, self._limits, self.options)
        self.comparisons += dict.fromkeys(case.comparison for case in cases)
        return cases

    def _cases(self, assessments: Iterable[BaseAssessment]) -> list[Case]:
        listed = list(assessments)
        self.assessments += listed
        return [Case(self, own, rule) for own in listed for rule in own.rules]

    def _all_subjects(self) -> list[Subject]:
        if not self._subjects:
            self._subjects = [self._subject(track) for track in self.tracks]
        return self._subjects

    def _contract(self, subject: Subject) -> Assessment:
        return Assessment(
            subject.track,
            subject.label,
            subject.opener,
            self._folder(subject.track),
            torch=subject.torch,
            limits=self._limits,
        )

    def _npu(self, subject: Subject, device: Device) -> NpuAssessment:
        return NpuAssessment(
            device,
            subject.track,
            subject.label,
            subject.opener,
            self._folder(subject.track),
            limits=self._limits,
        )

    def _subject(
        self, track: Track, submission: Sequence[str] = (), weights: Path | None = None
    ) -> Subject:
        instead = "give your own with --submission"
        return subject_of(track, submission, self._folder(track), self._limits, weights, instead)

    def _folder(self, track: Track) -> Path:
        return Path(tempfile.mkdtemp(dir=self._scratch.name, prefix=f"{track.id}-"))
