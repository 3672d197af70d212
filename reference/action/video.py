"""Frames of videos, in the order in which they are shown, decoded with OpenCV.

The official code decodes with PyAV: frames are the same ones, pixels may differ by a few levels
where colours are stored at a lower resolution. Neither turns a video that says it is rotated.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from reference.errors import SubmissionError

VIDEOS = {".avi", ".mkv", ".mov", ".mp4", ".webm"}
_REMEDY = "fetch it again, or save it as MP4 (H.264)"


class Timing(NamedTuple):
    """How many frames a video has, counted, how many its file says it shows in a second, by how
    many degrees it says that it is to be turned, and the shortest and the longest time from one
    frame to the next in milliseconds (0 of a single frame).
    """

    frames: int
    rate: float
    rotation: int
    gaps: tuple[float, float]


def timing(path: Path) -> Timing:
    """Of a video file. Raises SubmissionError for one that is missing, empty, or cannot be decoded
    to a single frame.
    """
    import cv2

    with _opened(path) as video:
        rate = float(video.get(cv2.CAP_PROP_FPS))
        rotation = round(video.get(cv2.CAP_PROP_ORIENTATION_META))
        shown = []
        while video.grab():
            shown.append(float(video.get(cv2.CAP_PROP_POS_MSEC)))
    frames, gaps = len(shown), np.diff(shown) if shown[1:] else [0.0]
    if frames == 0 or not 0 < rate < float("inf"):
        seen = "no frame" if frames == 0 else f"the frame rate {rate:g}"
        raise SubmissionError(f"the video {str(path)!r} has {seen}", _REMEDY)
    return Timing(frames, rate, rotation, (float(min(gaps)), float(max(gaps))))


def read_frames(path: Path, wanted: Sequence[int]) -> list[npt.NDArray[np.uint8]]:
    """RGB frames (height, width, 3) of the numbers `wanted`, which may be there more than once.

    Raises SubmissionError as `timing` does, and for a frame that is not there.
    """
    import cv2

    found: dict[int, Any] = {}
    with _opened(path) as video:
        for number in range(max(wanted) + 1):
            if not video.grab():
                break
            if number in wanted:
                decoded, pixels = video.retrieve()
                if decoded:
                    found[number] = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    if missing := set(wanted) - found.keys():
        problem = f"frame {min(missing)} of the video {str(path)!r} cannot be decoded"
        raise SubmissionError(problem, _REMEDY)
    return [found[number] for number in wanted]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not os.path.isfile(path):  # Path.is_file raises for names that no disk takes
        raise SubmissionError(f"there is no video file {str(path)!r}", "check the path")
    if path.stat().st_size == 0:
        raise SubmissionError(f"the video file {str(path)!r} is empty", "fetch or save it again")
    # What OpenCV and the decoder complain of is no line of ours.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    import cv2

    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    cv2.utils.logging.setLogLevel(level)
    try:
        if not video.isOpened():
            raise SubmissionError(f"{str(path)!r} is no video that can be decoded", _REMEDY)
        video.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
        yield video
    finally:
        video.release()
