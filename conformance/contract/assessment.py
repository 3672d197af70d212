"""Holds one submission to the contract of its track, the cheap rules first."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from conformance.assessment import BaseAssessment
from conformance.contract.evidence import Evidence
from conformance.rulebook import Level, Rule, Verdict, rules_for, skipped
from conformance.subject import Subject
from reference.errors import SubmissionError
from reference.process import Limits


class Assessment(BaseAssessment):
    """One submission held to the contract."""

    def __init__(
        self,
        subject: Subject,
        folder: Path,
        *,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        rules = rules_for(subject.track, torch=subject.torch)
        super().__init__(subject, folder, rules, limits=limits)

    @cached_property
    def evidence(self) -> Evidence:
        """What the rules look at."""
        return Evidence(self.track, self._open(), self._folder, self._report, self._limits)

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
        verdict = rule.check(self.evidence)
        return verdict if verdict.outcome != "fail" else self._advised(rule, verdict)

    def _advised(self, rule: Rule, verdict: Verdict) -> Verdict:
        """What is broken, with that `lpcvc fix` mends it in the file that was given."""
        from conformance.mending.menders import with_advice

        given = self.evidence.submission.models
        graphs = [
            (part, graph)
            for part, graph in self.evidence.each_graph()
            if given[part.name].format == "onnx"
        ]
        remedy = with_advice(verdict.remedy or rule.remedy, rule.id, self.track, graphs)
        return replace(verdict, remedy=remedy)

    def _broken_graph(self) -> list[Rule]:
        static = [r for r in self.rules if r.needs == "graph" and r.level is Level.REQUIRED]
        return [rule for rule in static if self.verdict(rule).outcome == "fail"]


class PackageAssessment(Assessment):
    """One submission that is a package; no rule of it needs a run, and none has a mender."""

    @cached_property
    def evidence(self) -> Any:
        """What the room `package` of the track made of it."""
        return self._open().package

    def _advised(self, rule: Rule, verdict: Verdict) -> Verdict:
        return verdict


def assessment_of(
    subject: Subject,
    folder: Path,
    *,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> Assessment:
    """The one that fits what the track takes."""
    kind = PackageAssessment if subject.track.has("package") else Assessment
    return kind(subject, folder, limits=limits)
