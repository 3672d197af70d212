"""The worst items as pictures: what was fed, what the model made of it, and the truth."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from conformance.scoring.datasets import Dataset
from conformance.scoring.job import Job
from conformance.scoring.summary import Summary
from conformance.scoring.worker import Worker
from reference.datasets.items import Item
from reference.errors import SubmissionError
from reference.images import open_pillow
from reference.process import ChildError
from reference.scores import Result

if TYPE_CHECKING:
    from reference.depth.dataset import Truth

WORST = 8
_SIDE = 480
_RED, _GREEN = (230, 60, 40), (40, 180, 90)
_MARGIN, _LINE = 6, 14

Pixels = np.ndarray
# Panels, with their captions, of a picture as it was fed.
Drawer = Callable[[Pixels, np.ndarray, Any], list[tuple[str, Pixels]]]


def draw(dataset: Dataset, job: Job, summary: Summary, folder: Path) -> list[Path]:
    """Writes a PNG for each of the worst items into `folder`; the files, the worst first.

    The model runs again on those items, for retrieval the ranking that is known is written out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    items = dataset.of(job.part_name)
    index = {item.id: number for number, item in enumerate(items)}
    worst = summary.worst(WORST)
    if dataset.track.name == "retrieval":
        texts = dataset.of("text")
        sheets = [_ranking(items[index[result.item]], texts, result) for result in worst]
    else:
        with Worker(job) as worker:
            sheets = [_compared(dataset, worker, items, index[r.item], r, summary) for r in worst]
    written = []
    for number, (result, sheet) in enumerate(zip(worst, sheets, strict=True), 1):
        name = re.sub(r"[^\w.-]+", "-", result.item)[:80]
        written.append(folder / f"{number:02}-{name}.png")
        sheet.save(written[-1])
    return written


def _compared(
    dataset: Dataset,
    worker: Worker,
    items: list[Item],
    index: int,
    result: Result,
    summary: Summary,
) -> Image.Image:
    item = items[index]
    column = summary.headline.column
    title = f"{item.id}  {column} {result.numbers[column]:.4f}  {item.text}"
    try:
        prediction, truth = worker.predict(index), dataset.truth(item)
    except (SubmissionError, ChildError) as error:
        return _sheet(title, [(str(error), np.zeros((_SIDE // 4, _SIDE, 3), np.uint8))])
    feeds = dataset.feeds(dataset.track.parts[0], item)
    fed = next(array for array in feeds.values() if array.ndim == 4)
    pixels = (fed[0].transpose(1, 2, 0) * (255 / dataset.track.image_high)).astype(np.uint8)
    panels = [("picture", pixels), *_DRAWERS[dataset.track.name](pixels, prediction, truth)]
    return _sheet(title, panels)


def _masks(pixels: Pixels, prediction: np.ndarray, truth: np.ndarray) -> list[tuple[str, Pixels]]:
    return [
        ("prediction", _tinted(pixels, prediction > 0.5, _RED)),
        ("truth", _tinted(pixels, truth > 0, _GREEN)),
    ]


def _depths(pixels: Pixels, prediction: np.ndarray, truth: "Truth") -> list[tuple[str, Pixels]]:
    depth = truth.depth.astype(np.float32)
    return [
        ("prediction", _grey(prediction[0, 0], np.ones(prediction.shape[2:], bool))),
        ("truth, black where confidence is 0", _grey(depth, truth.confidence > 0)),
    ]


def _class_maps(
    pixels: Pixels, prediction: np.ndarray, truth: np.ndarray
) -> list[tuple[str, Pixels]]:
    from reference.pidnet.upsample import labels

    classes = labels(np.ascontiguousarray(prediction[0], np.float32), *truth.shape)
    return [("prediction", _coloured(classes)), ("truth", _coloured(truth))]


_DRAWERS: dict[str, Drawer] = {"segmentation": _masks, "depth": _depths, "pidnet": _class_maps}


def _tinted(pixels: Pixels, mask: np.ndarray, colour: tuple[int, int, int]) -> Pixels:
    tinted = pixels // 2
    tinted[mask] += np.array(colour, np.uint8) // 2
    return tinted


def _grey(values: np.ndarray, there: np.ndarray) -> Pixels:
    """Near to far as dark to light, between the 2nd and 98th percentile of what is there."""
    known = values[there & np.isfinite(values)]
    low, high = np.percentile(known, [2, 98]) if known.size else (0.0, 1.0)
    level = np.clip((values - low) / max(float(high - low), 1e-9), 0, 1)
    grey = np.where(there, 40 + 215 * np.nan_to_num(level), 0).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def _coloured(classes: np.ndarray) -> Pixels:
    """A colour a class, the same in every picture; ignored pixels are black."""
    palette = np.random.default_rng(19).integers(60, 256, (256, 3)).astype(np.uint8)
    palette[255] = 0
    coloured: Pixels = palette[classes]
    return coloured


def _sheet(title: str, panels: list[tuple[str, Pixels]]) -> Image.Image:
    """The panels side by side, each below its caption and all below the title."""
    pictures = [ImageOps.contain(Image.fromarray(p), (_SIDE, _SIDE)) for _, p in panels]
    top = _MARGIN + 2 * (_LINE + _MARGIN)
    width = sum(picture.width + _MARGIN for picture in pictures) + _MARGIN
    height = max(picture.height for picture in pictures) + top + _MARGIN
    sheet = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN, _MARGIN), _plain(title, width), "black")
    left = _MARGIN
    for (caption, _), picture in zip(panels, pictures, strict=True):
        pen.text((left, 2 * _MARGIN + _LINE), _plain(caption, picture.width), "black")
        sheet.paste(picture, (left, top))
        left += picture.width + _MARGIN
    return sheet


def _ranking(item: Item, texts: list[Item], result: Result) -> Image.Image:
    """The picture beside its ten nearest texts, the truth's in green, then what is missed."""
    assert item.image is not None, "a picture is ranked"
    picture = open_pillow(item.image)
    picture.thumbnail((_SIDE, _SIDE))
    wanted = set(item.truth)
    top = [] if result.array is None else [texts[int(number)] for number in result.array]
    missed = [text for text in texts if text.group in wanted - {each.group for each in top}]
    lines = [
        (f"{rank:2}  {text.text}", _GREEN if text.group in wanted else _RED)
        for rank, text in enumerate(top, 1)
    ] + [(f" -  {text.text}", (90, 90, 90)) for text in missed]
    height = max(picture.height, (len(lines) + 1) * (_LINE + 2)) + 2 * _MARGIN + _LINE
    sheet = Image.new("RGB", (picture.width + _SIDE + 3 * _MARGIN, height), "white")
    pen = ImageDraw.Draw(sheet)
    title = f"{item.id}  recall {result.numbers['recall']:.4f}"
    pen.text((_MARGIN, _MARGIN), _plain(title, sheet.width), "black")
    sheet.paste(picture, (_MARGIN, 2 * _MARGIN + _LINE))
    for number, (text, colour) in enumerate(lines):
        place = (picture.width + 2 * _MARGIN, 2 * _MARGIN + _LINE + number * (_LINE + 2))
        pen.text(place, _plain(text, _SIDE), colour)
    return sheet


def _plain(text: str, width: int) -> str:
    """What the built-in font can show of it, cut to the width."""
    return text.encode("latin-1", "replace").decode("latin-1")[: width // 6]
