"""Retrieval data with errors that the official code scores: scored, with the error as a note."""

import csv
import io
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from conformance.cli import main
from conformance.scoring.datasets import open_dataset
from conformance.scoring.kept import read_scores
from conformance.selftest import models
from conformance.selftest.samples import (
    both,
    copied,
    remove,
    replace,
    single_texts,
    swapped_columns,
    table,
)
from conformance.verbs.data import check_dataset
from reference.datasets.items import Item
from reference.errors import SubmissionError
from reference.registry import find_track
from reference.retrieval.inputs import prepare_image, prepare_text
from reference.retrieval.metric import rank
from reference.scores import Result
from reference.tests import plain_metrics as plain


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return models.write(find_track("retrieval"), tmp_path_factory.mktemp("models"))


def score(data: Path, files: dict[str, Path], folder: Path, *more: str) -> int:
    specs = [word for part in files for word in ("--submission", f"{part}={files[part]}")]
    results = ["--results", str(folder / "r.sqlite"), "--keep", str(folder / "kept.json")]
    return main(["score", "--track", "retrieval", "--data", str(data), *specs, *results, *more])


def column(path: Path, name: str) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row[name]]


@pytest.fixture(scope="module")
def embed(files: dict[str, Path]) -> Callable[[Path | str], np.ndarray]:
    """The embedding (1, D) of a picture or a text, by onnxruntime itself."""
    image, text = (onnxruntime.InferenceSession(str(files[part])) for part in ("image", "text"))

    @cache
    def known(what: str | bytes) -> np.ndarray:
        if isinstance(what, bytes):
            return image.run(None, {"image": prepare_image(Image.open(io.BytesIO(what)))})[0]
        return text.run(None, {"text": prepare_text(what)})[0]

    return lambda what: known(what.read_bytes() if isinstance(what, Path) else what)


def official(data: Path, embed: Callable[[Path | str], np.ndarray]) -> float:
    """The evaluator's number for the rows as they are, each with its own picture or text."""
    rows = column(data / "img_list.csv", "Text_nums")
    rows = [row for row in rows if (data / "images" / row["Image_names"]).is_file()]
    texts = column(data / "txt_list.csv", "Unique_Texts")
    recall: float = plain.official_recall(
        np.concatenate([embed(data / "images" / row["Image_names"]) for row in rows]),
        np.concatenate([embed(row["Unique_Texts"]) for row in texts]),
        [[int(float(id)) for id in row["Text_nums"].split(";") if id] for row in rows],
        [int(float(row["Text_nums"] or -7)) for row in texts],
    )
    return 100 * recall


Damage = Callable[[Path], None]
TEXTS, IMAGES = "txt_list.csv", "img_list.csv"
DAMAGE: list[tuple[Damage, str]] = [
    (replace(IMAGES, "chelsea", "\nchelsea"), "row 3 is blank"),
    (replace(TEXTS, "\n5,", "\n,\n5,"), "row 7 is blank"),
    (replace(TEXTS, "\n5,", "\n4,"), "the text id 4 is there 2 times"),
    (
        both(replace(TEXTS, "\n5,", "\n40000,"), replace(IMAGES, "5;6", "40000;6")),
        "the text id 40000 is above 32767",
    ),
    (
        both(replace(TEXTS, "\n5,", "\n65541,"), replace(TEXTS, "\n6,", "\n65536,")),
        "has the text 5, which txt_list.csv lacks",
    ),
    (replace(IMAGES, "0;1;2", "0;99;2"), "has the text 99, which txt_list.csv lacks"),
    (replace(IMAGES, "0;1;2", "00;1;2"), ""),
    (replace(TEXTS, "\n5,", "\n5.0,"), ""),
    (replace(IMAGES, "0;1;2;3;4", "0;1;2;3;4;"), "is no whole number: the official run dies"),
    (replace(IMAGES, "chelsea", "coffee"), "coffee.jpg is there 2 times"),
    (replace(IMAGES, "0;1;2;3;4", ""), "coffee.jpg has no texts"),
    (replace(TEXTS, "3,a hot drink seen from above", "3,"), "row 5 has no text: "),
    (replace(TEXTS, "a cat with a pink nose", "None"), "row 11 has the text 'None'"),
    (replace(TEXTS, "\n5,", "\n,"), "row 7 has no text id"),
    (both(swapped_columns(IMAGES), swapped_columns(TEXTS)), "the columns are Text_nums, Image"),
    (single_texts, ""),
    (remove("images/coffee.jpg"), "there is no "),
]


@pytest.mark.parametrize(("damage", "note"), DAMAGE)
def test_it_is_scored_with_a_note(
    damage: Damage, note: str, embed: Callable[[Path | str], np.ndarray], tmp_path: Path
) -> None:
    data = copied("retrieval", tmp_path)
    damage(data)
    dataset = open_dataset(find_track("retrieval"), data)

    def result(item: Item) -> Result:
        if item.image is not None and not item.image.is_file():
            return Result(item.id, error="it is not there")
        return Result(item.id, array=embed(item.image or item.text)[0])

    items = {part: dataset.of(part) for part in ("image", "text")}
    ranked = rank(items, {part: map(result, own) for part, own in items.items()})
    recalls = [result.numbers["recall"] for result in ranked.results if not result.error]
    assert 100 * np.mean(recalls) == pytest.approx(official(data, embed))
    assert len({item.id for item in dataset.items}) == len(dataset.items)
    notes = [finding.problem for finding in dataset.findings if finding.fatal]
    assert any(note in each for each in notes) if note else not notes


WORDS = [
    "",
    " ",
    "0",
    "1",
    "2;1",
    "1;",
    ";",
    "1.0",
    "-3",
    "40000",
    "65536",
    "1e30",
    "1e999",
    "x",
    "nan",
]
WORDS += [
    "9" * 30,
    "9" * 5000,
    "a.jpg",
    "../a.jpg",
    "/a.jpg",
    "b" * 300 + ".jpg",
    "\0.jpg",
    "a.jpg;0",
]
CELL = st.sampled_from(WORDS)
ROWS = st.lists(st.lists(CELL, min_size=1, max_size=3), max_size=5)


@settings(derandomize=True, deadline=None, database=None, max_examples=60)
@given(ROWS, ROWS)
def test_any_rows_are_read_or_refused_in_a_line(
    tmp_path_factory: pytest.TempPathFactory, images: list[list[str]], texts: list[list[str]]
) -> None:
    """And what is read is ranked: every picture that has texts gets a recall."""
    folder = tmp_path_factory.mktemp("rows")
    (folder / "images").mkdir()
    (folder / "images" / "a.jpg").write_bytes(b"")
    table(folder / IMAGES, ["Image_names", "Text_nums"], images)
    table(folder / TEXTS, ["Text_nums", "Unique_Texts"], texts)
    check_dataset(find_track("retrieval"), folder)
    try:
        dataset = open_dataset(find_track("retrieval"), folder)
    except SubmissionError as error:
        assert "holds no items for" in str(error)  # noqa: PT017
        return
    dataset.digest(lambda done, total: None)
    items = {part: dataset.of(part) for part in ("image", "text")}
    vectors = np.random.default_rng(0).standard_normal((2, 5, 4)).astype(np.float32)
    each = {
        part: [Result(item.id, array=row) for item, row in zip(own, rows, strict=False)]
        for (part, own), rows in zip(items.items(), vectors, strict=True)
    }
    results = rank(items, each).results
    assert [result.item for result in results] == [item.id for item in items["image"]]
    assert all(0 <= result.numbers["recall"] <= 1 for result in results)


def test_the_note_is_in_the_report_and_in_the_file(
    files: dict[str, Path],
    embed: Callable[[Path | str], np.ndarray],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of a text listed twice, a picture listed twice, drawn too, and one that is not there."""
    data = copied("retrieval", tmp_path)
    both(replace(IMAGES, "chelsea", "coffee"), replace(TEXTS, "\n5,", "\n4,"))(data)
    remove("images/rocket.jpg")(data)
    assert score(data, files, tmp_path, "--pictures", str(tmp_path / "worst")) == 1
    told = capsys.readouterr().out
    expected = official(data, embed)
    assert f"Recall@10 {expected:.4f} " in told
    assert "(1): not an official score, on data with errors (4)" in told
    assert f"  data error: {data / TEXTS}: the text id 4 is there 2 times -> give each its " in told
    assert "  warning: " in told
    (kept,) = read_scores(tmp_path / "kept.json")
    assert kept.value == pytest.approx(expected)
    assert kept.notes[0] == "txt_list.csv: the text id 4 is there 2 times"
    assert len(kept.notes) == 4
    assert len(list((tmp_path / "worst").iterdir())) == 3


def test_ids_that_are_words_go_by_name(
    files: dict[str, Path],
    embed: Callable[[Path | str], np.ndarray],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The official run dies; here they are told apart, from the numbers too."""
    data = copied("retrieval", tmp_path)
    before = official(data, embed)
    replace(TEXTS, "\n5,", "\nfive,")(data)
    replace(IMAGES, "5;6", "five;6")(data)
    assert score(data, files, tmp_path) == 0
    told = capsys.readouterr().out
    assert f"Recall@10 {before:.4f} " in told
    assert "the text id 'five' is no number: the official run dies there" in told
    assert "'five' is no whole number: the official run dies there" in told


def test_a_name_that_leads_elsewhere_is_no_traceback(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = copied("retrieval", tmp_path)
    replace(IMAGES, "coffee.jpg", str(data / "images" / "rocket.jpg"))(data)
    assert score(data, files, tmp_path) == 0
    assert "they read what lies in images/ itself" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (
            lambda folder: (folder / IMAGES).write_text("Image_names,Text_nums\n"),
            "no items for image",
        ),
        (
            lambda folder: (folder / TEXTS).write_text("Text_nums,Unique_Texts\n"),
            "no items for text",
        ),
    ],
)
def test_what_holds_nothing_is_not_scored(
    damage: Damage,
    told: str,
    files: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = copied("retrieval", tmp_path)
    damage(data)
    assert score(data, files, tmp_path) == 2
    assert (
        capsys.readouterr().err
        == f"lpcvc: {data} holds {told}; see the layout in docs/scoring.md\n"
    )
