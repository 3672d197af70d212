"""The items of the NPU: every rule for every submission on each device, by default the track's."""

from collections.abc import Iterator

from conformance.npu.assessment import NpuAssessment
from conformance.npu.sections import npu_sections
from conformance.wing import RuleWing


class NpuWing(RuleWing[NpuAssessment]):
    """One assessment for each submission and device."""

    def assess(self) -> Iterator[NpuAssessment]:
        """Makes them."""
        for subject in self.suite.models:
            for device in self.suite.devices(subject.track):
                folder = self.suite.folder(subject.track.id)
                yield NpuAssessment(device, subject, folder, limits=self.suite.limits)

    shown = staticmethod(npu_sections)


WING = NpuWing
