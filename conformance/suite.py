"""What the options ask for: which submissions are held to which tracks, and how strictly."""

import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from conformance.report.terminal import shell_word
from conformance.rulebook import Gate
from conformance.subject import Subject, subject_of
from reference.errors import SubmissionError
from reference.npu.devices import Device, find_device
from reference.process import Limits
from reference.registry import default_tracks, find_track
from reference.tracks import Track


class Suite:
    """What one run is about; to be closed. Without `tracks` it is each that has a reference model.

    `devices` are names, of AI Hub's own devices where they are `remote`: it has more than the
    compiler's table. Raises SubmissionError for what cannot be found, opened or asked together.
    """

    def __init__(
        self,
        tracks: Sequence[str],
        submission: Sequence[str],
        weights: str | None,
        devices: Sequence[str],
        gate: Gate = Gate(),  # noqa: B008 - frozen
        limits: Limits = Limits(),  # noqa: B008 - frozen
        *,
        remote: bool = False,
    ) -> None:
        self.gate, self.limits = gate, limits
        self.tracks = chosen_tracks(tracks)
        self.device_names = list(devices)
        self._devices = [] if remote else [find_device(name) for name in devices]
        _check(tracks, self.tracks, submission, weights)
        # As given, to be given again.
        self.options = [
            *(f"--submission {shell_word(spec)}" for spec in submission),
            *([f"--weights {shell_word(weights)}"] if weights else []),
            *(f"--device {shell_word(name)}" for name in devices),
            *(["--as-evaluated"] if gate.as_evaluated else []),
            *(["--strict"] if gate.strict else []),
        ]
        self.submitted = bool(submission)
        self.subjects = [self._subject(track, submission, weights) for track in self.tracks]

    @property
    def models(self) -> list[Subject]:
        """The subjects that can run: all but packages."""
        return [subject for subject in self.subjects if not subject.track.has("package")]

    def devices(self, track: Track) -> list[Device]:
        """Those whose NPU is emulated: by default the track's."""
        return self._devices or [find_device(track.device)]

    def reference(self, track: Track) -> Subject | None:
        """The track's own model, with random weights; None where it has none."""
        return self._subject(track) if track.has("model") else None

    def folder(self, name: str) -> Path:
        """A new folder to write to, gone at the end."""
        return Path(tempfile.mkdtemp(dir=self._scratch.name, prefix=f"{name}-"))

    def close(self) -> None:
        """Removes what was written."""
        if "_scratch" in vars(self):
            self._scratch.cleanup()

    @cached_property
    def _scratch(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(prefix="lpcvc-")

    def _subject(
        self, track: Track, submission: Sequence[str] = (), weights: str | None = None
    ) -> Subject:
        return subject_of(
            track,
            submission,
            self.folder(track.id),
            self.limits,
            Path(weights) if weights else None,
            instead="give your own with --submission",
        )


def chosen_tracks(names: Sequence[str]) -> list[Track]:
    """The tracks called `names`, by default each that has a reference model.

    Raises SubmissionError for an unknown name, and for two tracks of one name.
    """
    named = list(dict.fromkeys(find_track(name) for name in names))
    files: dict[str, str] = {}
    for track in named:
        if files.setdefault(track.id, track.file) != track.file:
            raise SubmissionError(
                f"{files[track.id]} and {track.file} both call themselves {track.id}",
                "rename one of the two",
            )
    return named or [track for track in default_tracks().values() if track.has("model")]


def _check(
    named: Sequence[str], tracks: Sequence[Track], submission: Sequence[str], weights: str | None
) -> None:
    """Raises SubmissionError where a model is given for no track or several."""
    if not (submission or weights):
        return
    if len(tracks) != 1 or not named:
        option = "--submission" if submission else "--weights"
        raise SubmissionError(
            f"{option} needs one --track and {len(named)} are given",
            f"add --track with one of: {', '.join(default_tracks())}",
        )
