"""Submissions held to the rules of the device, on one bench so that their jobs run together."""

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from conformance.assessment import BaseAssessment
from conformance.contract.evidence import Evidence
from conformance.device.bench import Bench, Entry
from conformance.device.evidence import DeviceEvidence
from conformance.device.history import (
    Saved,
    SavedPart,
    compared,
    last_like,
    last_measured,
    read_saved,
    runtime_of,
    save,
)
from conformance.device.hub import Hub, HubKind, import_client
from conformance.device.jobs import median
from conformance.npu.evidence import npu_probes
from conformance.rulebook import Rule, Verdict, device_rules_for, skipped
from conformance.subject import Opener, Subject
from reference.errors import SubmissionError, one_line
from reference.npu.cache import file_digest
from reference.npu.toolchain import find_toolchain
from reference.process import Limits
from reference.tracks import Track


@dataclass(frozen=True)
class DeviceOptions:
    """What a run on devices was asked for.

    `repeats` is the number of profile jobs of each part; `results` is the file of earlier runs,
    which this one is added to.
    """

    hub: HubKind = "auto"
    share: bool = False
    repeats: int = 3
    results: Path | None = None


class DeviceAssessment(BaseAssessment):
    """One submission on one device.

    Where the client is missing, or a local hub has no toolchain to compile with, every rule is
    skipped, with the reason. `opener`, `folder` and `limits` are as for every assessment.
    """

    def __init__(
        self,
        bench: Bench,
        device: str,
        track: Track,
        label: str,
        opener: Opener,
        folder: Path,
        *,
        reference: bool,
        previous: Sequence[Saved] = (),
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        rules = device_rules_for(track)
        super().__init__(track, label, opener, folder, rules, where=device, limits=limits)
        self.entry = Entry(track, device, self._host, reference)
        self.baseline: Entry | None = None
        self._bench, self._previous = bench, previous
        bench.entries.append(self.entry)

    @property
    def label(self) -> str:
        """It names the hub, which is known for what it is once it was asked."""
        where = f"{self.entry.device_name} ({self._bench.hub.name})"
        return one_line(f"{self.track.id} on {where}, {self.submission}")

    @cached_property
    def evidence(self) -> DeviceEvidence:
        """What the rules look at."""
        runtime = runtime_of(self.track.compile_options)
        name = self._bench.device(self.entry).name
        before = last_measured(self._previous, self.track.id, name, runtime)
        return DeviceEvidence(self._bench, self.entry, self.baseline, before)

    def saved(self) -> Saved | None:
        """What an earlier run is to be remembered by; None where nothing was profiled."""
        if self.entry.latency is None:
            return None
        e = self.evidence
        emulated = e.device.emulated
        latency = None if emulated else e.latency
        return Saved(
            datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            self.track.id,
            self.submission,
            e.device.name,
            runtime_of(self.track.compile_options),
            emulated,
            latency.median if latency else None,
            (latency.low, latency.high) if latency else None,
            None if emulated else e.memory,
            e.units,
            {
                part.name: SavedPart(
                    e.compile_jobs[part.name],
                    file_digest(graph.path),
                    None if emulated else median(self.entry.profiles[part.name]),
                )
                for part, graph in e.each_graph()
            },
        )

    def _host(self) -> Evidence:
        submission = self._opener(self._report)
        return Evidence(
            self.track, submission, self._folder, self._report, self._limits, choose=npu_probes
        )

    def _judge(self, rule: Rule) -> Verdict:
        try:
            self.prepare()
        except SubmissionError as error:
            return skipped(f"{error.problem}: {error.remedy}")
        return rule.check(self.evidence)

    def prepare(self) -> None:
        """Raises SubmissionError where something is not installed that every job needs."""
        import_client()
        if self._bench.hub.own:
            find_toolchain()
        self._bench.progress = self._report


class DeviceRun:
    """All assessments of one run of the suite. To be closed, which keeps the results."""

    def __init__(
        self,
        options: DeviceOptions,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        self._options = options
        self._previous = read_saved(options.results) if options.results else []
        hub = Hub(options.hub, limits)
        self._bench = Bench(hub, options.repeats, options.share)
        self._assessments: list[DeviceAssessment] = []

    def assess(
        self,
        subject: Subject,
        device: str,
        folder: Callable[[], Path],
        limits: Limits,
        sample: Subject | None,
    ) -> DeviceAssessment:
        """`subject` on `device`, beside the `sample` model where that is its budget.

        `folder` makes one to write to.
        """

        def enter(own: Subject, *, reference: bool) -> DeviceAssessment:
            return DeviceAssessment(
                self._bench,
                device,
                own.track,
                own.label,
                own.opener,
                folder(),
                reference=reference,
                previous=self._previous,
                limits=limits,
            )

        assessment = enter(subject, reference=sample is None)
        if sample is not None and subject.track.budget_ms is None:
            assessment.baseline = enter(sample, reference=True).entry
            assessment.baseline.for_time = True
        self._assessments.append(assessment)
        return assessment

    def save(self) -> list[str]:
        """Adds the results to the file, if one was named; what has changed since, in lines."""
        file = self._options.results
        saved = [run for own in self._assessments if (run := own.saved())]
        if file is None or not saved:
            return []
        save(file, saved)
        return [f"{file.name}: {compared(run, last_like(self._previous, run))}" for run in saved]

    def close(self) -> None:
        """Ends a local hub."""
        self._bench.close()
