"""`lpcvc score --runtime answers`: a device's answers are scored as those of a model here."""

import sqlite3
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnxruntime
import pytest
from qai_hub.util.dataset_entries_converters import dataset_entries_to_h5

from conformance.cli import main
from conformance.scoring.datasets import open_dataset
from conformance.selftest import models
from reference.data import fixture
from reference.datasets.items import Item
from reference.registry import find_track

Rows = list[tuple[Any, ...]]


def answered(track: str, folder: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Models, and their answers to the sample set as the client saves those of a job."""
    files, saved = models.write(find_track(track), folder), {}
    dataset = open_dataset(find_track(track), fixture(f"samples/{track}"))
    for part in find_track(track).parts:
        session = onnxruntime.InferenceSession(str(files[part.name]))
        fed = [dataset.feeds(part, item) for item in dataset.of(part.name)]
        rows = [session.run(None, each)[0] for each in fed]
        saved[part.name] = save({"output_0": rows}, folder / f"{part.name}.h5")
    return files, saved


def save(outputs: dict[str, list[np.ndarray]], path: Path) -> Path:
    with h5py.File(path, "w") as file:
        dataset_entries_to_h5(outputs, file)
    return path


def score(track: str, files: dict[str, Path], results: Path, *more: str) -> int:
    named = [f"--submission={part}={path}" for part, path in files.items()]
    data = f"--data={fixture(f'samples/{track}')}"
    return main(["score", f"--track={track}", data, f"--results={results}", *named, *more])


def rows(results: Path) -> Rows:
    query = "SELECT item, numbers, array, error, note FROM results ORDER BY item, numbers"
    with sqlite3.connect(results) as database:
        return database.execute(query).fetchall()


@pytest.mark.parametrize("track", ["action", "classification", "depth", "pidnet", "retrieval"])
def test_answers_are_scored_as_the_model(
    track: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each item's numbers; retrieval has more than ten texts, and names that sort otherwise."""
    files, saved = answered(track, tmp_path)
    assert score(track, files, tmp_path / "model.sqlite") == 0
    assert score(track, saved, tmp_path / "answers.sqlite", "--runtime=answers") == 0
    assert rows(tmp_path / "answers.sqlite") == rows(tmp_path / "model.sqlite") != []
    assert "answers of a file" in capsys.readouterr().out


def test_axes_of_one_may_lie_elsewhere(tmp_path: Path) -> None:
    """As a channel-last build of AI Hub answers, among outputs of which one has the right name."""
    files, saved = answered("depth", tmp_path)
    with h5py.File(saved["model"]) as file:
        maps = [file[f"data/0/batch_{k}"][()] for k in range(len(file["data/0"]))]
    name = str(find_track("depth").parts[0].output.name)
    last = [each.transpose(0, 2, 3, 1) for each in maps]
    save({"another": [np.zeros(3)] * len(maps), name: last}, saved["model"])
    score("depth", files, tmp_path / "model.sqlite")
    assert score("depth", saved, tmp_path / "answers.sqlite", "--runtime=answers") == 0
    assert rows(tmp_path / "answers.sqlite") == rows(tmp_path / "model.sqlite")


def test_items_beyond_the_file_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    count = len(open_dataset(find_track("action"), fixture("samples/action")).items)
    path = save({"output_0": [np.zeros((1, 92), np.float32)] * (count - 1)}, tmp_path / "a.h5")
    assert score("action", {"model": path}, tmp_path / "r.sqlite", "--runtime=answers") == 1
    assert f"the file ends after {count - 1} answers" in capsys.readouterr().out


@pytest.mark.parametrize(("wrong", "told"), [(4, True), (2, True), (0, False)])
def test_what_is_not_told_from_chance(
    wrong: int, told: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four clips: all wrong, half right, of which a resample may have none, and all right."""
    dataset = open_dataset(find_track("action"), fixture("samples/action"))
    logits = []
    for index, item in enumerate(dataset.items):
        number = dataset.truth(item).number + (index < wrong)
        logits.append(np.eye(92, dtype=np.float32)[[number % 92]] + np.arange(92) / 1000)
    path = save({"class_probs": logits}, tmp_path / "a.h5")
    assert score("action", {"model": path}, tmp_path / "r.sqlite", "--runtime=answers") == 0
    said = f"say nothing of the inputs score {100 / 92:.2f}" in capsys.readouterr().out
    assert said is told


def test_chance_of_retrieval() -> None:
    """Against ten texts drawn for a picture of three, 20,000 times."""
    texts = [Item(str(n), "text", str(n), text="a") for n in range(25)]
    chance = find_track("retrieval").room("metric").METRIC.headline.chance
    drawn = np.random.default_rng(3).permuted(np.tile(np.arange(25), (20_000, 1)), axis=1)[:, :10]
    assert chance(texts) == pytest.approx((drawn < 3).sum() / (3 * 20_000), abs=0.005)
    assert chance(texts[:8]) == 1


def _surplus(path: Path) -> None:
    save({"output_0": [np.zeros((1, 92), np.float32)] * 99}, path)


def _wrong_shape(path: Path) -> None:
    save({"output_0": [np.zeros((1, 400), np.float32)]}, path)


def _other_layout(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["data/0/first"] = np.zeros(3)


def _empty(path: Path) -> None:
    h5py.File(path, "w").close()


BAD = {
    "surplus": (_surplus, "has 99 answers and the data"),
    "shape": (_wrong_shape, "the model answers float32 1x400"),
    "layout": (_other_layout, "has no answers at data/0/batch_0"),
    "empty": (_empty, "has no answers at data/0/batch_0"),
    "no HDF5": (lambda path: path.write_bytes(b"no HDF5"), "has no answers at data/0/batch_0"),
    "missing": (lambda path: None, "there is no file"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_a_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, told = BAD[name]
    make(tmp_path / "a.h5")
    code = score("action", {"model": tmp_path / "a.h5"}, tmp_path / "r.sqlite", "--runtime=answers")
    captured = capsys.readouterr()
    assert code != 0
    assert told in captured.err + captured.out
    assert "Traceback" not in captured.err


def test_each_part_has_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score("retrieval", {"image": tmp_path}, tmp_path / "r", "--runtime=answers") != 0
    assert "give --submission image=FILE.h5 --submission text=FILE.h5" in capsys.readouterr().err
