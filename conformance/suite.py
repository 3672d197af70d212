"""What the options ask for: which submissions are held to which tracks, and how strictly."""

import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from conformance.assessment import Assessment, fails_gate
from conformance.evidence import Progress
from conformance.report.terminal import Row, Status
from conformance.rulebook import Rule, Verdict
from conformance.runtimes.process import ModelProcess
from conformance.submission import Model, Submission, open_submission
from reference.errors import SubmissionError
from reference.process import Limits
from reference.tracks import DEFAULTS, Track, find_track


@dataclass(frozen=True)
class Case:
    """One rule for one submission: one item of the suite."""

    suite: "Suite"
    assessment: Assessment
    rule: Rule

    @property
    def id(self) -> str:
        """`depth-2025::DEP-4`."""
        return f"{self.assessment.track.id}::{self.rule.id}"

    def row(self, verdict: Verdict) -> Row:
        """The line of the table."""
        status: Status = "pass" if verdict.outcome == "pass" else "skip"
        if verdict.outcome == "fail":
            status = "FAIL" if self.suite.fails(self.rule) else "warn"
        seen = f"{verdict.seen} ({verdict.where})" if verdict.where else verdict.seen
        if verdict.expected:
            seen += f", expected {verdict.expected}"
        remedy = verdict.remedy or self.rule.remedy
        heading = f"{self.assessment.track.id}, {self.assessment.label}"
        return Row(heading, self.rule.id, self.rule.level.value, status, seen, remedy)


class Suite:
    """The options of one run. Raises SubmissionError for what cannot be asked together."""

    def __init__(
        self,
        tracks: Sequence[str],
        submission: Sequence[str],
        weights: str | None,
        as_evaluated: bool,
        strict: bool,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        self._limits = limits
        if as_evaluated and strict:
            raise SubmissionError(
                "--as-evaluated and --strict ask for opposite things", "give one of them"
            )
        self._as_evaluated, self._strict = as_evaluated, strict
        named = dict.fromkeys(find_track(name) for name in tracks)
        self.tracks = list(named or DEFAULTS.values())
        given = [f"--submission {shlex.quote(spec)}" for spec in submission]
        given += [f"--weights {shlex.quote(weights)}"] if weights else []
        given += ["--as-evaluated"] if as_evaluated else []
        given += ["--strict"] if strict else []
        self.options = given
        self._assessments: list[Assessment] = []
        if submission or weights or tracks:
            self._open(tracks, submission, weights)

    def _open(self, tracks: Sequence[str], submission: Sequence[str], weights: str | None) -> None:
        if submission or weights:
            if len(self.tracks) != 1 or not tracks:
                option = "--submission" if submission else "--weights"
                raise SubmissionError(
                    f"{option} needs one --track and {len(tracks)} are given",
                    f"add --track with one of: {', '.join(DEFAULTS)}",
                )
            if submission and weights:
                raise SubmissionError(
                    "--weights is for the reference model, not for a submission",
                    "give --submission or --weights",
                )
        if submission:
            self._assessments = [self._submitted(self.tracks[0], submission)]
        else:
            file = Path(weights) if weights else None
            self._assessments = [self._reference(track, file) for track in self.tracks]

    def cases(self) -> list[Case]:
        """Every rule for every submission, or for the reference models where none is given."""
        if not self._assessments:
            self._assessments = [self._reference(track, None) for track in self.tracks]
        return [Case(self, own, rule) for own in self._assessments for rule in own.rules]

    @property
    def text_tracks(self) -> list[Track]:
        """The chosen tracks that feed a text."""
        return [track for track in self.tracks if any(part.text for part in track.parts)]

    def fails(self, rule: Rule) -> bool:
        """Whether breaking `rule` fails the gate."""
        return fails_gate(rule.level, as_evaluated=self._as_evaluated, strict=self._strict)

    def close(self) -> None:
        """Removes everything that was written."""
        if "_scratch" in vars(self):
            self._scratch.cleanup()

    @cached_property
    def _scratch(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(prefix="lpcvc-")

    def _submitted(self, track: Track, specs: Sequence[str]) -> Assessment:
        folder = self._folder(track)
        submission = open_submission(track, specs, folder)
        own = Assessment(
            track,
            submission.label,
            lambda _: submission,
            folder,
            torch=submission.torch,
            limits=self._limits,
        )
        if not submission.torch:
            own.open()
        return own

    def _reference(self, track: Track, weights: Path | None) -> Assessment:
        if not track.model:
            raise SubmissionError(
                f"{track.id} has no reference model", "give your own with --submission"
            )
        folder = self._folder(track)
        label = f"reference model, {weights.name if weights else 'random weights'}"

        def build(progress: Progress) -> Submission:
            what = f"building the reference of {track.id}"
            tick = lambda seconds: progress(f"{what} {seconds:.0f} s")  # noqa: E731
            with ModelProcess(what, folder, tick, self._limits) as process:
                paths = process.reference(track.id, folder, weights)
            models = {part: Model(part, "onnx", path) for part, path in paths.items()}
            return Submission(label, models)

        return Assessment(track, label, build, folder, limits=self._limits)

    def _folder(self, track: Track) -> Path:
        folder = Path(self._scratch.name) / track.id
        folder.mkdir()
        return folder
