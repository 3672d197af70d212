"""Opening pictures, shared by the tracks: as Pillow does it and as OpenCV does it.

The documents' code opens with Pillow, which leaves the EXIF orientation of a JPEG alone; the
organisers' segmentation pipeline opens with OpenCV, which turns the picture upright. Both drop an
alpha channel and make RGB of grey, palette and CMYK pictures.
"""

import io
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from reference.errors import SubmissionError

Pixels = npt.NDArray[np.uint8]
Source = str | os.PathLike[str] | Image.Image | Pixels


def open_pillow(source: Source) -> Image.Image:
    """The picture as an RGB PIL image, the way `Image.open(path).convert("RGB")` gives it.

    `source` is a path, a PIL image or a uint8 RGB array of shape (height, width, 3). Raises
    SubmissionError for a file that is missing, empty, damaged or no image, and for a picture
    without pixels or an array of another type or shape.
    """
    if isinstance(source, np.ndarray):
        return Image.fromarray(_check_array(source))
    if isinstance(source, Image.Image):
        return _to_rgb(source, "the PIL image")
    if isinstance(source, str | os.PathLike):
        return _decode(_read(source), _name(source))
    raise SubmissionError(
        f"a picture cannot be a {type(source).__name__}",
        "pass a path, a PIL image or a uint8 RGB array",
    )


def open_opencv(source: Source) -> Pixels:
    """The picture as uint8 RGB (height, width, 3), the way `cv2.imread` and BGR2RGB give it.

    A PIL image or an array holds pixels already and is used as RGB: no file is decoded and no
    orientation applied. Raises SubmissionError as `open_pillow` does, and for a format that
    Pillow knows and OpenCV does not.
    """
    if not isinstance(source, str | os.PathLike):
        return np.array(open_pillow(source))
    data = _read(source)
    # Some versions of OpenCV fill what is missing of a truncated file with grey; Pillow objects.
    _decode(data, _name(source))

    import cv2

    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        bgr = None
    if bgr is None:
        raise SubmissionError(
            f"OpenCV, which the organisers open pictures with, cannot decode {_name(source)}",
            "save it as PNG or JPEG",
        )
    rgb: Pixels = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    return rgb


def to_tensor(picture: Image.Image | Pixels) -> npt.NDArray[np.float32]:
    """An RGB picture as a contiguous float32 tensor (1, 3, height, width), values 0..255."""
    return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1)[np.newaxis], np.float32)


def _name(path: str | os.PathLike[str]) -> str:
    return repr(os.fspath(path))


def _read(path: str | os.PathLike[str]) -> bytes:
    if not os.path.isfile(path):  # Path.is_file raises for names that no disk takes
        raise SubmissionError(f"there is no picture file {_name(path)}", "check the path")
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise SubmissionError(
            f"cannot read {_name(path)}: {error.strerror}", "check its permissions"
        ) from None
    if not data:
        raise SubmissionError(f"the picture file {_name(path)} is empty", "fetch or save it again")
    return data


def _decode(data: bytes, name: str) -> Image.Image:
    try:
        picture = Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        raise SubmissionError(f"{name} is not an image", "give a PNG or JPEG file") from None
    except Exception as error:
        raise _damaged(name, error) from None
    with picture:
        return _to_rgb(picture, name)


def _to_rgb(picture: Image.Image, name: str) -> Image.Image:
    if 0 in picture.size:
        raise SubmissionError(f"{name} has no pixels: {picture.size}", "give a picture that has")
    try:
        return picture.convert("RGB")
    except Exception as error:
        raise _damaged(name, error) from None


def _damaged(name: str, error: Exception) -> SubmissionError:
    # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and more.
    return SubmissionError(f"{name} is damaged or truncated: {error}", "fetch or save it again")


def _check_array(pixels: npt.NDArray[np.uint8]) -> Pixels:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise SubmissionError(
            f"a picture cannot be an array of {pixels.dtype} {pixels.shape}",
            "pass uint8 RGB of shape (height, width, 3), with pixels",
        )
    return pixels
