"""A data set beside the test data of the documents: what is like it and what is off."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conformance.cli import main
from conformance.scoring.datasets import Dataset
from reference.data import fixture
from reference.datasets.expected import Figure, about, balanced, between
from reference.registry import find_track
from reference.segmentation import dataset as segmentation

TEXTS = ["cup", "the red cup", "a small red cup that stands left of the plate"]
# Edges of square masks in a picture of 100x100: small, medium and large.
EDGES = (5, 20, 60)


def segmented(folder: Path, pictures: int, masks: int, texts: list[str], **changed: object) -> Path:
    """A set of masks of three sizes and as many classes as masks."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    edges = changed.get("edges", EDGES)
    entries = []
    for picture in range(pictures):
        Image.new("RGB", (100, 100)).save(folder / f"images/{picture}.png")
        for mask in range(masks):
            array = np.zeros((100, 100), np.uint8)
            edge = edges[mask % len(edges)]
            array[:edge, :edge] = 1
            name = f"{picture}-{mask}.npy"
            np.save(folder / "masks" / name, array)
            entry = {"image": f"{picture}.png", "mask": name, "texts": texts}
            if changed.get("classes", True):
                number = picture * masks + mask
                entry["class"] = "one" if changed.get("alike") else f"class {number % 15}"
            entries.append(entry)
    (folder / "texts.json").write_text(json.dumps(entries))
    return folder


def figures(track: str, folder: Path) -> dict[str, Figure]:
    dataset = Dataset(find_track(track), folder)
    assert list(dataset.faults(lambda done, total: None)) == []
    return {figure.name: figure for figure in dataset.figures()}


def test_a_set_that_is_like_it_in_all_but_its_size(tmp_path: Path) -> None:
    found = figures("segmentation", segmented(tmp_path / "own", 5, 3, TEXTS))
    assert {name: figure.like for name, figure in found.items()} == {
        "pictures": False,
        "classes": False,
        "masks a picture": True,
        "texts a mask": True,
        "mask sizes": True,
        "masks of a class": True,
        "texts": True,
    }
    assert (found["pictures"].seen, found["pictures"].documented) == ("5", "about 1000")
    assert (found["classes"].seen, found["classes"].documented) == ("15", "about 200")
    assert found["texts"].seen == "15 keywords, 15 phrases, 15 sentences"
    assert "section 4.1" in found["pictures"].source


@pytest.mark.parametrize(
    ("masks", "texts", "changed", "name", "seen"),
    [
        (6, TEXTS, {}, "masks a picture", "6, 2 of 2 outside"),
        (2, TEXTS, {}, "masks a picture", "2, 2 of 2 outside"),
        (3, TEXTS[:2], {}, "texts a mask", "2, 6 of 6 outside"),
        (3, TEXTS * 2, {}, "texts a mask", "6, 6 of 6 outside"),
        (3, TEXTS, {"edges": (5,)}, "mask sizes", "small has 100%"),
        (3, TEXTS, {"edges": (60, 60, 60, 5)}, "mask sizes", "large has 100%"),
        (3, ["cup", "mug", "glass"], {}, "texts", "18 keywords, 0 phrases, 0 sentences"),
        (3, TEXTS, {"alike": True}, "classes", "1"),
    ],
)
def test_sets_that_are_off(
    tmp_path: Path, masks: int, texts: list[str], changed: dict, name: str, seen: str
) -> None:
    found = figures("segmentation", segmented(tmp_path / "own", 2, masks, texts, **changed))
    assert (found[name].seen, found[name].like) == (seen, False)


def test_what_a_set_does_not_say_is_neither(tmp_path: Path) -> None:
    found = figures("segmentation", segmented(tmp_path / "own", 1, 3, TEXTS, classes=False))
    for name in ("classes", "masks of a class"):
        assert (found[name].seen, found[name].like) == ("not said", None)


def test_coco_says_the_classes(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (100, 100)).save(tmp_path / "images/a.png")
    square = [[0, 0, 50, 0, 50, 50, 0, 50]]
    instances = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "spoon"}],
        "annotations": [
            {"id": number, "image_id": 1, "category_id": number, "segmentation": square}
            for number in (1, 2)
        ],
    }
    (tmp_path / "instances.json").write_text(json.dumps(instances))
    items = segmentation.index(tmp_path).items
    assert [item.truth.category for item in items] == ["cup", "spoon"]
    assert {figure.name: figure.seen for figure in segmentation.expected(items, [])}["classes"] == (
        "2"
    )


def test_retrieval_and_that_nothing_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "own"
    shutil.copytree(fixture("samples") / "retrieval", folder)
    path = folder / "img_list.csv"
    rows = [*csv.DictReader(path.open(encoding="utf-8"))]
    rows[0]["Text_nums"] = rows[0]["Text_nums"].partition(";")[0]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    assert main(["data", "check", str(folder), "--track", "retrieval"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-3].startswith("beside the test data that the documents describe, which is advice")
    assert said[-2].startswith("  unlike  pictures: 4; documented: about 300 (LPCVC 2026 Track 1 ")
    assert said[-1].startswith("  unlike  texts a picture: 1 to 5; documented: several (")


@pytest.mark.parametrize("track", ["depth", "pidnet", "classification"])
def test_where_the_documents_give_no_number_nothing_is_said(
    track: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["data", "check", str(fixture("samples") / track), "--track", track])
    assert "advice" not in capsys.readouterr().out


def test_bounds() -> None:
    assert [about("n", seen, 1000, "").like for seen in (799, 800, 1200, 1201)] == [
        False,
        True,
        True,
        False,
    ]
    assert [between("n", (k,), 3, 5, "").like for k in (2, 3, 5, 6)] == [False, True, True, False]
    assert between("n", (), 3, 5, "").like is None
    assert between("n", (3, 4, 9), 3, 5, "").seen == "3 to 9, 1 of 3 outside"
    assert balanced("n", "aabbcc", "").like is True
    assert balanced("n", "aaaaabc", "").like is False
    assert balanced("n", "aabb", "").like is True
    assert balanced("n", "ab", "", 3).like is True
    assert balanced("n", "aaab", "", 3).like is False
