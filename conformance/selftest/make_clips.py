"""Clips of a drawn figure for `fixtures/samples/action`, each an exercise of the action track."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from reference.action.contract import CLASSES, FRAMES

Point = tuple[float, float]
Pose = dict[str, tuple[Point, ...]]

SIZE = (160, 120)
SKY, FLOOR, FIGURE = (222, 232, 240), (168, 140, 110), (40, 60, 120)


def write_video(path: Path, frames: list[np.ndarray], rate: float) -> None:
    """RGB frames (height, width, 3) as MPEG-4."""
    import cv2

    height, width, _ = frames[0].shape
    path.parent.mkdir(parents=True, exist_ok=True)
    coder = cv2.VideoWriter_fourcc(*"mp4v")
    video = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, coder, rate, (width, height))
    for frame in frames:
        video.write(np.ascontiguousarray(frame[..., ::-1]))
    video.release()


def jumping_jacks(t: float) -> Pose:
    """Arms and legs open and close, two times a second and a half."""
    open_, x, y = (1 - math.cos(2 * math.pi * t * 4 / 3)) / 2, 80.0, 62.0
    hand, foot = 1.9 * open_ + 0.4, 0.55 * open_ + 0.08
    arms = tuple((x + s * 26 * math.sin(hand), y - 14 + 26 * math.cos(hand)) for s in (-1, 1))
    legs = tuple((x + s * 36 * math.sin(foot), y + 12 + 34 * math.cos(foot)) for s in (-1, 1))
    return _standing(x, y - 6 * open_, arms, legs)


def squats(t: float) -> Pose:
    """Down and up in two seconds."""
    depth = 20 * (1 - math.cos(math.pi * t)) / 2
    x, y = 80 - depth / 3, 62 + depth
    return _standing(x, y, ((x + 30, y - 12), (x + 28, y - 10)), ((88.0, 108.0), (72.0, 108.0)))


def cross(t: float) -> Pose:
    """Punches to the right, twice a second."""
    reach = 12 + 22 * max(0.0, math.sin(4 * math.pi * t))
    return _standing(72.0, 62.0, ((74 + reach, 46.0), (88.0, 48.0)), ((60.0, 108.0), (90.0, 108.0)))


def stretch(t: float) -> Pose:
    """Sits, and bends to the feet and back in three seconds."""
    lean = 0.9 * (1 - math.cos(2 * math.pi * t / 3)) / 2
    hip = (60.0, 100.0)
    neck = (hip[0] + 34 * math.sin(lean), hip[1] - 34 * math.cos(lean))
    head = (neck[0] + 10 * math.sin(lean), neck[1] - 10 * math.cos(lean))
    hands = (min(neck[0] + 30, 108.0), neck[1] + 24 * lean + 4)
    return {
        "head": (head,),
        "body": (neck, hip),
        "arm": (neck, hands),
        "leg": (hip, (108.0, 104.0)),
        "bent": (hip, (78.0, 94.0), (66.0, 106.0)),
    }


def _standing(x: float, y: float, hands: tuple[Point, ...], feet: tuple[Point, ...]) -> Pose:
    neck, hip = (x, y - 20), (x, y + 12)
    limbs = {f"arm {n}": (neck, hand) for n, hand in enumerate(hands)}
    limbs |= {f"leg {n}": (hip, foot) for n, foot in enumerate(feet)}
    return {"head": ((x, y - 30),), "body": (neck, hip), **limbs}


# Frames, and frames a second. Every second frame is fed of the first; steps are 2.5 of the next
# and 1.5 of the third, which is so short that it has a rate of its own; of the last all are fed.
CLIPS: dict[str, tuple[Callable[[float], Pose], int, float]] = {
    "cross-legged_hamstring_stretch/00000003": (stretch, 34, 8.0),
    "cross/00000001": (cross, 44, 10.0),
    "jumping_jacks/00000002": (jumping_jacks, 24, 12.0),
    "squats/00000004": (squats, 18, 4.0),
}


def drawn(pose: Pose) -> np.ndarray:
    """The figure in its room, uint8 (120, 160, 3)."""
    image = Image.new("RGB", SIZE, SKY)
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 104, *SIZE), FLOOR)
    for limb in pose.values():
        if len(limb) > 1:
            pen.line(limb, FIGURE, 5)
        else:
            ((x, y),) = limb
            pen.ellipse((x - 9, y - 9, x + 9, y + 9), FIGURE)
    return np.asarray(image)


def action(folder: Path) -> None:
    """Videos in folders of their classes, with the manifest of the sample solution."""
    rows = []
    for key, (pose, count, rate) in CLIPS.items():
        frames = [drawn(pose(number / rate)) for number in range(count)]
        write_video(folder / f"{key}.mp4", frames, rate)
        rows.append(
            {
                "video_path": f"videos/{key}.mp4",
                "label": key.partition("/")[0],
                "tensor_path": f"tensors/{key}.npy",
                "shape": [1, 3, FRAMES, 112, 112],
                "dtype": "torch.float32",
            }
        )
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "manifest.jsonl").write_text(lines, encoding="utf-8")
    numbers = json.dumps({name: number for number, name in enumerate(CLASSES)}, indent=2)
    (folder / "class_map.json").write_text(numbers + "\n", encoding="utf-8")
