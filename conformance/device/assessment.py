"""Holds one submission to the rules of the device, its jobs on the bench that others share."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from conformance.assessment import BaseAssessment
from conformance.contract.evidence import Evidence
from conformance.device.bench import Bench, Entry
from conformance.device.evidence import DeviceEvidence
from conformance.device.history import Saved, SavedPart, last_measured, runtime_of
from conformance.device.hub import HubKind, import_client
from conformance.device.jobs import median
from conformance.npu.evidence import npu_probes
from conformance.rulebook import Rule, Verdict, device_rules_for, skipped
from conformance.subject import Subject
from reference.cache import file_digest
from reference.errors import SubmissionError, one_line
from reference.npu.toolchain import find_toolchain
from reference.process import Limits


@dataclass(frozen=True)
class DeviceOptions:
    """What a run on devices was asked for.

    `repeats` is the number of profile jobs of each part; `results` is the file of earlier runs,
    which this one is added to. Without `runtimes` it is the one that the track compiles for.
    """

    hub: HubKind = "auto"
    share: bool = False
    repeats: int = 3
    results: Path | None = None
    runtimes: tuple[str, ...] = ()


class DeviceAssessment(BaseAssessment):
    """One submission on one device.

    Where the client is missing, or a local hub has no toolchain to compile with, every rule is
    skipped, with the reason. `folder` and `limits` are as for every assessment.
    """

    def __init__(
        self,
        bench: Bench,
        device: str,
        subject: Subject,
        folder: Path,
        *,
        reference: bool,
        previous: Sequence[Saved] = (),
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        rules = device_rules_for(subject.track)
        super().__init__(subject, folder, rules, where=device, limits=limits)
        self.entry = Entry(subject.track, device, self._host, reference)
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
        return Evidence(
            self.track, self._open(), self._folder, self._report, self._limits, choose=npu_probes
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
