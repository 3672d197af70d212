"""What the action track feeds a model: 16 frames of 112x112 pixels.

Source: 26LPCVC_Track2_Sample_Solution, video_processing.py and its torchvision/datasets/
video_utils.py, which is torchvision's `VideoClips` with a rate of its own for short videos.
"""

import math
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from reference.action.contract import FRAMES, SIZE
from reference.action.video import VIDEOS, read_frames, timing
from reference.arrays import read_npy
from reference.errors import SubmissionError
from reference.images import Source, open_pillow

RATE = 4  # frames a second
HEIGHT, WIDTH = 128, 171
TENSORS = {".npy"}
# Files that `prepare_image` takes beside pictures.
ENDINGS = {*VIDEOS, *TENSORS}
# How far a photograph is moved through the window, as a share of its edges.
_PAN = 0.2

Clip = npt.NDArray[np.float32]


def prepare_image(source: Source) -> Clip:
    """`video`: float32 (1, 16, 112, 112, 3), RGB in [0, 1], no mean or standard deviation.

    A video is prepared as `prepare_clip` does it, and a `.npy` file is the (1, 3, 16, 112, 112)
    that the sample solution writes. A photograph becomes a slow pan across it, the same every time:
    the window moves from its upper left to its lower right corner. Raises SubmissionError for what
    cannot be opened or is of another shape.
    """
    if isinstance(source, str | os.PathLike):
        ending = Path(source).suffix.lower()
        if ending in VIDEOS:
            return prepare_clip(Path(source))
        if ending in TENSORS:
            return _saved(Path(source))
    photo = np.asarray(open_pillow(source))
    edges = np.array(photo.shape[:2])
    window = np.maximum(np.round(edges * (1 - _PAN)), 1).astype(int)
    places = [np.round((edges - window) * k / (FRAMES - 1)).astype(int) for k in range(FRAMES)]
    return _shaped([photo[top : top + window[0], left : left + window[1]] for top, left in places])


def prepare_clip(path: Path) -> Clip:
    """`video` of a video file: the first 16 frames at 4 a second, as the official code takes them.

    Raises SubmissionError for a file that cannot be decoded, or without frames.
    """
    return _shaped(read_frames(path, frame_indices(*timing(path)[:2])))


def frame_indices(count: int, rate: float) -> list[int]:
    """Which of `count` frames at `rate` a second are fed.

    4 a second from the first one on. A video that has fewer than 16 at that rate is read as many
    times faster as a whole number of frames a second allows, and shows frames more than once where
    it has fewer than 16 at all. The k-th frame is floor(k * step) in float32.
    """
    wanted = float(RATE)
    if count * wanted / rate < FRAMES:
        wanted = math.ceil(FRAMES / (count / rate))
    step = np.float32(rate / wanted)
    return [int(k) for k in np.floor(np.arange(FRAMES, dtype=np.float32) * step)]


def _saved(path: Path) -> Clip:
    try:
        clip = read_npy(path)
    except (OSError, ValueError) as error:
        raise SubmissionError(f"{path} is no array: {error}", "write it again") from None
    wanted = (1, 3, FRAMES, SIZE, SIZE)
    if clip.shape != wanted or clip.dtype != np.float32:
        raise SubmissionError(
            f"{path} is {clip.dtype} {clip.shape}, not float32 {wanted}",
            "write it with preprocess_and_save.py, CLIP_LEN = 16",
        )
    return np.ascontiguousarray(clip.transpose(0, 2, 3, 4, 1))


def _shaped(frames: list[npt.NDArray[np.uint8]]) -> Clip:
    """Frames (H, W, 3) in [0, 1], resized without antialias, and their middle."""
    import cv2

    top, left = round((HEIGHT - SIZE) / 2), round((WIDTH - SIZE) / 2)  # halves to the even number
    clip = np.empty((1, FRAMES, SIZE, SIZE, 3), np.float32)
    for k, frame in enumerate(frames):
        pixels = np.asarray(frame, np.float32) / np.float32(255)
        whole = cv2.resize(pixels, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
        clip[0, k] = whole[top : top + SIZE, left : left + SIZE]
    return clip
