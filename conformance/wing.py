"""What a suite is to pytest: a wing of the house, whose items each come to a line of the table."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, Self, TypeVar

from conformance.assessment import BaseAssessment
from conformance.report.document import Section
from conformance.report.terminal import Row, Status, explain_failure, repeat_rule
from conformance.rulebook import Rule, Verdict
from conformance.subject import Progress, Subject
from conformance.suite import Suite
from reference.errors import SubmissionError, ToolError, one_line


class NotCompared(Exception):  # noqa: N818 - no error
    """There is nothing to compare; the message says why, and what would change that."""


@dataclass(frozen=True)
class Judged:
    """What came of an item: its line of the table, and where that fails the whole `story`.

    `beside` is what else its report is to keep, by name.
    """

    row: Row
    story: str = ""
    beside: Mapping[str, str] = field(default_factory=dict)


class Case(ABC):
    """One item of a wing."""

    @property
    @abstractmethod
    def id(self) -> str:
        """What stands in brackets in its node id: `depth-2025::DEP-4`."""

    @abstractmethod
    def follow(self, progress: Progress) -> None:
        """Has what is being done for it told from now on."""

    @abstractmethod
    def judged(self) -> Judged:
        """What comes of it. Raises SubmissionError for what ends the run, ToolError for what leaves
        this item without an answer.
        """


class Wing(ABC):
    """One suite in one run; `conformance/<name>/items.py` has it as WING, beside a test module that
    takes each `<name>_case`.

    Made when it is asked for, and to be closed.
    """

    def __init__(self, suite: Suite) -> None:
        self.suite = suite

    @classmethod
    def of(cls, suite: Suite, option: Callable[[str], Any]) -> Self:
        """The wing of a run; `option` gives the value of one. Raises SubmissionError."""
        return cls(suite)

    @abstractmethod
    def cases(self) -> Sequence[Case]:
        """Its items. Raises SubmissionError."""

    def left_out(self, name: str) -> Sequence[Case]:
        """A line for each package, in the wing called so; none where it is looked at."""
        packages = [own for own in self.suite.subjects if own not in self.suite.models]
        return [PackageCase(name, own) for own in packages]

    def start(self) -> None:  # noqa: B027 - most lack nothing
        """Raises SubmissionError where its items, which are about to run, lack something."""

    def save(self) -> list[str]:
        """Keeps what was asked for at the end of the run; what there is to say of that, in lines.

        Raises SubmissionError.
        """
        return []

    @classmethod
    def summary(cls, found: Sequence[Mapping[str, str]]) -> Iterable[str]:
        """Lines below the table; `found` has the facts of every item."""
        return ()

    def sections(self) -> Iterable[Section]:
        """What its items have seen so far, for a report. Nothing is run for it."""
        return ()

    def close(self) -> None:  # noqa: B027 - most started nothing
        """Ends what it started."""


@dataclass(frozen=True)
class PackageCase(Case):
    """In a wing that runs models, the one line of a submission that is a package."""

    name: str
    subject: Subject

    @property
    def id(self) -> str:
        """`aigc-2026::npu`."""
        return f"{self.subject.track.id}::{self.name}"

    def follow(self, progress: Progress) -> None:
        """There is nothing to tell."""

    def judged(self) -> Judged:
        """That it is left out."""
        track = self.subject.track
        seen = "nothing to compile or to run: a package is held to its rules by -m contract"
        label = one_line(f"{track.id}, {self.subject.label}")
        return Judged(Row(label, self.name, "", "skip", seen, "", track.id))


@dataclass(frozen=True)
class RuleCase(Case):
    """One rule for one submission."""

    suite: Suite
    assessment: BaseAssessment
    rule: Rule

    @property
    def id(self) -> str:
        """`depth-2025::DEP-4`, `depth-2025::Samsung Galaxy S24::NPU-1`."""
        return f"{self.assessment.id}::{self.rule.id}"

    def follow(self, progress: Progress) -> None:
        """Has the assessment tell it."""
        self.assessment.progress = progress

    def judged(self) -> Judged:
        """What the rule says."""
        verdict = self.assessment.verdict(self.rule)
        if verdict.outcome != "fail":
            return Judged(self.row(verdict))
        track, options = self.assessment.track, self.suite.options
        return Judged(self.row(verdict), explain_failure(track, self.rule, verdict, options))

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
            self.rule.summary,
            self.rule.shown_by,
        )


A = TypeVar("A", bound=BaseAssessment)


class RuleWing(Wing, Generic[A]):
    """A wing whose items hold its assessments to one rule each."""

    @cached_property
    def assessments(self) -> Sequence[A]:
        """One for each submission and place where it is looked at."""
        return list(self.assess())

    @abstractmethod
    def assess(self) -> Iterable[A]:
        """Makes them. Raises SubmissionError."""

    def cases(self) -> list[RuleCase]:
        """Every rule of every assessment."""
        return [RuleCase(self.suite, own, rule) for own in self.assessments for rule in own.rules]

    def sections(self) -> Iterable[Section]:
        """What each assessment shows of what its rules have asked for."""
        for own in self.assessments:
            if own.collected is not None:
                yield from self.shown(own.label, own.collected)

    @staticmethod
    def shown(label: str, e: Any) -> Iterable[Section]:
        """The sections of one assessment, whose evidence is `e`; `label` is their subject."""
        return ()


def attempted(
    name: str, measure: Callable[[], Judged], row: Callable[[Status, str], Row]
) -> Judged:
    """What `measure` gives; where there is nothing to compare a `row` that is skipped, and where a
    side cannot be had one that fails, with `name` before the reason.
    """
    try:
        return measure()
    except NotCompared as reason:
        return Judged(row("skip", str(reason)))
    except ToolError:
        raise
    except SubmissionError as error:
        return Judged(row("FAIL", error.problem), f"{name}: {error}")
