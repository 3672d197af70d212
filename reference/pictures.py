"""What is drawn of answers: pictures side by side with their words, and the colours of all tracks.

A track's room `pictures` has `answer(photo, output)` and `truth(photo, truth)`, each one picture,
and `difference(host, other)` of two answers; where answers are embeddings `nearest` and `ranked`.
Photographs are uint8 (H, W, 3); outputs come without the padding of a letterbox. `NOTE` says
what a reader must know of all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from reference.tracks import Shape

Array = npt.NDArray[Any]
Pixels = npt.NDArray[np.uint8]
Where = npt.NDArray[np.bool_]
Colour = tuple[int, int, int]
# Colours in CSS with their names.
Legend = tuple[tuple[str, str], ...]

# In no colour map, class or photograph in grey.
NOT_A_NUMBER: Colour = (0, 255, 255)
MASK: Colour = (230, 60, 20)
BLACK: Colour = (0, 0, 0)


@dataclass(frozen=True)
class Scale:
    """A colour bar: its colours in CSS from `low` to `high`, and what they stand for."""

    colours: tuple[str, ...]
    low: str
    high: str
    meaning: str


@dataclass(frozen=True)
class Rank:
    """A text and its place among those nearest to a picture; a `value` where it is known."""

    place: str
    text: str
    value: float | None = None
    colour: Colour = BLACK


@dataclass(frozen=True)
class Drawing:
    """Pictures (H, W, 3) side by side. `alt` says what they show, as the end of a sentence, and
    `words` the result alone; `ranking` stands beside them, its values in `unit`.
    """

    panels: tuple[Pixels, ...]
    alt: str
    words: str = ""
    legend: Legend = ()
    scale: Scale | None = None
    ranking: tuple[Rank, ...] = ()
    unit: str = ""


def css(colour: Sequence[int]) -> str:
    """`#804080`."""
    return "#" + "".join(f"{int(c):02x}" for c in colour)


def coloured(values: Array, low: float, high: float, name: str) -> Pixels:
    """A map of numbers (H, W) as RGB (H, W, 3), `low` to `high` in OpenCV's colour map `name`.

    What is not finite has the colour NOT_A_NUMBER.
    """
    table = _table(name)
    span = high - low or 1.0
    numbers = np.asarray(values, np.float64)
    finite = np.isfinite(numbers)
    index = np.clip((np.where(finite, numbers, low) - low) / span, 0, 1) * 255
    return painted(table[index.astype(np.uint8)], ~finite)


def stops(name: str, count: int = 9) -> tuple[str, ...]:
    """Colours of a colour map in CSS, evenly spaced from its low end to its high one."""
    table = _table(name)
    return tuple(css(table[i]) for i in np.linspace(0, 255, count).round().astype(int))


def moved(one: Pixels, two: Pixels, where: Where, odd: Where, what: str) -> Drawing:
    """Two answers, and in red over the first one, darker, the pixels that have moved.

    `what` says what those have done; those of `odd` are no numbers and count for themselves.
    """
    share = f"{where.mean():.3%} of the pixels {what}"
    return Drawing(
        (one, two, painted(overlay(one // 2, where), odd)),
        listed(f"{share}, in red", told(odd)),
        listed(share, told(odd)),
        ((css(MASK), share), *told(odd)),
    )


def value_range(values: Array) -> tuple[float, float]:
    """The least and the largest finite value, 0 and 0 where there is none."""
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def overlay(photo: Pixels, mask: Where) -> Pixels:
    """`photo` in grey with the mask in red over it."""
    grey = photo.mean(axis=2, keepdims=True) * 0.85 + 20
    tint = np.where(mask[..., None], 0.4 * grey + 0.6 * np.array(MASK), grey)
    return np.broadcast_to(tint, photo.shape).clip(0, 255).astype(np.uint8)


def painted(pixels: Pixels, where: Where, colour: Colour = NOT_A_NUMBER) -> Pixels:
    """`pixels` with those of `where` in one colour."""
    return np.where(where[..., None], np.array(colour, np.uint8), pixels)


def told(where: Where, name: str = "not a number", colour: Colour = NOT_A_NUMBER) -> Legend:
    """What has that colour and its share of the picture; nothing where there is none of it."""
    return ((css(colour), f"{name}, {100 * where.mean():.3g}%"),) if where.any() else ()


def odd(values: Array) -> Legend:
    """The share of a picture that is not finite, by its name and in its colour."""
    infinite = np.isinf(values).any()
    return told(~np.isfinite(values), "not finite" if infinite else "not a number")


def listed(words: str, legend: Legend) -> str:
    """`words` and the names of `legend` in one text."""
    return "; ".join([words, *(name for _, name in legend)])


def cropped(output: Array, canvas: Shape, content: tuple[int, int] | None) -> Array:
    """`output` without the padding of a letterbox, where its last two axes are the canvas's.

    `content` is the height and width in pixels that the picture takes of the canvas.
    """
    if content is None or output.shape[-2:] != canvas:
        return output
    height, width = content
    return output[..., :height, :width]


def photograph(
    fed: Array, high: float, content: tuple[int, int] | None = None, channels: int = 1
) -> Pixels:
    """The picture of an input (1, 3, H, W) whose largest value is `high`, without padding.

    `channels` is the axis of R, G and B. Of a clip, its first and last frame and two between them,
    row by row.
    """
    inside = np.moveaxis(cropped(fed, fed.shape[-2:], content), channels, -1)[0]
    if inside.ndim == 4:
        chosen = inside[np.linspace(0, len(inside) - 1, 4).astype(int)]
        inside = np.concatenate(
            [np.concatenate([*row], axis=1) for row in (chosen[:2], chosen[2:])]
        )
    return np.asarray((inside * (255 / high)).clip(0, 255), np.uint8)


def resized(panel: Pixels, size: tuple[int, int]) -> Image.Image:
    """A picture of (width, height) `size`; pixels of a smaller one stay what they are."""
    image = Image.fromarray(np.ascontiguousarray(panel))
    larger = size[0] > image.width
    return image.resize(size, Image.Resampling.NEAREST if larger else Image.Resampling.BOX)


def _table(name: str) -> Pixels:
    import cv2

    ramp = np.arange(256, dtype=np.uint8).reshape(-1, 1)
    table: Pixels = cv2.applyColorMap(ramp, getattr(cv2, f"COLORMAP_{name.upper()}"))
    return table[:, 0, ::-1]
