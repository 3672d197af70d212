"""The items of the device: every rule for every submission on each, by default the track's."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Self

from conformance.device.assessment import DeviceAssessment, DeviceOptions
from conformance.device.bench import Bench
from conformance.device.history import compared, last_like, read_saved, save
from conformance.device.hub import Hub
from conformance.device.sections import device_sections
from conformance.outputs import made_room
from conformance.subject import Subject
from conformance.suite import Suite
from conformance.wing import RuleWing
from reference.errors import SubmissionError


class DeviceWing(RuleWing[DeviceAssessment]):
    """All assessments are on one bench, so that their jobs run together."""

    def __init__(self, suite: Suite, options: DeviceOptions) -> None:
        super().__init__(suite)
        self._results = options.results
        self._runtimes = options.runtimes
        self._previous = read_saved(options.results) if options.results else []
        self._bench = Bench(Hub(options.hub, suite.limits), options.repeats, options.share)

    @classmethod
    def of(cls, suite: Suite, option: Callable[[str], Any]) -> Self:
        """With the options of pytest."""
        repeats = option("--profile-runs")
        if repeats < 1:
            raise SubmissionError(f"--profile-runs {repeats} measures nothing", "give 1 or more")
        file = option("--save")
        if file is not None:
            made_room(file)
        return cls(suite, DeviceOptions(option("--hub"), option("--share"), repeats, file))

    def assess(self) -> Iterator[DeviceAssessment]:
        """One for each submission and device, beside the reference where that is its budget."""
        for subject in self._subjects():
            for device in self.suite.device_names or [subject.track.device]:
                own = self._on(device, subject, reference=not self.suite.submitted)
                sample = self.suite.reference(subject.track) if self._against(subject) else None
                if sample is not None:
                    own.baseline = self._on(device, sample, reference=True).entry
                    own.baseline.for_time = True
                yield own

    shown = staticmethod(device_sections)

    def save(self) -> list[str]:
        """Adds the results to the file, if one was named; what has changed since, in lines."""
        file = self._results
        saved = [run for own in self.assessments if (run := own.saved())]
        if file is None or not saved:
            return []
        save(file, saved)
        return [f"{file.name}: {compared(run, last_like(self._previous, run))}" for run in saved]

    def close(self) -> None:
        """Ends a local hub."""
        self._bench.close()

    def _subjects(self) -> Iterator[Subject]:
        for subject in self.suite.models:
            if not self._runtimes:
                yield subject
            for runtime in self._runtimes:
                yield replace(subject, track=subject.track.compiled_for(runtime))

    def _against(self, subject: Subject) -> bool:
        return self.suite.submitted and subject.track.budget_is_reference

    def _on(self, device: str, subject: Subject, *, reference: bool) -> DeviceAssessment:
        return DeviceAssessment(
            self._bench,
            device,
            subject,
            self.suite.folder(subject.track.id),
            reference=reference,
            previous=self._previous,
            limits=self.suite.limits,
        )


WING = DeviceWing
