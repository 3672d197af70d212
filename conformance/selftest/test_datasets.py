"""Data sets as people have them, and every way in which they have been wrong."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conformance.cli import main
from conformance.scoring.datasets import Dataset, open_dataset
from conformance.selftest.make_samples import OUTLINES, filled, make
from conformance.selftest.samples import (
    both,
    copied,
    listed_order,
    moved,
    remove,
    replace,
    rewrite,
    single_texts,
    swapped_columns,
    truncate,
)
from conformance.verbs.data import check_dataset
from reference.action.video import read_frames, timing
from reference.data import fixture
from reference.errors import SubmissionError
from reference.registry import default_tracks, find_track
from reference.segmentation.inputs import prepare_image

SAMPLES = fixture("samples")


@pytest.mark.parametrize("track", default_tracks())
def test_samples_have_no_errors(track: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(SAMPLES / track), "--track", track]) == 0
    assert ", 0 errors, " in capsys.readouterr().out


def test_samples_are_what_the_script_makes(tmp_path: Path) -> None:
    make(tmp_path)
    made = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    kept = sorted(path.relative_to(SAMPLES) for path in SAMPLES.rglob("*") if path.is_file())
    assert made == [path for path in kept if path.name != "README.md"]
    for path in made:
        if path.suffix == ".jpg":  # another libjpeg may round otherwise
            one, two = (np.asarray(Image.open(root / path), int) for root in (tmp_path, SAMPLES))
            assert np.abs(one - two).mean() < 2, path
        elif path.suffix == ".png":
            one, two = (
                np.asarray(Image.open(root / path).convert("RGB" if "left" in path.name else None))
                for root in (tmp_path, SAMPLES)
            )
            assert np.array_equal(one, two), path
        elif path.suffix == ".mp4":  # another FFmpeg may code otherwise
            one, two = (tmp_path / path, SAMPLES / path)
            frames, *_ = timing(one)
            assert timing(one) == timing(two)
            pixels = [np.array(read_frames(file, range(frames)), int) for file in (one, two)]
            assert np.abs(pixels[0] - pixels[1]).mean() < 2, path
        else:
            assert (tmp_path / path).read_bytes() == (SAMPLES / path).read_bytes(), path


def scaled_mask(folder: Path) -> None:
    path = folder / "masks/coffee-cup.npy"
    np.save(path, np.load(path) * 255)


def float_mask(folder: Path) -> None:
    path = folder / "masks/coffee-cup.npy"
    np.save(path, np.load(path).astype(np.float32))


def pickled_mask(folder: Path) -> None:
    path = folder / "masks/coffee-cup.npy"
    np.save(path, np.array([{}], object), allow_pickle=True)


def other_size(folder: Path) -> None:
    np.save(folder / "masks/coffee-cup.npy", np.ones((10, 20), np.uint8))


def shifted(folder: Path) -> None:
    """Counts agree and sorted order pairs everything: only the names tell."""
    (folder / "raw/coffee.png").rename(folder / "raw/coffee-2.png")


SORTED = ["astronaut.jpg", "chelsea.jpg", "coffee.jpg", "rocket.jpg"]
DAMAGE: list[tuple[str, Callable[[Path], None], str]] = [
    ("segmentation", scaled_mask, "holds 0..255, and a mask holds 0 and 1"),
    ("segmentation", float_mask, "is float32 (267, 400), not a mask of integers"),
    ("segmentation", pickled_mask, "cannot be read"),
    ("segmentation", truncate("masks/coffee-cup.npy"), "cannot be read"),
    ("segmentation", truncate("masks/coffee-cup.npy", 0), "cannot be read"),
    ("segmentation", other_size, "is (10, 20), its picture is (267, 400)"),
    (
        "segmentation",
        remove("masks/coffee-cup.npy"),
        "coffee-cup.npy\n          it is li",
    ),
    (
        "segmentation",
        remove("images/coffee.jpg"),
        "coffee.jpg\n          it is li",
    ),
    ("segmentation", truncate("images/coffee.jpg"), "damaged or truncated"),
    ("segmentation", replace("texts.json", '"cup",', '" ",'), "or an empty one"),
    (
        "segmentation",
        replace("texts.json", "coffee-cup.npy", "coffee-spoon.png"),
        "is there 2 times",
    ),
    ("segmentation", replace("texts.json", '"counts": "', '"counts": "?'), "no COCO segment"),
    ("depth", shifted, "this raw has no image of the name 'coffee-2' (4 and 4 files)"),
    ("depth", remove("conf/coffee.png"), "has no conf of the name 'coffee' (4 and 3 files)"),
    ("depth", rewrite("conf/coffee.png", lambda a: a * 100), "holds 200, and confidence is 0, 1"),
    ("depth", rewrite("conf/coffee.png", lambda a: a * 0), "the official run dies there"),
    ("depth", rewrite("raw/coffee.png", lambda a: (a // 20).astype(np.uint8)), "not uint16"),
    ("depth", rewrite("raw/coffee.png", lambda a: a[:100].copy()), "has shape (100, 256)"),
    ("depth", truncate("images/coffee.jpg"), "damaged or truncated"),
    ("depth", rewrite("images/coffee.jpg", lambda a: a[::2, ::2].copy()), "is 320x240, those of"),
    ("retrieval", remove("images/coffee.jpg"), "there is no "),
    ("retrieval", replace("img_list.csv", "chelsea", "\nchelsea"), "row 3 is blank"),
    ("retrieval", replace("txt_list.csv", "\n5,", "\n,\n5,"), "row 7 is blank"),
    ("retrieval", replace("txt_list.csv", "\n5,", "\n4,"), "the text id 4 is there 2 times"),
    (
        "retrieval",
        replace("txt_list.csv", "\n5,", "\n40000,"),
        "above 32767: read as int16 it is -25536",
    ),
    ("retrieval", replace("txt_list.csv", "\n5,", "\nfive,"), "'five' is no number"),
    ("retrieval", replace("img_list.csv", "0;1;", "0;0;1;"), "lists a text twice"),
    ("retrieval", replace("img_list.csv", "0;1;", "0;99;"), "has the text 99, which txt_list"),
    ("retrieval", replace("img_list.csv", "chelsea", "coffee"), "coffee.jpg is there 2 times"),
    ("retrieval", single_texts, "the official code reads numbers, not lists, and dies"),
    ("retrieval", replace("txt_list.csv", "\n5,", "\n04,"), "the text id 4 is there 2 times"),
    (
        "retrieval",
        replace("txt_list.csv", "\n5,", "\n-40000,"),
        "is below -32768: read as int16 it is 25536",
    ),
    ("retrieval", replace("txt_list.csv", "\n5,", "\n,"), "row 7 has no text id"),
    (
        "retrieval",
        replace("txt_list.csv", "a cat with a pink nose", "NA"),
        "row 11 has the text 'NA', whi",
    ),
    ("retrieval", replace("img_list.csv", "0;1;2;3;4", "0;1;2;3;4;"), "'' is no whole number: the"),
    ("retrieval", replace("img_list.csv", "0;1;2;3;4", "0;1.0;2"), "'1.0' is no whole number: the"),
    ("retrieval", replace("img_list.csv", "0;1;2;3;4", ""), "coffee.jpg has no texts: the officia"),
    ("retrieval", swapped_columns("img_list.csv"), "the columns are Text_nums, Image_names: the"),
    ("retrieval", swapped_columns("txt_list.csv"), "the columns are Unique_Texts, Text_nums: the"),
    ("retrieval", lambda folder: None, "by order: row 2, coffee.jpg, gets astronaut.jpg"),
    ("retrieval", listed_order(*SORTED[:3]), "rocket.jpg has no row, and the run dies, with 4 pic"),
    ("retrieval", listed_order(*SORTED, "z.jpg"), "row 6, z.jpg, has no picture"),
    (
        "retrieval",
        both(
            moved("images/rocket.jpg", "images/rocket.bmp"),
            replace("img_list.csv", "rocket.jpg", "rocket.bmp"),
        ),
        "the official scripts skip it: they read .jpeg, .jpg, .png, .webp",
    ),
    (
        "retrieval",
        both(
            moved("images/rocket.jpg", "images/a/rocket.jpg"),
            replace("img_list.csv", "rocket", "a/rocket"),
        ),
        "the official scripts skip it: they read what lies in images/ itself",
    ),
    (
        "depth",
        lambda f: (f / "raw/notes.txt").touch(),
        "takes everything in raw/ for a truth, this",
    ),
    ("depth", lambda f: (f / "raw/more").mkdir(), "takes everything in raw/ for a truth, this too"),
    ("depth", moved("conf/coffee.png", "conf/coffee.PNG"), "looks for conf/coffee.png"),
    ("depth", moved("images/coffee.jpg", "images/coffee.webp"), "they read .jpeg, .jpg, .png"),
    (
        "pidnet",
        remove("gtFine/val/cape/cape_000000_left_gtFine_labelIds.png"),
        "this frame has no label of the name 'cape_000000_left'",
    ),
    (
        "pidnet",
        rewrite("gtFine/val/cape/cape_000000_right_gtFine_labelTrainIds.png", lambda a: a // 2),
        "holds 127, and labels are 0..18 or 255",
    ),
]


@pytest.mark.parametrize(("track", "damage", "told"), DAMAGE)
def test_check_names_what_is_wrong(
    track: str, damage: Callable[[Path], None], told: str, tmp_path: Path
) -> None:
    folder = copied(track, tmp_path)
    damage(folder)
    text, code = check_dataset(find_track(track), folder)
    assert told in text
    head, *_ = text.splitlines()
    assert code == (", 0 errors" not in head)


@pytest.mark.parametrize("names", [SORTED, [name.upper() for name in SORTED]])
def test_a_sorted_list_pairs_as_the_official_scripts_pair_it(
    names: list[str], tmp_path: Path
) -> None:
    folder = copied("retrieval", tmp_path)
    for old, new in zip(SORTED, names, strict=True):
        (folder / "images" / old).rename(folder / "images" / new)
    (folder / "images" / "Thumbs.db").touch()
    listed_order(*names)(folder)
    text, code = check_dataset(find_track("retrieval"), folder)
    assert "by order" not in text
    assert "skip it" not in text
    assert (code, text.count("warning ")) == (0, 1), "the file that is not listed"


def test_endings_can_change_the_order_of_depth(tmp_path: Path) -> None:
    """a.k.jpg comes after a.jpg, and a.k.png before a.png."""
    folder = copied("depth", tmp_path)
    for old, new in (("chelsea", "a"), ("coffee", "a.k")):
        for path in folder.glob(f"*/{old}.*"):
            path.rename(path.with_name(f"{new}{path.suffix}"))
    text, code = check_dataset(find_track("depth"), folder)
    assert "the official scripts pair by order: a.jpg gets a.k.png" in text
    assert code == 0


def test_raw_earlier_in_the_path_is_a_warning(tmp_path: Path) -> None:
    folder = copied("depth", tmp_path / "raw-data")
    text, code = check_dataset(find_track("depth"), folder)
    assert "cuts paths at the first one" in text
    assert code == 0
    assert len(open_dataset(find_track("depth"), folder).items) == 4


@pytest.mark.parametrize(
    ("track", "damage", "told"),
    [
        ("depth", lambda folder: shutil.rmtree(folder / "conf"), "has no folder conf/"),
        ("segmentation", remove("texts.json"), "neither texts.json nor instances.json"),
        ("segmentation", replace("texts.json", "[", "("), "is not JSON"),
        ("segmentation", replace("texts.json", '"image"', '"img"'), "not of the form expected"),
        ("retrieval", replace("txt_list.csv", "Text_nums", "ids"), "has no column Text_nums"),
        ("retrieval", remove("img_list.csv"), "cannot be read"),
        ("pidnet", lambda f: (f / "leftImg8bit/val").rename(f / "leftImg8bit/test"), "label"),
    ],
)
def test_another_layout_is_one_line(
    track: str, damage: Callable[[Path], None], told: str, tmp_path: Path
) -> None:
    folder = copied(track, tmp_path)
    damage(folder)
    with pytest.raises(SubmissionError, match=told):
        open_dataset(find_track(track), folder)


def test_a_track_without_a_reader_is_one_line() -> None:
    track = dataclasses.replace(find_track("depth"), home="")
    with pytest.raises(SubmissionError, match="depth-2025 has no data set that can be read"):
        check_dataset(track, SAMPLES / "depth")


def test_the_four_forms_of_a_mask_agree(tmp_path: Path) -> None:
    """npy, png, polygon and RLE of one outline; the polygon is rasterised by other code."""
    from pycocotools import mask as coco

    folder = copied("segmentation", tmp_path)
    picture = Image.open(folder / "images/coffee.jpg")
    inside = filled(OUTLINES["coffee"]["cup"], (600, 400), picture.size).astype(np.uint8)
    np.save(folder / "masks/a.npy", inside)
    Image.fromarray(inside).save(folder / "masks/b.png")
    rle = coco.encode(np.asfortranarray(inside))
    runs = np.flatnonzero(np.diff(inside.T.reshape(-1), prepend=0, append=0))
    counts = np.diff(runs, prepend=0, append=inside.size).tolist()
    scale = picture.width / 600
    polygon = [value * scale for point in OUTLINES["coffee"]["cup"] for value in point]
    masks = [
        "a.npy",
        "b.png",
        {"size": rle["size"], "counts": rle["counts"].decode()},
        {"size": rle["size"], "counts": counts},
        [polygon],
    ]
    entries = [{"image": "coffee.jpg", "mask": mask, "texts": ["cup"]} for mask in masks]
    (folder / "texts.json").write_text(json.dumps(entries), encoding="utf-8")
    dataset = open_dataset(find_track("segmentation"), folder)
    first, *others, drawn = (dataset.truth(item) for item in dataset.items)
    assert first.dtype == np.uint8
    assert first.shape == (1024, 1024)
    assert all(np.array_equal(first, other) for other in others)
    assert (first & drawn).sum() / (first | drawn).sum() > 0.98


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_mask_lies_on_the_picture_as_it_is_fed(orientation: int, tmp_path: Path) -> None:
    """Where the truth is 1 the canvas is white: also when EXIF turns the picture."""
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    upright = np.zeros((300, 200), np.uint8)
    upright[40:160, 30:90] = 1
    stored = np.rot90(upright) if orientation == 6 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(np.repeat(stored[:, :, None] * 255, 3, axis=2))
    picture.save(tmp_path / "images/one.png", exif=exif)
    np.save(tmp_path / "masks/one.npy", upright)
    entry = [{"image": "one.png", "mask": "one.npy", "texts": ["white"]}]
    (tmp_path / "texts.json").write_text(json.dumps(entry), encoding="utf-8")
    dataset = open_dataset(find_track("segmentation"), tmp_path)
    (item,) = dataset.items
    truth = dataset.truth(item)
    white = prepare_image(tmp_path / "images/one.png")[0, 0] > 127
    assert (truth & white).sum() / (truth | white).sum() > 0.98


def test_refcoco_has_the_sentences_of_its_refs(tmp_path: Path) -> None:
    folder = copied("segmentation", tmp_path)
    (folder / "texts.json").unlink()
    box = [[10, 10, 50, 10, 50, 40, 10, 40]]
    instances = {
        "images": [{"id": 7, "file_name": "coffee.jpg", "height": 267, "width": 400}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "segmentation": box},
            {"id": 2, "image_id": 7, "category_id": 3, "segmentation": box},
        ],
        "categories": [{"id": 3, "name": "cup"}],
    }
    (folder / "instances.json").write_text(json.dumps(instances), encoding="utf-8")
    track = find_track("segmentation")
    assert [item.text for item in open_dataset(track, folder).items] == ["cup", "cup"]
    refs = [{"ann_id": 2, "sentences": [{"raw": "red cup"}, {"sent": "the drink"}]}]
    (folder / "refs.json").write_text(json.dumps(refs), encoding="utf-8")
    items = open_dataset(track, folder).items
    assert [(item.id, item.text) for item in items] == [
        ("coffee.jpg/2#0", "red cup"),
        ("coffee.jpg/2#1", "the drink"),
    ]
    truth = Dataset(track, folder).truth(items[0])
    assert truth.sum() == pytest.approx(40 * 30 * (1024 / 400) ** 2, rel=0.05)


def test_label_ids_become_train_ids() -> None:
    """road 7, person 24 and bicycle 33, and parking 9 which is not evaluated."""
    from reference.pidnet.dataset import TRAIN_IDS

    assert TRAIN_IDS[[7, 24, 33, 9, 0, 255]].tolist() == [0, 11, 18, 255, 255, 255]
    assert sorted(TRAIN_IDS[TRAIN_IDS < 255]) == list(range(19))
    folder = SAMPLES / "pidnet"
    left, right = (Dataset(find_track("pidnet"), folder).truth(item) for item in
                   Dataset(find_track("pidnet"), folder).items)  # fmt: skip
    assert set(np.unique(left)) == set(np.unique(right)) == {5, 10, 255}


def test_the_digest_sees_every_file(tmp_path: Path) -> None:
    folder = copied("depth", tmp_path)
    track = find_track("depth")

    def digest() -> str:
        return Dataset(track, folder).digest(lambda done, total: None)

    seen = {digest()}
    for name in ("images/coffee.jpg", "raw/coffee.png", "conf/coffee.png"):
        with (folder / name).open("ab") as file:
            file.write(b"\0")
        seen.add(digest())
    assert len(seen) == 4
    (folder / "notes.txt").write_text("not part of it", encoding="utf-8")
    assert digest() in seen
