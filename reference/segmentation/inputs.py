"""What the segmentation track feeds a model: a 1024x1024 canvas and a tokenised prompt.

Two documents, two preparations: the organisers' fixed pipeline (OpenCV) feeds every submission,
and the rules page (Pillow, torchvision) says what to expect. They differ in size, by 24 pixels for
a square picture and by one for 500x333 (E3), and in many values of any photograph (E4).
"""

from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from reference.errors import SubmissionError
from reference.images import Pixels, Source, open_opencv, open_pillow, to_tensor
from reference.tokenizer import tokenize

Mode = Literal["organisers", "page"]

CANVAS = 1024
_PAGE_SHORT = 1000


def prepare_image(source: Source, mode: Mode = "organisers") -> npt.NDArray[np.float32]:
    """`image_input`: float32 (1, 3, 1024, 1024), RGB 0..255, zeros right of and below the picture.

    `organisers` opens and resizes with OpenCV (bilinear, not antialiased; 25LPCVC Track 2 sample
    solution, prepare_data); `page` opens and resizes with Pillow (bilinear, antialiased; rules
    page, section 4.5). Raises SubmissionError for a picture that cannot be opened (see
    `reference.images`) or is too thin to be resized.
    """
    content = to_tensor(_resize(source, mode))
    canvas = np.zeros((1, 3, CANVAS, CANVAS), np.float32)
    canvas[:, :, : content.shape[2], : content.shape[3]] = content
    return canvas


def letterbox(source_size: tuple[int, int], mode: Mode = "organisers") -> tuple[int, int]:
    """(height, width) in the canvas of a picture of (height, width) `source_size`, all in pixels.

    Raises SubmissionError where the short edge comes to 0 pixels: the official code of either
    mode crashes there.
    """
    height, width = source_size
    short, long = min(source_size), max(source_size)
    if short < 1:
        raise SubmissionError(f"a {width}x{height} picture has no pixels", "use one that has")
    match mode:
        case "organisers":
            new_short, new_long = int(short / long * CANVAS), CANVAS
        case "page":
            new_short, new_long = _resized_edges(short, long)
        case _:
            raise SubmissionError(f"unknown mode {mode!r}", "use 'organisers' or 'page'")
    if new_short == 0:
        raise SubmissionError(
            f"a {width}x{height} picture is too thin: resized to a long edge of {CANVAS} its short "
            "edge is 0 pixels, and the official pipeline crashes",
            "crop it to an aspect ratio of 1000 at most",
        )
    return (new_long, new_short) if height > width else (new_short, new_long)


def prepare_text(text: str) -> npt.NDArray[np.int32]:
    """`text_input`: int32 (2, 1, 77), the token ids above the attention mask.

    A prompt that does not end with a full stop gets one, as in the organisers' pipeline. Raises
    SubmissionError for what is not text.
    """
    if isinstance(text, str) and not text.endswith("."):
        text += "."
    tokens = tokenize(text)
    return np.stack((tokens.ids, tokens.mask))[:, np.newaxis]


def _resized_edges(short: int, long: int) -> tuple[int, int]:
    """The edges that torchvision's Resize(1000, max_size=1024) gives, longest not always 1024."""
    new_long = int(_PAGE_SHORT * long / short)
    if new_long <= CANVAS:
        return _PAGE_SHORT, new_long
    return int(CANVAS * _PAGE_SHORT / new_long), CANVAS


def _resize(source: Source, mode: Mode) -> Image.Image | Pixels:
    if mode == "page":
        picture = open_pillow(source)
        height, width = letterbox((picture.height, picture.width), mode)
        return picture.resize((width, height), Image.Resampling.BILINEAR)

    import cv2

    pixels = open_opencv(source)
    height, width = letterbox((pixels.shape[0], pixels.shape[1]), mode)
    resized: Pixels = cv2.resize(pixels, (width, height))
    return resized
