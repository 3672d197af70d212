"""The items of the contract: every rule for every submission, or for the references without one."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from conformance.contract.assessment import Assessment, assessment_of
from conformance.report.document import Section
from conformance.suite import Suite
from conformance.wing import Case, RuleWing


class ContractWing(RuleWing[Assessment]):
    """Opens at once what can be opened; raises SubmissionError where nothing can be checked."""

    def __init__(self, suite: Suite) -> None:
        super().__init__(suite)
        for own in self.assessments:
            if suite.submitted and not own.subject.torch:
                own.open()

    def assess(self) -> Iterator[Assessment]:
        """One for each submission."""
        for subject in self.suite.subjects:
            folder = self.suite.folder(subject.track.id)
            yield assessment_of(subject, folder, limits=self.suite.limits)

    def left_out(self, name: str) -> Sequence[Case]:
        """None: packages have rules too."""
        return ()

    @staticmethod
    def shown(label: str, e: Any) -> Iterable[Section]:
        """What it answered to photographs, and how far the answers are apart."""
        from conformance.contract.sections import contract_sections

        return contract_sections(label, e)


WING = ContractWing
