"""Sample sets for tests: copies that can be damaged, sets of any length, models that misbehave."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from reference.data import fixture

MISBEHAVING = '''
import os
import torch

class Moody(torch.nn.Module):
    """Depth that is NaN, raises or ends the process by the level of a grey picture."""

    def forward(self, image):
        level = int(image[0, 0, 0, 0])
        if level == 40:
            raise ValueError("cannot see in the dark")
        if level == 80:
            os._exit(3)
        depth = image[:, :1] / 255
        return depth * float("nan") if level == 120 else depth + torch.linspace(0.1, 1, 640)

def build():
    return Moody()
'''


def copied(track: str, folder: Path) -> Path:
    """A sample set of its own."""
    return Path(shutil.copytree(fixture(f"samples/{track}"), folder / track))


def many_texts(folder: Path, texts: int, images: int = 1) -> Path:
    """A retrieval set of any length; every picture is the same file under another name."""
    source = fixture("samples/retrieval/images/coffee.jpg")
    (folder / "images").mkdir(parents=True)
    names = [f"picture-{number}.jpg" for number in range(images)]
    for name in names:
        shutil.copy(source, folder / "images" / name)
    ids = [";".join(str((n + i) % texts) for i in range(5)) for n in range(images)]
    table(folder / "img_list.csv", ["Image_names", "Text_nums"], zip(names, ids, strict=True))
    rows = ((number, f"text number {number}") for number in range(texts))
    table(folder / "txt_list.csv", ["Text_nums", "Unique_Texts"], rows)
    return folder


def grey_depth(folder: Path, levels: list[int]) -> Path:
    """A depth set with one grey picture a level, named after it."""
    for name in ("images", "raw", "conf"):
        (folder / name).mkdir(parents=True)
    for number, level in enumerate(levels):
        name = f"{number:03}-level-{level}.png"
        Image.new("RGB", (640, 480), (level,) * 3).save(folder / "images" / name)
        millimetres = np.tile(np.linspace(1000, 4000, 256).astype(np.uint16), (192, 1))
        Image.fromarray(millimetres).save(folder / "raw" / name)
        Image.fromarray(np.full((192, 256), 2, np.uint8)).save(folder / "conf" / name)
    return folder


def table(path: Path, heading: list[str], rows) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([heading, *rows])


def rewrite(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    """Writes one picture anew."""

    def damage(folder: Path) -> None:
        path = folder / name
        with Image.open(path) as picture:
            array = np.asarray(picture)
        Image.fromarray(change(array)).save(path)

    return damage


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def truncate(name: str, size: int = 2000) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def replace(name: str, old: str, new: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        text = (folder / name).read_text(encoding="utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1), encoding="utf-8")

    return damage


def single_texts(folder: Path) -> None:
    rows = [["coffee.jpg", 0], ["chelsea.jpg", 5], ["astronaut.jpg", 10], ["rocket.jpg", 15]]
    table(folder / "img_list.csv", ["Image_names", "Text_nums"], rows)


def swapped_columns(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        with (folder / name).open(encoding="utf-8", newline="") as file:
            heading, *rows = csv.reader(file)
        table(folder / name, heading[::-1], [row[::-1] for row in rows])

    return damage


def moved(name: str, target: str) -> Callable[[Path], None]:
    """Under another name; where the ending is another, in its format."""

    def damage(folder: Path) -> None:
        (folder / target).parent.mkdir(exist_ok=True)
        if Path(name).suffix == Path(target).suffix:
            (folder / name).rename(folder / target)
        else:
            with Image.open(folder / name) as picture:
                picture.save(folder / target)
            (folder / name).unlink()

    return damage


def both(*damages: Callable[[Path], None]) -> Callable[[Path], None]:
    return lambda folder: [damage(folder) for damage in damages] and None


def listed_order(*names: str) -> Callable[[Path], None]:
    """Rows of these pictures, five texts each."""

    def damage(folder: Path) -> None:
        ids = [";".join(map(str, range(5 * n, 5 * n + 5))) for n in range(len(names))]
        table(folder / "img_list.csv", ["Image_names", "Text_nums"], zip(names, ids, strict=True))

    return damage
