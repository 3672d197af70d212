"""`lpcvc rank`: places by score, ties by the paired bootstrap, and a row for what fails."""

import csv
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.cli import main
from conformance.scoring.leaderboard import as_html, as_rows, as_text
from conformance.scoring.ranking import Entry, Latency, find_submissions, placed
from conformance.scoring.report import Scoring
from conformance.scoring.store import Run
from conformance.scoring.summary import summarise
from conformance.selftest import models
from conformance.selftest.test_gate import save_mutant
from reference.data import fixture
from reference.datasets.items import Item
from reference.registry import find_track
from reference.scores import Headline, Result

pytestmark = pytest.mark.usefixtures("one_process")

DEPTH = find_track("depth")
ITEMS = [Item(str(n), "model", str(n)) for n in range(60)]
HEADLINE = Headline("F-score", "f", 100.0)


def entry(name: str, values: np.ndarray, **facts) -> Entry:
    results = {i.id: Result(i.id, {"f": float(v)}) for i, v in zip(ITEMS, values, strict=True)}
    summary = summarise(HEADLINE, ITEMS, results)
    run = Run(name, "model", "", "", "", "")
    return Entry(name, scoring=Scoring(DEPTH, run, Path(), (), summary, (), ()), **facts)


def places(*entries: Entry) -> dict[str, str]:
    dataset = SimpleNamespace(track=DEPTH, of=lambda part: ITEMS)
    found = placed(entries, SimpleNamespace(dataset=dataset))
    return {e.name: f"{e.place}{'=' if e.tied else ''}" for e in found}


@given(st.integers(0, 2**32 - 1))
def test_a_constant_lead_wins_and_noise_does_not(seed: int) -> None:
    """However noisy pictures are: what counts is the difference on each. Two that share a place
    leave the next one its number.
    """
    rng = np.random.default_rng(seed)
    pictures, noise = rng.uniform(0.2, 0.8, 60), np.resize([0.1, -0.1], 60)
    lead = pictures + 0.01
    found = places(
        entry("b", pictures),
        entry("d", pictures - 0.2),
        entry("noisy a", lead - 0.001 + noise),
        entry("a", lead),
    )
    assert found == {"a": "1", "noisy a": "1=", "b": "3", "d": "4"}


def test_what_fails_has_no_place() -> None:
    high, low = np.full(60, 0.9), np.full(60, 0.1)
    found = places(entry("fails", high, fails=("DEP-7",)), Entry("none"), entry("keeps", low))
    assert list(found.items()) == [("keeps", "1"), ("fails", "None"), ("none", "None")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two equal models of one file name, one that breaks a rule, and one that is no model."""
    place = tmp_path_factory.mktemp("submissions")
    model = models.write(DEPTH, tmp_path_factory.mktemp("model"))["model"]
    for team in ("blue", "green"):
        (place / team).mkdir()
        shutil.copy(model, place / team / "model.onnx")
    save_mutant("depth up to 1.001", place / "red.onnx")
    (place / "grey.onnx").write_text("no model")
    (place / "notes.txt").write_text("not a submission")
    return place


def rank(folder: Path, work: Path, *more: str) -> int:
    data = str(fixture("samples/depth"))
    kept = ["--track=depth", f"--results={work / 'r.sqlite'}", "--no-estimate"]
    return main(["rank", data, str(folder), *kept, *more])


def test_a_folder_of_submissions(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each form says the same; a second run computes nothing."""
    table, page = tmp_path / "t.csv", tmp_path / "t.html"
    assert rank(folder, tmp_path, "--json", f"--csv={table}", f"--html={page}") == 1
    entries = json.loads(capsys.readouterr().out)["entries"]
    assert [(e["submission"], e["place"], e["tied"], e["fails"]) for e in entries] == [
        ("blue", 1, False, []),
        ("green", 1, True, []),
        ("red", None, False, ["DEP-7"]),
        ("grey", None, False, ["cannot be opened"]),
    ]
    assert entries[0]["score"] == entries[1]["score"] > 1
    assert entries[0]["low"] < entries[0]["score"] < entries[0]["high"]
    assert "grey.onnx is not an ONNX model" in entries[3]["problems"][0]
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["submission"] for row in rows] == ["blue", "green", "red", "grey"]
    assert float(rows[0]["score"]) == entries[0]["score"]
    assert rows[2]["fails"] == "DEP-7"
    assert page.read_text().count("<tr>") == 5

    monkeypatch.setattr("conformance.scoring.engines.Worker", None)
    assert rank(folder, tmp_path) == 1
    text = capsys.readouterr().out
    assert f"1=     green       {entries[0]['score']:.2f}" in text
    assert "\nred: DEP-7: " in text


def test_measured_goes_before_an_estimate() -> None:
    """And only a measurement is simply over the limit."""
    values = np.full(60, 0.5)
    times = {
        "measured": Latency(80.0, 80.0, 80.0, measured=True),
        "estimate": Latency(80.0, 60.0, 99.0, measured=False, basis="QAIRT x"),
    }
    entries = [entry(name, values, latency=time) for name, time in times.items()]
    kinds = [row["latency_kind"] for row in as_rows(DEPTH, entries)]
    assert kinds == ["measured", "estimate"]
    assert as_text(DEPTH, "a title", entries).splitlines()[-1] == "  estimates: QAIRT x"
    page = as_html(DEPTH, "a <title>", entries)
    assert "80 ms (60..99, estimate)" in page
    assert "80 ms (measured)" in page
    assert "a &lt;title&gt;" in page


def test_names_are_told_apart(tmp_path: Path) -> None:
    for name in ("a.onnx", "a.zip", "b.onnx", "b.onnx.data", ".hidden.onnx"):
        (tmp_path / name).touch()
    (tmp_path / "c.d").mkdir()
    assert list(find_submissions(tmp_path)) == ["a.onnx", "a.zip", "b", "c.d"]


def test_nothing_to_rank(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rank(tmp_path, tmp_path) == 2
    assert "holds no submission" in capsys.readouterr().err
    assert rank(tmp_path / "none", tmp_path) == 2
    assert "no such folder" in capsys.readouterr().err
