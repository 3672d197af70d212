"""Holds one submission to the rules of the NPU, compiled and emulated here."""

from functools import cached_property
from pathlib import Path

from conformance.assessment import BaseAssessment
from conformance.contract.evidence import Evidence
from conformance.npu.evidence import NpuEvidence, npu_probes
from conformance.rulebook import Rule, Verdict, npu_rules_for, skipped
from conformance.subject import Subject
from reference.errors import SubmissionError
from reference.npu.devices import Device
from reference.npu.toolchain import find_toolchain
from reference.process import Limits


class NpuAssessment(BaseAssessment):
    """One submission on the emulated NPU of `device`.

    Where Qualcomm's toolchain is missing every rule is skipped, with the reason.
    """

    def __init__(
        self,
        device: Device,
        subject: Subject,
        folder: Path,
        *,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        rules = npu_rules_for(subject.track)
        super().__init__(subject, folder, rules, where=device.name, limits=limits)
        self._device = device

    @cached_property
    def evidence(self) -> NpuEvidence:
        """What the rules look at."""
        host = Evidence(
            self.track,
            self._open(),
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
