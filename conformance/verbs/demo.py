"""Draw what a model answers to one picture."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL.PngImagePlugin import PngInfo

from conformance.contract.probes import PHOTOS, need_inputs
from conformance.outputs import made_room
from conformance.report.progress import stderr_progress
from conformance.scoring.datasets import content_of
from conformance.scoring.job import Job
from conformance.scoring.pictures import sheet_of
from conformance.scoring.runtimes import RUNTIMES, Feeds
from conformance.subject import Progress, subject_of, ticking
from conformance.submission.model import Model
from conformance.verbs import PATH, Found, in_json, limited, model_track
from reference.data import fixture
from reference.errors import SubmissionError
from reference.pictures import Drawing, Rank, cropped, photograph
from reference.process import Limits
from reference.tracks import Part, Track, fits, format_shape

_MOST_TEXTS = 10
_TEXTS = tuple(text for _, text in PHOTOS.values())
Run = Callable[[Part, Sequence[Feeds]], list[np.ndarray]]


@dataclass(frozen=True)
class Request:
    """What is drawn: which model answers to which picture and texts, and where it computes."""

    track: str
    models: Sequence[str]
    output: Path
    image: Path | None = None
    text: Sequence[str] = ()
    weights: Path | None = None
    npu: bool = False
    on_device: str | None = None


@click.command()
@click.argument("models", nargs=-1, metavar="[[PART=]MODEL]...")
@click.option("--track", required=True, metavar="TRACK")
@click.option("--image", type=PATH, metavar="FILE", help="A picture, or a clip; default: ours.")
@click.option("--text", multiple=True, metavar="TEXT", help="Repeatable; default: ours.")
@click.option("--weights", type=PATH, metavar="FILE", help="For the reference, without a MODEL.")
@click.option("--npu", is_flag=True, help="On the emulated NPU of the track's device.")
@click.option("--on-device", metavar="NAME", help="On AI Hub, or on a local one that emulates.")
@click.option(
    "-o", "--output", type=PATH, default=Path("demo.png"), metavar="FILE.png", help="The drawing."
)
@limited("loading the model or one forward pass")
@in_json
def command(limits: Limits, **asked: Any) -> Found:
    """Draw what a model answers to one picture: on this machine, on the emulated NPU or on a
    device. Without a MODEL it is the reference of the track.
    """
    text, found = draw(Request(**asked), limits)
    return text, 0, found


def draw(request: Request, limits: Limits) -> tuple[str, dict[str, Any]]:
    """Writes the picture and what is answered to it, side by side, and says where that was
    computed, in words, as values and in the file.

    Raises SubmissionError for what cannot be opened, run or drawn.
    """
    track = model_track(request.track)
    need_inputs(track)
    _check(request, track)
    name, (file, text) = next(iter(PHOTOS.items()))
    image = request.image or Path(fixture(f"photos/{file}"))
    texts = list(request.text) or ([] if request.image else [text])
    with tempfile.TemporaryDirectory(prefix="lpcvc-") as scratch, stderr_progress() as line:
        subject = subject_of(track, request.models, Path(scratch), limits, request.weights)
        submission = subject.opener(line)
        job = _job(request, track, limits)
        where = RUNTIMES[job.runtime].label(job)
        where = f"this machine, {where}" if job.runtime == "ort" else where

        def run(part: Part, samples: Sequence[Feeds]) -> list[np.ndarray]:
            own = replace(job, part_name=part.name)
            return _answers(submission.models[part.name], own, samples, Path(scratch), line)

        if len(track.parts) == 1:
            shown = _answered(track, image, texts, run)
        else:
            shown = _ranked(track, image, request.text or _TEXTS, run)
    title = f"{where}: {track.id}, {subject.label}"
    told = "; ".join(drawing.alt for _, drawing in shown if drawing.alt)
    info = PngInfo()
    info.add_itxt("Description", f"{title}: {told}")
    sheet_of(title, shown).save(request.output, "PNG", pnginfo=info)
    picture = str(request.image) if request.image else f"the suite's {name}"
    text = "\n".join(
        [
            f"{request.output}: {track.id}, {subject.label}",
            f"  computed  {where}",
            f"  picture   {picture}",
            *(f"  answer    {drawing.alt}" for _, drawing in shown if drawing.alt),
        ]
    )
    return text, {
        "file": request.output,
        "track": track.id,
        "submission": subject.label,
        "computed_on": where,
        "picture": picture,
        "answers": [{"to": name, "answer": d.alt} for name, d in shown if d.alt],
    }


def _check(request: Request, track: Track) -> None:
    """Raises SubmissionError for options that are not of this track, or not of each other."""
    room = track.room("pictures")
    if not hasattr(room, "answer" if len(track.parts) == 1 else "nearest"):
        raise SubmissionError(f"{room.__name__} draws no answers", "see docs/extending.md")
    takes_text = any(part.text for part in track.parts)
    if request.text and not takes_text:
        raise SubmissionError(f"{track.id} takes no text", "leave --text out")
    if request.image and takes_text and len(track.parts) == 1 and not request.text:
        raise SubmissionError(f"{track.id} takes a text with the picture", "add --text")
    if request.npu and request.on_device:
        raise SubmissionError("--npu and --on-device are two answers", "give one of them")
    if request.models and request.weights:
        raise SubmissionError("--weights is of the reference", "give a MODEL or --weights")
    output = request.output
    if output.suffix.lower() != ".png":
        raise SubmissionError(f"{output} is no .png", "give -o another name")
    made_room(output)
    if request.image and output.resolve() == request.image.resolve():
        raise SubmissionError(f"{output} is the picture itself", "give -o another name")


def _job(request: Request, track: Track, limits: Limits) -> Job:
    """Where it is computed; parts and data are not said yet."""
    runtime = "aihub" if request.on_device else "npu" if request.npu else "ort"
    device = request.on_device or track.device
    return Job(track.spec, "", Path(), tuple(request.models), runtime, device, limits, 0)


def _answers(
    model: Model, job: Job, samples: Sequence[Feeds], scratch: Path, line: Progress
) -> list[np.ndarray]:
    """The first output for each sample; raises SubmissionError for none of the track's shape."""
    wanted = job.part.output
    answers = []
    tick = ticking(line, f"running the {job.part_name} part")
    with RUNTIMES[job.runtime].open(model, job, scratch, tick) as forward:
        for number, feeds in enumerate(samples, 1):
            line(f"running the {job.part_name} part: {number}/{len(samples)}")
            answers.append(forward(feeds))
            if not fits(answers[-1].shape, wanted.shape):
                raise SubmissionError(
                    f"the model answers {format_shape(answers[-1].shape)},"
                    f" not {format_shape(wanted.shape)}",
                    f"hold it to its rules: pytest --pyargs conformance -m contract --track"
                    f" {job.track.id}",
                )
    return answers


def _answered(
    track: Track, image: Path, texts: Sequence[str], run: Run
) -> list[tuple[str, Drawing]]:
    """The picture and the answer to it; with a text where the track takes one, for each of them."""
    (part,) = track.parts
    tensor = part.image
    assert tensor is not None, "a model of pictures"
    fed, content = track.room("inputs").prepare_image(image), content_of(track, image)
    asked = texts if part.text else [""]
    answers = run(part, [_feeds(track, part, fed, text) for text in asked])
    photo = photograph(fed, track.image_high, content, tensor.channels)
    shown = [("picture", Drawing((photo,), ""))]
    for text, answer in zip(asked, answers, strict=True):
        inside = cropped(answer, fed.shape[-2:], content)
        shown.append((text or "answer", _valued(track.room("pictures").answer(photo, inside))))
    return shown


def _ranked(track: Track, image: Path, texts: Sequence[str], run: Run) -> list[tuple[str, Drawing]]:
    """The picture beside the texts, the nearest first."""
    picture, words = sorted(track.parts, key=lambda part: part.image is None)
    assert picture.image is not None, "one of the two models takes pictures"
    fed = track.room("inputs").prepare_image(image)
    (own,) = run(picture, [_feeds(track, picture, fed, "")])
    gallery = run(words, [_feeds(track, words, fed, text) for text in texts])
    photo = photograph(fed, track.image_high, content_of(track, image), picture.image.channels)
    rows = np.stack([embedding.reshape(-1) for embedding in gallery])
    if own.size != rows.shape[1]:
        problem = f"{own.size} numbers for the picture and {rows.shape[1]} for a text"
        raise SubmissionError(f"the embeddings have {problem}", "give two models of one width")
    drawing = track.room("pictures").nearest(photo, own, texts, rows, _MOST_TEXTS)
    return [("picture", _valued(drawing))]


def _feeds(track: Track, part: Part, fed: np.ndarray, text: str) -> Feeds:
    inputs = track.room("inputs")
    return {
        str(tensor.name): fed if tensor is part.image else inputs.prepare_text(text)
        for tensor in part.inputs
    }


def _valued(drawing: Drawing) -> Drawing:
    """With the numbers of its ranking in the texts."""

    def told(rank: Rank) -> Rank:
        number = "" if rank.value is None else f"{rank.value:.3f}  "
        return replace(rank, text=number + rank.text)

    return replace(drawing, ranking=tuple(map(told, drawing.ranking)))
