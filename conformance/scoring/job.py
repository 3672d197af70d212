"""What a worker is told: everything that it needs to open the data and the model by itself."""

from dataclasses import dataclass
from pathlib import Path

from reference.process import Limits
from reference.registry import find_track
from reference.tracks import Part, Track


@dataclass(frozen=True)
class Job:
    """One part of one submission on one data set.

    It goes to other processes, and to other machines: `scoring/cargo.py` brings its files to those
    that share no disk. `threads` is for each model, 0 for what the runtime takes by itself.
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
