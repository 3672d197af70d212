"""What is held to a track: a submission, or the reference model of the track."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from conformance.runtimes.process import ModelProcess, export_onnx
from conformance.submission.graph import read_graph
from conformance.submission.model import Model, Submission
from conformance.submission.opening import open_submission
from reference.errors import SubmissionError
from reference.exported import find_exported
from reference.process import Limits, Tick
from reference.tracks import Track

# Takes what is being done, in words.
Progress = Callable[[str], None]
Opener = Callable[[Progress], Submission]


@dataclass(frozen=True)
class Subject:
    """One submission to one track, or the reference model in its place.

    `opener` brings the models when they are first needed, and every time the same ones. `torch`
    says whether some part is PyTorch, and `tflite` which are TFLite.
    """

    track: Track
    label: str
    opener: Opener
    torch: bool = False
    tflite: frozenset[str] = frozenset()


def opened(track: Track, submission: Submission) -> Subject:
    """A submission that was opened already."""
    tflite = frozenset(n for n, model in submission.models.items() if model.format == "tflite")
    return Subject(track, submission.label, lambda _: submission, submission.torch, tflite)


def subject_of(
    track: Track,
    specs: Sequence[str],
    folder: Path,
    limits: Limits,
    weights: Path | None = None,
    instead: str = "give your own model",
) -> Subject:
    """The submission that `specs` (`PATH` or `PART=PATH`) name; without any the track's reference.

    The submission is opened at once; the reference is built when it is first needed, in a child
    process with `limits`, with the checkpoint `weights` or with random ones. For a submission they
    are a state dict for its factory. What is written goes to `folder`, which must exist. Raises
    SubmissionError for what cannot be opened, and where the track has no reference: `instead` is
    what to do then.
    """
    if specs:
        submission = open_submission(track, specs, folder, limits)
        return opened(track, _with(submission, weights) if weights else submission)
    if not track.has("model"):
        raise SubmissionError(f"{track.id} has no reference model", instead)
    return _reference(track, folder, limits, weights)


def _with(submission: Submission, weights: Path) -> Submission:
    """A submission of one factory with a state dict; raises SubmissionError for another."""
    if len(submission.models) != 1:
        raise SubmissionError(
            f"--weights is of one model and {len(submission.models)} are given",
            "load them in the factories",
        )
    models = {part: model.given(weights) for part, model in submission.models.items()}
    return replace(submission, models=models)


def _reference(track: Track, folder: Path, limits: Limits, weights: Path | None) -> Subject:
    label = f"reference model, {weights.name if weights else 'random weights'}"
    built: list[Submission] = []

    def build(progress: Progress) -> Submission:
        if not built:
            paths = find_exported(track, folder, weights=weights, to_read=True)
            if paths is None:
                what = f"building the reference of {track.id}"

                def tick(seconds: float) -> None:
                    stage = process.stage.told(seconds) if process.stage else "starting"
                    progress(f"{what} {seconds:.0f} s: {stage}")

                with ModelProcess(what, folder, tick, limits, torch=True) as process:
                    paths = process.reference(track.spec, folder, weights)
            models = {part: Model(part, "onnx", str(path)) for part, path in paths.items()}
            source = f"{track.spec}:{{}}:{weights or ''}"
            originals = {part: Model(part, "reference", source.format(part)) for part in paths}
            built.append(Submission(label, models, originals))
        return built[0]

    return Subject(track, label, build)


def onnx_files(
    subject: Subject, folder: Path, limits: Limits, progress: Progress
) -> dict[str, Path]:
    """The ONNX or TFLite file of each part, by the part's name; each is known to be readable within
    `limits`.

    PyTorch models are exported into `folder`, in a child process. Raises SubmissionError for what
    cannot be opened, exported or read.
    """
    submission = subject.opener(progress)
    files = {
        part: onnx_file(model, subject.track, folder, limits, progress)
        for part, model in submission.models.items()
    }
    for path in files.values():
        read_graph(path, limits, ticking(progress, f"reading {path.name}"))
    return files


def onnx_file(model: Model, track: Track, folder: Path, limits: Limits, progress: Progress) -> Path:
    """The file of one model: its own, or its export into `folder`, which is called after it; raises
    SubmissionError.
    """
    if not model.torch:
        return model.path
    own = folder / f"{model.part}-export"
    own.mkdir(exist_ok=True)
    path = own / (re.sub(r"[^\w.+-]+", ".", model.path.name) + ".onnx")
    what = f"exporting {model.path.name} to ONNX"
    export_onnx(model, track.spec, path, limits, ticking(progress, what))
    return path


def ticking(progress: Progress, what: str) -> Tick:
    """Shows `what` and the seconds that it has taken."""
    return lambda seconds: progress(f"{what} {seconds:.0f} s")
