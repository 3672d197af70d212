"""Holds one submission to some of the rules of its track, each rule once, the cheap ones first."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from conformance.contract.evidence import Evidence
from conformance.npu.evidence import NpuEvidence, npu_probes
from conformance.rulebook import Level, Rule, Verdict, npu_rules_for, rules_for, skipped
from conformance.subject import Opener, Progress
from reference.errors import SubmissionError, one_line
from reference.npu.devices import Device
from reference.npu.toolchain import find_toolchain
from reference.process import Limits
from reference.tracks import Track


class BaseAssessment(ABC):
    """One submission to one track.

    `opener` brings the submission when it is first needed. Exports and answers are written to
    `folder`, which must exist. `where` is what beside the track it is held to, such as a device.
    """

    def __init__(
        self,
        track: Track,
        label: str,
        opener: Opener,
        folder: Path,
        rules: Sequence[Rule],
        *,
        where: str = "",
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        self.track = track
        self.submission = label
        self._place = f"{track.id} on {where}" if where else track.id
        self.id = f"{track.id}::{where}" if where else track.id
        self.rules = rules
        self.progress: Progress = lambda text: None
        self._opener = opener
        self._folder = folder
        self._limits = limits
        self._verdicts: dict[str, Verdict] = {}

    @property
    def label(self) -> str:
        """What the rules are held against, in the words of tables and reports."""
        return one_line(f"{self._place}, {self.submission}")

    @cached_property
    @abstractmethod
    def evidence(self) -> Any:
        """What the rules look at."""

    @property
    def collected(self) -> Any:
        """The evidence if some rule has asked for it, else None."""
        return vars(self).get("evidence")

    def verdict(self, rule: Rule) -> Verdict:
        """What `rule` says."""
        if rule.id not in self._verdicts:
            self._verdicts[rule.id] = self._judge(rule)
        return self._verdicts[rule.id]

    def _judge(self, rule: Rule) -> Verdict:
        return rule.check(self.evidence)

    def _report(self, text: str) -> None:
        self.progress(text)


class Assessment(BaseAssessment):
    """One submission held to the contract; `torch` says whether some part is not an ONNX file."""

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
        rules = rules_for(track, torch=torch)
        super().__init__(track, label, opener, folder, rules, limits=limits)

    @cached_property
    def evidence(self) -> Evidence:
        """What the rules look at."""
        submission = self._opener(self._report)
        return Evidence(self.track, submission, self._folder, self._report, self._limits)

    def open(self) -> None:
        """Reads the files; raises SubmissionError where nothing more can be checked."""
        for rule in self.rules:
            verdict = self.verdict(rule) if rule.fatal else None
            if verdict is not None and verdict.outcome == "fail":
                raise SubmissionError(f"{rule.id}: {verdict.seen}", verdict.remedy or rule.remedy)

    def _judge(self, rule: Rule) -> Verdict:
        """Forward passes only where the file allows to feed the model and to judge its answer."""
        broken = self._broken_graph() if rule.needs == "runs" else []
        if any(each.blocks for each in broken) or (broken and not self.evidence.feedable):
            ids = ", ".join(each.id for each in broken)
            return skipped(f"not run: the file itself breaks {ids}; mend that first")
        return rule.check(self.evidence)

    def _broken_graph(self) -> list[Rule]:
        static = [r for r in self.rules if r.needs == "graph" and r.level is Level.REQUIRED]
        return [rule for rule in static if self.verdict(rule).outcome == "fail"]


class NpuAssessment(BaseAssessment):
    """One submission on the emulated NPU of `device`.

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
        rules = npu_rules_for(track)
        super().__init__(track, label, opener, folder, rules, where=device.name, limits=limits)
        self._device = device

    @cached_property
    def evidence(self) -> NpuEvidence:
        """What the rules look at."""
        host = Evidence(
            self.track,
            self._opener(self._report),
            self._folder,
            self._report,
            self._limits,
            choose=npu_probes,
        )
        return NpuEvidence(self._device, host, self._report, self._limits)

    def _judge(self, rule: Rule) -> Verdict:
        try:
            find_toolchain()
        except SubmissionError as error:
            return skipped(f"{error.problem}: {error.remedy}")
        return rule.check(self.evidence)
