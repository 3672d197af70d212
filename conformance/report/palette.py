"""Colours: of the page in both themes, of the badge, of depth and differences, of Cityscapes."""

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

# Name: in the light theme and in the dark one. Contrast to WCAG AA is a test.
THEME = {
    "page": ("#f6f7f9", "#14171c"),
    "card": ("#ffffff", "#1c2128"),
    "ink": ("#1b1f24", "#e8ebef"),
    "soft": ("#545d68", "#a3adb8"),
    "line": ("#d5dae0", "#363d47"),
    "link": ("#0b5cad", "#7db8f7"),
    "pass": ("#17683a", "#6fd396"),
    "pass-tint": ("#e2f4e8", "#16301f"),
    "fail": ("#b3141e", "#ff9a96"),
    "fail-tint": ("#fde8e8", "#3d1a1c"),
    "warn": ("#7a4d00", "#f0c060"),
    "warn-tint": ("#fcf0d6", "#362a10"),
    "skip": ("#545d68", "#a3adb8"),
    "skip-tint": ("#eceff2", "#262c34"),
}

# Behind white text.
BADGE = {"passing": "#17683a", "failing": "#b3141e", "warnings": "#7a4d00", "incomplete": "#545d68"}

# Cityscapes' 19 classes of training with its colours: cityscapesScripts, helpers/labels.py.
CITYSCAPES = (
    ("road", (128, 64, 128)),
    ("sidewalk", (244, 35, 232)),
    ("building", (70, 70, 70)),
    ("wall", (102, 102, 156)),
    ("fence", (190, 153, 153)),
    ("pole", (153, 153, 153)),
    ("traffic light", (250, 170, 30)),
    ("traffic sign", (220, 220, 0)),
    ("vegetation", (107, 142, 35)),
    ("terrain", (152, 251, 152)),
    ("sky", (70, 130, 180)),
    ("person", (220, 20, 60)),
    ("rider", (255, 0, 0)),
    ("car", (0, 0, 142)),
    ("truck", (0, 0, 70)),
    ("bus", (0, 60, 100)),
    ("train", (0, 80, 100)),
    ("motorcycle", (0, 0, 230)),
    ("bicycle", (119, 11, 32)),
)


def css(colour: tuple[int, ...]) -> str:
    """`#804080`."""
    return "#" + "".join(f"{int(c):02x}" for c in colour)


def coloured(values: npt.NDArray[np.generic], low: float, high: float, name: str) -> Pixels:
    """A map of numbers (H, W) as RGB (H, W, 3), `low` to `high` in OpenCV's colour map `name`.

    What is not finite is magenta.
    """
    table = _table(name)
    span = high - low or 1.0
    numbers = np.asarray(values, np.float64)
    finite = np.isfinite(numbers)
    index = np.clip((np.where(finite, numbers, low) - low) / span, 0, 1) * 255
    pixels = table[index.astype(np.uint8)]
    pixels[~finite] = (255, 0, 255)
    return pixels


def stops(name: str, count: int = 9) -> tuple[str, ...]:
    """Colours of a colour map in CSS, evenly spaced from its low end to its high one."""
    table = _table(name)
    return tuple(css(tuple(table[i])) for i in np.linspace(0, 255, count).round().astype(int))


def _table(name: str) -> Pixels:
    import cv2

    ramp = np.arange(256, dtype=np.uint8).reshape(-1, 1)
    table: Pixels = cv2.applyColorMap(ramp, getattr(cv2, f"COLORMAP_{name.upper()}"))
    return table[:, 0, ::-1]
