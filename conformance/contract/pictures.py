"""Answers to photographs as figures of a report, as the track's room `pictures` draws them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.contract.evidence import Run
from conformance.contract.look import misfits
from conformance.contract.probes import PHOTOS
from conformance.report.document import Figure
from conformance.report.figures import bars_of, figure_of
from reference.pictures import (
    MASK,
    NOT_A_NUMBER,
    Array,
    Drawing,
    Legend,
    Pixels,
    Where,
    cropped,
    painted,
    photograph,
    resized,
    told,
)
from reference.tracks import Track

_RARE = 0.01  # the share of the pixels below which each is drawn larger
_BROKEN = (MASK, (255, 220, 0))  # what breaks the contract, and what is above its range


def notes(track: Track) -> tuple[str, ...]:
    """What a reader must know of all pictures of the track."""
    note = getattr(_room(track), "NOTE", "")
    return (note,) if note else ()


def answer(track: Track, run: Run) -> Figure | None:
    """A photograph and the model's answer to it side by side; None where nothing draws that."""
    draw = getattr(_room(track), "answer", None)
    if draw is None:
        return None
    name, photo = run.probe.name, _photograph(track, run)
    drawing = draw(photo, _inside(run))
    text = PHOTOS[name][1] if run.part.text else ""
    alt = f"The photograph {name}{f' and the text {text!r}' if text else ''}"
    caption = f"{name}: {text!r}" if text else name
    figure = figure_of(caption, f"{alt}; beside it {drawing.alt}.", drawing, photo)
    chart = bars_of(caption, drawing) if drawing.ranking else None
    return replace(figure, chart=chart)


def broken(track: Track, run: Run, *, compiled: bool) -> Figure | None:
    """A photograph in grey and in colours the pixels whose values break the contract, with the
    slack of `compiled` models or without; None where none does, or where the answer is no map.
    """
    found = misfits(run, compiled=compiled)
    if not found or min(run.output.shape[-2:]) == 1 or run.part.image is None:
        return None
    photo, size = _photograph(track, run), _inside(run).shape[-2:]
    grey = np.asarray(resized(photo, (size[1], size[0])).convert("L").convert("RGB"))
    panel = grey // 2 + 64
    legend: Legend = ()
    for what, where in found.items():
        colour = NOT_A_NUMBER if what == "not finite" else _BROKEN[what.startswith("above")]
        inside = cropped(where, run.part.image.shape[-2:], run.probe.content)
        pixels = np.asarray(inside.reshape(-1, *size).any(axis=0), np.bool_)
        panel = painted(panel, _seen(pixels), colour)
        legend += told(pixels, what, colour)
    words = "; ".join(name for _, name in legend)
    alt = f"The input {run.probe.name}; beside it, in colours, the pixels of its answer: {words}."
    drawing = Drawing((panel,), words, legend=legend)
    return figure_of(f"{run.probe.name}: {words}", alt, drawing, photo)


def _seen(pixels: Where) -> Where:
    """Single pixels made so large that they do not vanish when the picture is made smaller."""
    import cv2

    edge = max(1, pixels.shape[1] // 32) if pixels.mean() < _RARE else 1
    larger: Where = cv2.dilate(pixels.astype(np.uint8), np.ones((edge, edge), np.uint8)) > 0
    return larger


def difference(track: Track, host: Run, other: Run, one: str, what: str) -> Figure | None:
    """The answer of `one`, that of `what`, and where they differ; None where nothing draws that."""
    draw = getattr(_room(track), "difference", None)
    if draw is None:
        return None
    name, drawing = host.probe.name, draw(_inside(host), _inside(other))
    start = f"Answers to the photograph {name}: that of {one}, that of {what}, and"
    return figure_of(f"{name}: {drawing.words}", f"{start} {drawing.alt}.", drawing)


def nearest(track: Track, run: Run, texts: Sequence[Run], most: int) -> Figure | None:
    """A photograph and so many of the texts, the nearest to it; None where nothing draws that."""
    draw = getattr(_room(track), "nearest", None)
    if draw is None:
        return None
    names = [text.probe.name for text in texts]
    gallery = np.stack([text.output.reshape(-1) for text in texts])
    name, photo = run.probe.name, _photograph(track, run)
    drawing = draw(photo, run.output, names, gallery, most)
    figure = figure_of(name, f"The photograph {name}.", drawing)
    return replace(figure, chart=bars_of(f"Texts nearest to {name}", drawing))


def _room(track: Track) -> Any:
    return track.room("pictures") if track.has("pictures") else None


def _photograph(track: Track, run: Run) -> Pixels:
    image = run.part.image
    assert image is not None, "a model of pictures"
    fed = run.probe.feeds()[str(image.name)]
    return photograph(fed, track.image_high, run.probe.content, image.channels)


def _inside(run: Run) -> Array:
    """The answer without the padding of a letterbox."""
    assert run.part.image is not None, "a model of pictures"
    return cropped(run.output, run.part.image.shape[-2:], run.probe.content)
