"""What a worker is told: everything that it needs to open the data and the model by itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from reference.process import Limits
from reference.registry import find_track
from reference.tracks import Part, Track


@dataclass(frozen=True)
class Job:
    """One part of one submission on one data set.

    It goes to other processes, and to other machines where `data` and the files in `submission`
    are on a shared disk. `threads` is for each model, 0 for what the runtime takes by itself.
    """

    track_id: str
    part_name: str
    data: Path
    submission: tuple[str, ...]
    runtime: str
    device: str
    limits: Limits
    threads: int

    @property
    def track(self) -> Track:
        """The track that is scored."""
        return find_track(self.track_id)

    @property
    def part(self) -> Part:
        """The part that runs."""
        return self.track.part(self.part_name)


@dataclass(frozen=True)
class Result:
    """What became of one item: numbers, and an embedding or a confusion matrix in `array`.

    `error` says why there is no answer; `note` what is odd about it. `seconds` are the host's,
    preparation and metric included.
    """

    item: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    array: np.ndarray | None = None
    error: str = ""
    note: str = ""
    seconds: float = 0.0
