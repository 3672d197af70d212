"""Sample sets for tests: copies that can be damaged, sets of any length, models that misbehave."""

import csv
import shutil
from pathlib import Path

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
    import numpy as np
    from PIL import Image

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
