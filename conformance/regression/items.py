"""The items of regression: one a submission and group of a baseline's entries."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from conformance.contract.assessment import Assessment
from conformance.npu.assessment import NpuAssessment
from conformance.parity.comparison import Comparison
from conformance.regression import gather
from conformance.regression.assessment import RegressionCase, RegressionOptions, RegressionRun
from conformance.regression.rows import version_lines
from conformance.regression.sections import regression_sections
from conformance.report.document import Section
from conformance.subject import Subject
from conformance.suite import Suite
from conformance.wing import Wing
from reference.errors import SubmissionError


class RegressionWing(Wing):
    """Every group of every submission, on each device where that matters."""

    def __init__(self, suite: Suite, options: RegressionOptions) -> None:
        super().__init__(suite)
        self._run = RegressionRun(options)

    @classmethod
    def of(cls, suite: Suite, option: Callable[[str], Any]) -> Self:
        """With the options of pytest; `--save` is that of the device."""
        options = RegressionOptions(
            option("--baseline"),
            option("--save-baseline"),
            option("--with") or (),
            option("--tolerance") or (),
            latencies=option("--save"),
            scores=option("--scores"),
        )
        return cls(suite, options)

    def start(self) -> None:
        """Raises SubmissionError without a file to compare with or to make."""
        if self._run.options.baseline is None and self._run.options.save is None:
            raise SubmissionError(
                "-m regression needs a baseline",
                "add --baseline FILE, or --save-baseline FILE for a first one",
            )

    def cases(self) -> list[RegressionCase]:
        """Every group of every submission."""
        return [
            RegressionCase(self._run, subject, group, self.suite.options)
            for subject in self.suite.models
            for group in self._groups(subject)
        ]

    def save(self) -> list[str]:
        """Writes the baseline, if that was asked for; what it replaced, in lines."""
        return self._run.save()

    @classmethod
    def summary(cls, found: Sequence[Mapping[str, str]]) -> Iterable[str]:
        """The versions that are not the baseline's."""
        return version_lines(found)

    def sections(self) -> Iterator[Section]:
        """What is otherwise than in the baseline."""
        return regression_sections(self._run.compared)

    def _groups(self, subject: Subject) -> Iterator[gather.Group]:
        asked, limits = self._run.options, self.suite.limits
        own = Assessment(subject, self._folder(subject), limits=limits)
        yield from gather.contract_groups(own)
        for device in self.suite.devices(subject.track):
            if {"compile", "npu"} & set(asked.beside):
                on_npu = NpuAssessment(device, subject, self._folder(subject), limits=limits)
                yield from gather.compiled_groups(on_npu, device.name)
                if "npu" in asked.beside:
                    yield from gather.npu_groups(on_npu, device.name)
            if "parity" in asked.beside:
                comparison = Comparison(own, device, self.suite.folder("parity"), limits)
                yield from gather.parity_groups(comparison)
        if asked.latencies is not None:
            yield gather.latency_group(own, subject.label, asked.latencies)
        if asked.scores is not None:
            yield gather.score_group(own, subject.label, asked.scores)

    def _folder(self, subject: Subject) -> Path:
        return self.suite.folder(subject.track.id)


WING = RegressionWing
