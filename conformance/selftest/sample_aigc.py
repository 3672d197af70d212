"""The sample set of AI-generated images: crops of photographs, drawings, and answers to both."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from reference.aigc.answer import CRITERIA, GENERATED, SCORE
from reference.data import fixture

SIZE = (96, 64)
REAL = {"astronaut": ("astronaut.png", 200, 40), "coffee": ("coffee.png", 200, 60),
        "rocket": ("rocket.jpg", 270, 120)}  # fmt: skip
# By drawing, what gives it away: the criterion by its number, its score as annotated, and why.
FAKE: dict[str, dict[int, tuple[int, str]]] = {
    "clock": {
        5: (2, "The dial has five marks, none of which is a figure."),
        2: (1, "The face is one colour without any grain."),
    },
    "hand": {6: (2, "Six fingers of one length grow out of a circle.")},
    "sign": {5: (1, "The letters are strokes that spell nothing.")},
}
NOTHING = "Nothing unusual."


def aigc(folder: Path) -> None:
    """`Real/`, `Fake/`, annotation.json, and answers of every kind in `answers/`."""
    for name, (photo, left, top) in REAL.items():
        box = (left, top, left + SIZE[0], top + SIZE[1])
        _save(Image.open(fixture("photos") / photo).convert("RGB").crop(box), folder / "Real", name)
    for name in FAKE:
        _save(_drawing(name), folder / "Fake", name)
    _write(folder / "annotation.json", {name: _annotation(name) for name in FAKE})
    answers = folder / "answers"
    _write(answers / "Real/astronaut.json", _answer("Real"))
    _write(answers / "Real/coffee.json", _answer(GENERATED, {3: "The saucer seems to float."}))
    _write(answers / "Real/rocket.json", _answer("Uncertain", {0: "The shadow is faint."}))
    clock = {5: "The marks are no figures.", 6: "A finger is missing."}
    _write(answers / "Fake/clock.json", _answer(GENERATED, clock))
    _write(answers / "Fake/hand.json", _answer("Real", key="score"))
    (answers / "Fake/sign.txt").write_text("```json\n{}\n```\n", encoding="utf-8")


def _save(picture: Image.Image, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    picture.save(folder / f"{name}.png", optimize=True)


def _drawing(name: str) -> Image.Image:
    ramp = np.linspace(60, 200, SIZE[0], dtype=np.uint8)
    picture = Image.fromarray(np.tile(ramp[None, :, None], (SIZE[1], 1, 3)))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((28, 12, 68, 52), fill=(230, 210, 190))
    for index in range(6 if name == "hand" else 5):
        x = 30 + 7 * index
        top = 2 if name == "hand" else 20 if name == "sign" else 26
        draw.rectangle((x, top, x + 3, top + 22), fill=(40, 30 + 20 * index, 90))
    return picture


def _annotation(name: str) -> dict[str, Any]:
    found = FAKE[name]
    entries = [
        {"criterion": criterion, "score": score, "evidence": why}
        for index, criterion in enumerate(CRITERIA)
        for score, why in [found.get(index, (0, NOTHING))]
    ]
    return {"overall_likelihood": GENERATED, "per_criterion": entries}


def _answer(likelihood: str, found: dict[int, str] | None = None, key: str = SCORE) -> Any:
    why = found or {}
    entries = [
        {"criterion": name, "evidence": why.get(index, NOTHING), key: int(index in why)}
        for index, name in enumerate(CRITERIA)
    ]
    return {"overall_likelihood": likelihood, "per_criterion": entries}


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
