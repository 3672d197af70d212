"""The worst items as PNG sheets: what was fed, what the model made of it, and the truth."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from conformance.scoring.datasets import Dataset
from conformance.scoring.job import Job
from conformance.scoring.summary import Summary
from conformance.scoring.worker import Worker
from reference.errors import SubmissionError, one_line
from reference.images import open_pillow
from reference.pictures import BLACK, Colour, Drawing, cropped, photograph, resized
from reference.process import ChildError
from reference.scores import Metric, Result
from reference.tracks import Track

WORST = 8
_SIDE, _MARGIN, _INDENT, _LINE, _FONT, _CHIP = 480, 6, 30, 18, 12, 10


def drawers(track: Track) -> list[Callable[..., Drawing]]:
    """What draws the sheets of a track: its ranking, or answer and truth.

    Raises SubmissionError where the track draws no such thing.
    """
    room = track.room("pictures")
    names = ["ranked"] if track.room("metric").METRIC.joint else ["answer", "truth"]
    for name in names:
        if not hasattr(room, name):
            raise SubmissionError(
                f"{room.__name__} has no {name}()", "write it (docs/extending.md), or no --pictures"
            )
    return [getattr(room, name) for name in names]


def draw(dataset: Dataset, job: Job, summary: Summary, folder: Path) -> list[Path]:
    """Writes a PNG for each of the worst items into `folder`; the files, the worst first.

    The model runs again on those items; a ranking that is known is written out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    worst = summary.worst(WORST)
    metric: Metric = dataset.track.room("metric").METRIC
    if metric.joint:
        sheets = [_ranked(dataset, result, summary) for result in worst]
    else:
        with Worker(job) as worker:
            sheets = [_compared(dataset, worker, job, result, summary) for result in worst]
    written = []
    for number, (result, sheet) in enumerate(zip(worst, sheets, strict=True), 1):
        name = re.sub(r"[^\w.-]+", "-", result.item)[:80]
        written.append(folder / f"{number:02}-{name}.png")
        sheet.save(written[-1])
    return written


def _compared(
    dataset: Dataset, worker: Worker, job: Job, result: Result, summary: Summary
) -> Image.Image:
    """The picture as it was fed, the prediction and the truth, of an item that is scored alone."""
    answer_of, truth_of = drawers(dataset.track)
    items, image = dataset.of(job.part_name), job.part.image
    assert image is not None, "a model of pictures"
    index = next(index for index, item in enumerate(items) if item.id == result.item)
    item = items[index]
    title = f"{_title(result, summary)}{f': {item.text}' if item.text else ''}"
    try:
        prediction, truth = worker.predict(index), dataset.truth(item)
    except (SubmissionError, ChildError) as error:
        blank = np.zeros((_SIDE // 4, _SIDE, 3), np.uint8)
        return sheet_of(title, [(str(error), Drawing((blank,), ""))])
    fed, content = dataset.feeds(job.part, item)[str(image.name)], dataset.content(item)
    photo = photograph(fed, dataset.track.image_high, content, image.channels)
    inside = cropped(prediction, fed.shape[-2:], content)
    if isinstance(truth, np.ndarray):
        truth = cropped(truth, fed.shape[-2:], content)
    return sheet_of(
        title,
        [
            ("picture", Drawing((photo,), "")),
            ("prediction", answer_of(photo, inside)),
            ("truth", truth_of(photo, truth)),
        ],
    )


def _ranked(dataset: Dataset, result: Result, summary: Summary) -> Image.Image:
    """The picture and what was found for it, of an item that all parts score together."""
    items = {part.name: dataset.of(part.name) for part in dataset.track.parts}
    own = next(item for each in items.values() for item in each if item.id == result.item)
    assert own.image is not None, "a picture is ranked"
    (ranking_of,) = drawers(dataset.track)
    drawing = ranking_of(np.asarray(open_pillow(own.image)), items, result)
    return sheet_of(_title(result, summary), [("picture", drawing)])


def _title(result: Result, summary: Summary) -> str:
    column = summary.headline.column
    return f"{result.item}, {column} {result.numbers[column]:.4f}"


def sheet_of(title: str, drawings: Sequence[tuple[str, Drawing]]) -> Image.Image:
    """The pictures side by side, each between its caption and its key, all below the title, and the
    ranking of those that have one.
    """
    ranking = [rank for _, drawing in drawings for rank in drawing.ranking]
    drawings = [(caption, drawing) for caption, drawing in drawings if drawing.panels]
    tall, wide, _ = drawings[0][1].panels[0].shape
    size = _shrunk(wide, max(tall, wide)), _shrunk(tall, max(tall, wide))
    keys = [_key(drawing, size[0]) for _, drawing in drawings]
    top, beside = 2 * (_LINE + _MARGIN), _SIDE + _MARGIN if ranking else 0
    width = len(drawings) * (size[0] + _MARGIN) + _MARGIN + beside
    pictures = size[1] + _MARGIN + max(key.height for key in keys)
    height = top + max(pictures, len(ranking) * _LINE) + _MARGIN
    sheet = Image.new("RGB", (width, height), "white")
    _write(sheet, (_MARGIN, _MARGIN), title, width - 2 * _MARGIN)
    left = _MARGIN
    for (caption, drawing), key in zip(drawings, keys, strict=True):
        _write(sheet, (left, _LINE + _MARGIN), caption, size[0])
        sheet.paste(resized(drawing.panels[0], size), (left, top))
        sheet.paste(key, (left, top + size[1] + _MARGIN))
        left += size[0] + _MARGIN
    for line, rank in enumerate(ranking):
        at = top + line * _LINE
        _write(sheet, (left + _MARGIN, at), rank.place, _INDENT, rank.colour)
        _write(sheet, (left + _INDENT, at), rank.text, _SIDE - _INDENT, rank.colour)
    return sheet


def _key(drawing: Drawing, width: int) -> Image.Image:
    """What the colours of a drawing mean, in as many lines of `width` as it takes."""
    entries = [(Image.new("RGB", (_CHIP, _CHIP), colour), name) for colour, name in drawing.legend]
    if drawing.scale:
        scale = drawing.scale
        stops = np.array([[ImageColor.getrgb(colour) for colour in scale.colours]], np.uint8)
        bar = Image.fromarray(stops).resize((8 * _CHIP, _CHIP), Image.Resampling.BILINEAR)
        entries.insert(0, (bar, f"{scale.low} to {scale.high}, {scale.meaning}"))
    key = Image.new("RGB", (width, len(entries) * _LINE), "white")
    left, top = 0, 0
    for swatch, name in entries:
        start = swatch.width + _MARGIN
        entry = Image.new("RGB", (width, _LINE), "white")
        entry.paste(swatch, (0, (_LINE - _CHIP) // 2))
        length = start + _write(entry, (start, 0), name, width - start)
        if left and left + length > width:
            left, top = 0, top + _LINE
        key.paste(entry, (left, top))
        left += length + 2 * _MARGIN
    return key.crop((0, 0, width, top + _LINE if entries else 0))


def _shrunk(edge: int, longest: int) -> int:
    return max(1, round(_SIDE * edge / longest))


def _write(
    image: Image.Image, place: tuple[int, int], text: str, width: int, colour: Colour = BLACK
) -> int:
    """Writes a text on one line, cut to the width; how wide it is then."""
    pen = ImageDraw.Draw(image)
    shown = one_line(text).encode("latin-1", "replace").decode("latin-1")
    while shown and pen.textlength(shown, font_size=_FONT) > width:
        shown = shown[:-1]
    pen.text(place, shown, colour, font_size=_FONT)
    return round(pen.textlength(shown, font_size=_FONT))
