"""Folders of clips with a manifest, and what is wrong with them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from conformance.selftest.make_clips import drawn, squats, write_video
from reference.action.contract import CLASSES
from reference.action.dataset import Truth, doubts, index, truth
from reference.data import fixture

SAMPLES = fixture("samples/action")
ORDER = [
    "cross-legged_hamstring_stretch/00000003",
    "cross/00000001",
    "jumping_jacks/00000002",
    "squats/00000004",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SAMPLES, tmp_path / "data"))


def rows(folder: Path) -> list[str]:
    return (folder / "manifest.jsonl").read_text().splitlines()


def rewrite(folder: Path, lines: list[str]) -> None:
    (folder / "manifest.jsonl").write_text("".join(f"{line}\n" for line in lines))


def test_classes_are_in_ascii_order() -> None:
    assert len(CLASSES) == len(set(CLASSES)) == 92
    assert list(CLASSES) == sorted(CLASSES)
    assert (CLASSES[15], CLASSES[16], CLASSES[17]) == (
        "cross",
        "cross-legged_hamstring_stretch",
        "cross_+_hook_right",
    )


def test_the_sample_set() -> None:
    found = index(SAMPLES)
    assert [item.id for item in found.items] == ORDER
    assert [truth(item) for item in found.items] == [
        Truth(CLASSES.index(key.partition("/")[0]), None) for key in ORDER
    ]
    assert found.findings == ()
    assert len(found.files) == 5


def test_folders_alone_are_read_in_the_order_of_whole_paths(folder: Path) -> None:
    """`-` comes before `/`: cross-legged ahead of cross, as no sorting of folders has it."""
    (folder / "manifest.jsonl").unlink()
    found = index(folder)
    assert [item.id for item in found.items] == ORDER
    assert sorted(path.name for path in folder.iterdir() if path.is_dir())[0] == "cross"
    assert found.findings == ()


def test_the_split_val_is_taken(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "whole/train/squats").mkdir(parents=True)
    folder.rename(tmp_path / "whole/val")
    assert [item.id for item in index(tmp_path / "whole").items] == ORDER


def test_tensors_go_before_videos(folder: Path) -> None:
    np.save(folder / "cross/00000001.npy", np.zeros((1, 3, 16, 112, 112), np.float32))
    found = {item.id: item.image for item in index(folder).items}
    assert found["cross/00000001"] == folder / "cross/00000001.npy"
    assert found["squats/00000004"] == folder / "squats/00000004.mp4"


def blank_row(folder: Path) -> None:
    lines = rows(folder)
    rewrite(folder, [*lines[:2], "", *lines[2:]])


def no_json(folder: Path) -> None:
    rewrite(folder, [*rows(folder), "squats"])


def no_label(folder: Path) -> None:
    rewrite(folder, [*rows(folder), json.dumps({"tensor_path": "t/squats/00000004.npy"})])


def unknown_label(folder: Path) -> None:
    rewrite(folder, [line.replace('"squats"', '"squat"') for line in rows(folder)])


def spaces(folder: Path) -> None:
    (folder / "manifest.jsonl").unlink()
    (folder / "jumping_jacks").rename(folder / "jumping jacks")


def missing_file(folder: Path) -> None:
    (folder / "squats/00000004.mp4").unlink()


def by_folders(folder: Path) -> None:
    lines = rows(folder)
    rewrite(folder, [lines[1], lines[0], *lines[2:]])


def a_file_more(folder: Path) -> None:
    shutil.copy(folder / "cross/00000001.mp4", folder / "cross/00000000.mp4")


def twice(folder: Path) -> None:
    rewrite(folder, [*rows(folder), rows(folder)[-1]])


def other_label(folder: Path) -> None:
    rewrite(
        folder, [line.replace('"label": "squats"', '"label": "lunges"') for line in rows(folder)]
    )


def other_map(folder: Path) -> None:
    numbers = {name: number for number, name in enumerate(sorted(CLASSES, reverse=True))}
    (folder / "class_map.json").write_text(json.dumps(numbers))


def labels_in_another_order(folder: Path) -> None:
    names = [name.replace("_", " ") for name in CLASSES]
    (folder / "class_labels.json").write_text(json.dumps([*names[1:], names[0]]))


def another_ending(folder: Path) -> None:
    (folder / "squats/00000004.mp4").rename(folder / "squats/00000004.avi")


FAULTS: list[tuple[Callable[[Path], None], str, bool]] = [
    (blank_row, "row 3 is blank: the official evaluator ends there", True),
    (no_json, "row 5 is no record with label and tensor_path", True),
    (no_label, "row 5 is no record with label and tensor_path", True),
    (unknown_label, "row 4 has the label 'squat', which is none of the 92 classes", True),
    (spaces, "the folder 'jumping jacks' is none of the 92 classes", True),
    (missing_file, "row 4 names squats/00000004, which is not there", True),
    (
        by_folders,
        "sorted by whole paths: cross-legged_hamstring_stretch/00000003 is fed for the row of"
        " cross/00000001",
        False,
    ),
    (a_file_more, "cross/00000000 is fed for the row of cross/00000001", False),
    (twice, "row 5 names squats/00000004 again", False),
    (other_label, "row 4 is 'lunges' and its file is squats/00000004", False),
    (other_map, "air_jump_rope is 91 here and 0 in the official map", True),
    (labels_in_another_order, "air_jump_rope is 91 here and 0 in class_map.json", False),
    (another_ending, "the official script skips it: it reads .mp4", False),
]


@pytest.mark.parametrize(("damage", "told", "fatal"), FAULTS)
def test_what_is_wrong_is_said(
    damage: Callable[[Path], None], told: str, fatal: bool, folder: Path
) -> None:
    damage(folder)
    findings = index(folder).findings
    found = [each for each in findings if told in each.problem]
    assert [each.fatal for each in found] == [fatal], findings
    assert found[0].remedy


def test_what_is_sound_is_scored_all_the_same(folder: Path) -> None:
    by_folders(folder)
    labels_in_another_order(folder)
    items = index(folder).items
    assert [item.id for item in items] == [ORDER[1], ORDER[0], *ORDER[2:]]
    assert truth(items[0]) == Truth(15, 14)


def test_doubts(tmp_path: Path) -> None:
    write_video(tmp_path / "short.mp4", [drawn(squats(t / 4)) for t in range(9)], 4.0)
    (found,) = doubts(tmp_path / "short.mp4")
    assert found.problem == "the video has 9 frames: the official code shows some of them twice"
    assert not found.fatal
    assert list(doubts(SAMPLES / "squats/00000004.mp4")) == []
    assert list(doubts(tmp_path / "any.npy")) == []
