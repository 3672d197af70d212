"""The items of the parity suite: one a submission, part and pair of runtimes."""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from conformance.contract.assessment import Assessment
from conformance.parity.comparison import PAIRS, Agreement, Comparison, Pair
from reference.npu.devices import Device, find_device
from reference.process import Limits
from reference.tracks import Part


@dataclass(frozen=True)
class ParityCase:
    """One pair of runtimes for one part of a submission: one item of the suite.

    `options` are those that ask for this submission.
    """

    comparison: Comparison
    part: Part
    pair: Pair
    options: Sequence[str]

    @property
    def assessment(self) -> Assessment:
        """The submission and its track."""
        return self.comparison.assessment

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
        return f"{self.assessment.track.id}::{device}{self.item}"

    def agreement(self) -> Agreement:
        """What comes of the comparison; raises as `Comparison.agreement` does."""
        return self.comparison.agreement(self.part, self.pair)


def parity_cases(
    assessments: Iterable[Assessment],
    devices: Sequence[Device],
    folder: Path,
    limits: Limits,
    options: Sequence[str],
) -> list[ParityCase]:
    """Every pair for every part of every submission, on each NPU: by default the track's."""
    cases = []
    for own in assessments:
        for count, device in enumerate(devices or [find_device(own.track.device)]):
            place = Path(tempfile.mkdtemp(dir=folder, prefix="parity-"))
            comparison = Comparison(own, device, place, limits)
            cases += [
                ParityCase(comparison, part, pair, options)
                for part in own.track.parts
                for pair in PAIRS
                if "npu" in pair or count == 0
            ]
    return cases
