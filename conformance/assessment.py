"""Holds one submission to the rules of its track, each rule once, the cheap ones first."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from conformance.evidence import Evidence, Progress
from conformance.npu_evidence import NpuEvidence, npu_probes
from conformance.rulebook import Level, Rule, Verdict, npu_rules_for, rules_for, skipped
from conformance.submission import Submission
from reference.errors import SubmissionError
from reference.npu.devices import Device
from reference.npu.toolchain import find_toolchain
from reference.process import Limits
from reference.tracks import Track

Opener = Callable[[Progress], Submission]


class Assessment:
    """One submission to one track.

    `opener` brings the submission when it is first needed. Exports and answers are written to
    `folder`, which must exist. `torch` says whether some part is not an ONNX file yet.
    """

    def __init__(
        self,
        track: Track,
        label: str,
        opener: Opener,
        folder: Path,
        *,
        torch: bool = False,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        self.track = track
        self.label = f"{track.id}, {label}"
        self.id = track.id
        self.rules = rules_for(track, torch=torch)
        self.progress: Progress = lambda text: None
        self._opener = opener
        self._folder = folder
        self._limits = limits
        self._verdicts: dict[str, Verdict] = {}

    @cached_property
    def evidence(self) -> Evidence:
        """What the rules look at."""

        def progress(text: str) -> None:
            self.progress(text)

        submission = self._opener(progress)
        return Evidence(self.track, submission, self._folder, progress, self._limits)

    def open(self) -> None:
        """Reads the files; raises SubmissionError where nothing more can be checked."""
        for rule in self.rules:
            verdict = self.verdict(rule) if rule.fatal else None
            if verdict is not None and verdict.outcome == "fail":
                raise SubmissionError(f"{rule.id}: {verdict.seen}", verdict.remedy or rule.remedy)

    def verdict(self, rule: Rule) -> Verdict:
        """What `rule` says; forward passes only if no required rule is broken without them."""
        if rule.id not in self._verdicts:
            broken = self._broken_graph() if rule.needs == "runs" else []
            self._verdicts[rule.id] = (
                skipped(f"not run: the file itself breaks {', '.join(broken)}; mend that first")
                if broken
                else rule.check(self.evidence)
            )
        return self._verdicts[rule.id]

    def _broken_graph(self) -> list[str]:
        static = [r for r in self.rules if r.needs == "graph" and r.level is Level.REQUIRED]
        return [rule.id for rule in static if self.verdict(rule).outcome == "fail"]


class NpuAssessment:
    """One submission to one track on the NPU of `device`; the rest is as for `Assessment`.

    Where Qualcomm's toolchain is missing every rule is skipped, with the reason.
    """

    def __init__(
        self,
        device: Device,
        track: Track,
        label: str,
        opener: Opener,
        folder: Path,
        *,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        self.track = track
        self.label = f"{track.id} on {device.name}, {label}"
        self.id = f"{track.id}::{device.name}"
        self.rules = npu_rules_for(track)
        self.progress: Progress = lambda text: None
        self._device = device
        self._opener = opener
        self._folder = folder
        self._limits = limits
        self._verdicts: dict[str, Verdict] = {}

    @cached_property
    def evidence(self) -> NpuEvidence:
        """What the rules look at."""

        def progress(text: str) -> None:
            self.progress(text)

        submission = self._opener(progress)
        host = Evidence(
            self.track, submission, self._folder, progress, self._limits, choose=npu_probes
        )
        return NpuEvidence(self._device, host, progress, self._limits)

    def verdict(self, rule: Rule) -> Verdict:
        """What `rule` says."""
        if rule.id not in self._verdicts:
            try:
                find_toolchain()
            except SubmissionError as error:
                return skipped(f"{error.problem}: {error.remedy}")
            self._verdicts[rule.id] = rule.check(self.evidence)
        return self._verdicts[rule.id]


def fails_gate(level: Level, *, as_evaluated: bool, strict: bool) -> bool:
    """Whether a broken rule of this level fails the gate, or warns only."""
    if level is Level.REQUIRED:
        return True
    return strict if level is Level.ADVICE else strict or not as_evaluated
