"""Holds one submission to some of the rules of its track, each rule once."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from conformance.rulebook import Rule, Verdict
from conformance.subject import Progress, Subject
from conformance.submission.model import Submission
from reference.errors import one_line
from reference.process import Limits


class BaseAssessment(ABC):
    """One submission to one track.

    It is opened when it is first needed. Exports and answers are written to `folder`, which must
    exist. `where` is what beside the track it is held to, such as a device.
    """

    def __init__(
        self,
        subject: Subject,
        folder: Path,
        rules: Sequence[Rule],
        *,
        where: str = "",
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        self.track = subject.track
        self.submission = subject.label
        self._place = f"{self.track.id} on {where}" if where else self.track.id
        self.id = f"{self.track.id}::{where}" if where else self.track.id
        self.rules = rules
        self.progress: Progress = lambda text: None
        self.subject = subject
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

    def _open(self) -> Submission:
        return self.subject.opener(self._report)

    def _report(self, text: str) -> None:
        self.progress(text)
