"""Makes `fixtures/samples/`: `python -m conformance.selftest.make_samples`, the same every time."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from conformance.selftest.make_clips import action
from conformance.selftest.sample_aigc import aigc
from reference.data import fixture

Points = list[tuple[float, float]]

# Outlines drawn by hand on the photographs of fixtures/photos, in their pixels.
OUTLINES: dict[str, dict[str, Points]] = {
    "coffee": {
        "cup": [
            *[(173, 113), (180, 80), (205, 45), (250, 24), (290, 18), (330, 22), (372, 43)],
            *[(400, 80), (408, 113), (405, 150), (390, 185), (360, 240), (345, 265), (315, 280)],
            *[(280, 284), (258, 275), (250, 295), (225, 308), (200, 300), (196, 280), (205, 255)],
            *[(222, 235), (205, 225), (185, 190), (174, 150)],
        ],
        "spoon": [
            *[(400, 68), (422, 70), (424, 85), (410, 120), (395, 180), (380, 235), (398, 250)],
            *[(406, 275), (400, 300), (380, 322), (355, 326), (333, 312), (326, 288), (332, 262)],
            *[(350, 248), (368, 238), (385, 185), (400, 130), (408, 100)],
        ],
    },
    "chelsea": {
        "cat": [
            *[(38, 0), (33, 60), (40, 110), (15, 140), (0, 150), (0, 300), (300, 300), (320, 275)],
            *[(310, 240), (345, 200), (362, 150), (365, 110), (355, 70), (375, 45), (400, 0)],
        ],
        "nose": [(236, 232), (255, 228), (292, 233), (280, 250), (262, 262), (248, 250)],
    },
    "astronaut": {
        "woman": [
            *[(154, 60), (170, 30), (205, 16), (255, 20), (290, 45), (300, 90), (285, 125)],
            *[(262, 150), (258, 178), (300, 215), (303, 240), (340, 260), (358, 300), (360, 350)],
            *[(330, 365), (295, 400), (278, 440), (280, 512), (22, 512), (22, 420), (45, 300)],
            *[(70, 250), (115, 215), (120, 185), (150, 155), (185, 150), (175, 120), (158, 100)],
        ],
        "helmet": [
            *[(280, 440), (295, 400), (330, 365), (380, 345), (430, 348), (470, 375), (492, 415)],
            *[(497, 460), (512, 490), (512, 512), (280, 512)],
        ],
        "shuttle": [
            *[(398, 20), (412, 0), (430, 0), (440, 50), (452, 60), (455, 200), (458, 265)],
            *[(440, 275), (370, 272), (356, 210), (380, 180), (382, 70)],
        ],
    },
    "rocket": {
        "rocket": [
            *[(321, 127), (332, 145), (335, 178), (333, 360), (330, 405), (313, 405), (309, 360)],
            (310, 150),
        ],
        "left tower": [(48, 0), (88, 0), (82, 330), (68, 427), (0, 427), (0, 360), (20, 230)],
        "right tower": [
            *[(560, 0), (598, 0), (625, 160), (640, 230), (640, 427), (580, 427), (570, 200)]
        ],
    },
}

FAR_TOWERS: tuple[Points, ...] = (
    [(197, 124), (204, 124), (205, 225), (200, 375), (168, 375), (188, 225)],
    [(443, 124), (450, 124), (459, 225), (478, 400), (437, 400), (441, 225)],
)

PROMPTS: dict[str, tuple[str, ...]] = {
    "cup": ("cup", "the red coffee cup", "a small cup of espresso on a saucer"),
    "spoon": ("spoon", "the metal spoon beside the cup"),
    "cat": ("cat", "a tabby cat looking to the right"),
    "nose": ("nose", "the pink nose of the cat"),
    "woman": ("person", "the woman in the orange suit", "an astronaut smiling at the camera"),
    "helmet": ("helmet", "the black visor of the helmet she holds"),
    "shuttle": ("space shuttle", "the model of a shuttle behind her"),
    "rocket": ("rocket", "the white rocket in the middle", "a launch vehicle ready to start"),
    "left tower": ("tower", "the steel tower on the left"),
    "right tower": ("the steel tower on the right",),
}

CAPTIONS: dict[str, tuple[str, ...]] = {
    "coffee": (
        "a cup of espresso on a wooden table",
        "a red saucer with a spoon and a coffee cup",
        "coffee with brown foam in a white-rimmed cup",
        "a hot drink seen from above",
        "a teaspoon lies beside a cup",
    ),
    "chelsea": (
        "a tabby cat with green eyes",
        "the face of a cat from near by",
        "a pet with long white whiskers",
        "a striped animal looks past the camera",
        "a cat with a pink nose",
    ),
    "astronaut": (
        "a smiling woman in an orange space suit",
        "an astronaut in front of the American flag",
        "a portrait with a helmet and a model of the space shuttle",
        "a woman with short brown hair",
        "an official photograph of a NASA pilot",
    ),
    "rocket": (
        "a rocket on its launch pad at dusk",
        "a white launch vehicle between four steel towers",
        "bright lights in the evening at a space port",
        "a dark blue sky above a rocket",
        "towers that guard against lightning",
    ),
}


def photo(name: str) -> Image.Image:
    """A photograph of fixtures/photos."""
    ending = "jpg" if name == "rocket" else "png"
    return Image.open(fixture(f"photos/{name}.{ending}")).convert("RGB")


def filled(shape: Points, source: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """The inside of an outline, bool (height, width) of `size`, the outline in `source`'s."""
    canvas = Image.new("L", size)
    scale = (size[0] / source[0], size[1] / source[1])
    points = [(x * scale[0], y * scale[1]) for x, y in shape]
    ImageDraw.Draw(canvas).polygon(points, fill=1)
    return np.asarray(canvas) > 0


def segmentation(folder: Path) -> None:
    """Each form that a mask can have, one after the other."""
    from pycocotools import mask as coco

    images, masks = _folders(folder, "images", "masks")
    entries = []
    for name, outlines in OUTLINES.items():
        picture = photo(name)
        source = picture.size
        picture.thumbnail((400, 400))
        picture.save(images / f"{name}.jpg", quality=85)
        for what, shape in outlines.items():
            inside = filled(shape, source, picture.size)
            file = f"{name}-{what.replace(' ', '-')}"
            form = len(entries) % 4
            if form == 0:
                np.save(masks / f"{file}.npy", inside.astype(np.uint8))
            elif form == 1:
                Image.fromarray(inside.astype(np.uint8)).save(masks / f"{file}.png")
            rle = coco.encode(np.asfortranarray(inside.astype(np.uint8)))
            scale = picture.width / source[0]
            polygon = [[round(value * scale, 1) for point in shape for value in point]]
            mask = (
                f"{file}.npy",
                f"{file}.png",
                polygon,
                {"size": list(rle["size"]), "counts": rle["counts"].decode()},
            )[form]
            entries.append({"image": f"{name}.jpg", "mask": mask, "texts": list(PROMPTS[what])})
    (folder / "texts.json").write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")


def retrieval(folder: Path) -> None:
    (images,) = _folders(folder, "images")
    listed, texts = [], []
    for name, captions in CAPTIONS.items():
        picture = photo(name)
        picture.thumbnail((256, 256))
        picture.save(images / f"{name}.jpg", quality=85)
        ids = range(len(texts), len(texts) + len(captions))
        listed.append((f"{name}.jpg", ";".join(map(str, ids))))
        texts += zip(ids, captions, strict=True)
    _table(folder / "img_list.csv", ("Image_names", "Text_nums"), listed)
    _table(folder / "txt_list.csv", ("Text_nums", "Unique_Texts"), texts)


def depth(folder: Path) -> None:
    """Synthetic depth: a plane that comes nearer towards the bottom, objects in front of it."""
    images, raw, conf = _folders(folder, "images", "raw", "conf")
    size = (256, 192)
    for name, outlines in OUTLINES.items():
        picture = photo(name)
        source = picture.size
        picture.resize((640, 480)).save(images / f"{name}.jpg", quality=75)
        rows = np.linspace(5000, 1500, size[1]).round(-1)
        millimetres = np.repeat(rows[:, None], size[0], axis=1)
        level = np.full(size[::-1], 2, np.uint8)
        for number, shape in enumerate(outlines.values()):
            inside = filled(shape, source, size)
            edge = inside ^ np.roll(inside, 3, axis=1)
            millimetres[inside] = 1200 - 150 * number
            level[edge] = 1
        level[:, :4] = 0
        millimetres[:4] = 0  # holes, as a sensor leaves them
        Image.fromarray(millimetres.astype(np.uint16)).save(raw / f"{name}.png")
        Image.fromarray(level).save(conf / f"{name}.png")


def pidnet(folder: Path) -> None:
    """Two crops of the rocket, the first with label ids and the second with train ids."""
    # Name, crop, and the labels of sky, tower (pole) and pad (building); what is else is ignored.
    views = (
        ("left", (0, 120, 400, 320), "labelIds", (23, 17, 11), 0),
        ("right", (240, 120, 640, 320), "labelTrainIds", (10, 5, 2), 255),
    )
    shapes = OUTLINES["rocket"]
    for name, crop, kind, (sky, pole, building), other in views:
        images, truths = _folders(folder, "leftImg8bit/val/cape", "gtFine/val/cape")
        picture = photo("rocket")
        labels = np.full(picture.size[::-1], sky, np.uint8)
        labels[370:] = other
        labels[405:] = building
        for tower in (shapes["left tower"], shapes["right tower"], *FAR_TOWERS):
            labels[filled(tower, picture.size, picture.size)] = pole
        labels[filled(shapes["rocket"], picture.size, picture.size)] = other
        frame = f"cape_000000_{name}"
        size = (512, 256)
        shown = picture.crop(crop).resize(size).quantize(64)
        shown.save(images / f"{frame}_leftImg8bit.png", optimize=True)
        truth = Image.fromarray(labels).crop(crop).resize(size, Image.Resampling.NEAREST)
        truth.save(truths / f"{frame}_gtFine_{kind}.png", optimize=True)


def classification(folder: Path) -> None:
    """Two photographs and a spoon, each as it is and with a third of the light."""
    (images,) = _folders(folder, "images")
    shown = (
        *(("cat", 13, "chelsea", None), ("cup", 31, "coffee", (120, 0, 480, 340))),
        ("spoon", 33, "coffee", (320, 50, 450, 330)),
    )
    rows = []
    for label, index, name, crop in shown:
        picture = photo(name).crop(crop)
        picture.thumbnail((256, 256))
        for light, share in (("low_light", 1 / 3), ("normal_light", 1.0)):
            file = f"{label}_indoor_{light}_00.jpg"
            picture.point(lambda level, s=share: round(level * s)).save(images / file, quality=85)
            rows.append((file, label, index))
    _table(folder / "key.csv", ("file_name", "label", "class_index"), rows)


MAKERS = {
    "classification": classification,
    "aigc": aigc,
    "segmentation": segmentation,
    "retrieval": retrieval,
    "depth": depth,
    "pidnet": pidnet,
    "action": action,
}


def make(root: Path) -> None:
    """Writes every sample set below `root`."""
    for track, maker in MAKERS.items():
        maker(root / track)


def _folders(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.mkdir(parents=True, exist_ok=True)
    return paths


def _table(path: Path, heading: tuple[str, ...], rows: list) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(heading)
        table.writerows(rows)


if __name__ == "__main__":
    make(Path(sys.argv[1]) if sys.argv[1:] else fixture("photos").parent / "samples")
