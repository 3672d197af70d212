"""The items of parity: one a submission, part and pair of runtimes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from conformance.contract.assessment import Assessment
from conformance.parity.comparison import PAIRS, TFLITE_PAIRS, Comparison, Pair
from conformance.parity.rows import branch_table, explain_disagreement, measured, told_of
from conformance.parity.sections import parity_sections
from conformance.report.document import Section
from conformance.report.terminal import Row, Status, repeat
from conformance.subject import Progress
from conformance.suite import Suite
from conformance.wing import Case, Judged, Wing, attempted
from reference.tracks import Part


@dataclass(frozen=True)
class ParityCase(Case):
    """One pair of runtimes for one part of a submission. `options` ask for this submission."""

    comparison: Comparison
    part: Part
    pair: Pair
    options: Sequence[str]

    @property
    def label(self) -> str:
        """`model onnx=npu`."""
        return f"{self.part.name} {'='.join(self.pair)}"

    @property
    def item(self) -> str:
        """`model-onnx-npu`."""
        return "-".join((self.part.name, *self.pair))

    @property
    def id(self) -> str:
        """`depth-2025::model-torch-onnx`, `depth-2025::Samsung Galaxy S24::model-onnx-npu`."""
        device = f"{self.comparison.device.name}::" if "npu" in self.pair else ""
        return f"{self.comparison.assessment.track.id}::{device}{self.item}"

    def follow(self, progress: Progress) -> None:
        """Has the assessment tell it."""
        self.comparison.assessment.progress = progress

    def judged(self) -> Judged:
        """How far the two sides are apart, and where that begins if it is too far."""
        return attempted(self.label, self._measure, self._row)

    def _measure(self) -> Judged:
        track = self.comparison.assessment.track
        agreement = self.comparison.agreement(self.part, self.pair)
        figures = measured(track, agreement.measures)
        located = f"; {agreement.located}" if agreement.located else ""
        seen = f"{figures} (1 probe, {agreement.probe.name!r}){located}"
        row = told_of(self._row("FAIL" if agreement.broken else "pass", seen), agreement)
        story = explain_disagreement(row, track, agreement) if agreement.broken else ""
        cosine = getattr(agreement.measures, "cosine", None)
        return Judged(row, story, {} if cosine is None else {"cosine": f"{cosine:.7f}"})

    def _row(self, status: Status, seen: str) -> Row:
        track = self.comparison.assessment.track
        again = repeat("parity", track, self.options, self.item)
        own = (self.comparison.label, self.label, "", status, seen, "", track.id)
        return Row(*own, again=again, shown_by="parity")


class ParityWing(Wing):
    """One comparison for each submission and NPU, by default the track's, with `layers` or not."""

    def __init__(self, suite: Suite, layers: bool) -> None:
        super().__init__(suite)
        self._layers = layers

    @classmethod
    def of(cls, suite: Suite, option: Callable[[str], Any]) -> Self:
        """As the options say."""
        return cls(suite, option("--layers"))

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """One submission has one assessment, and what it holds, in all of its comparisons."""
        return [
            Comparison(
                own,
                device,
                self.suite.folder("parity"),
                self.suite.limits,
                layers=self._layers,
            )
            for subject in self.suite.models
            for own in [Assessment(subject, self.suite.folder("parity"), limits=self.suite.limits)]
            for device in self.suite.devices(subject.track)
        ]

    def cases(self) -> list[ParityCase]:
        """Every pair for every part; what needs no NPU once a submission."""
        seen: set[Assessment] = set()
        cases = []
        for own in self.comparisons:
            tflite, first = own.assessment.subject.tflite, own.assessment not in seen
            seen.add(own.assessment)
            cases += [
                ParityCase(own, part, pair, self.suite.options)
                for part in own.assessment.track.parts
                for pair in (TFLITE_PAIRS if part.name in tflite else PAIRS)
                if "npu" in pair or first
            ]
        return cases

    @classmethod
    def summary(cls, found: Sequence[Mapping[str, str]]) -> Iterable[str]:
        """The table of branches."""
        return branch_table(found)

    def sections(self) -> Iterator[Section]:
        """The error by layer."""
        for own in self.comparisons:
            yield from parity_sections(own)


WING = ParityWing
