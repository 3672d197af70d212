"""Scoring: the number is the metric's, nothing is scored twice, and what fails is named."""

import csv
import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from conformance.cli import main
from conformance.scoring.datasets import open_dataset
from conformance.scoring.kept import read_scores
from conformance.scoring.store import Run, Store
from conformance.selftest import models
from conformance.selftest.samples import MISBEHAVING, copied, grey_depth, many_texts
from reference.data import fixture
from reference.install import install_command
from reference.pidnet.cityscapes import CITYSCAPES
from reference.registry import find_track
from reference.scores import Result


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Path]]:
    """The conforming little models of every track."""
    made = {}
    for name in ("segmentation", "retrieval", "depth", "pidnet"):
        made[name] = models.write(find_track(name), tmp_path_factory.mktemp(name))
    return made


def score(track: str, data: Path, files: dict[str, Path], results: Path, *more: str) -> list[str]:
    """The arguments of `lpcvc score`."""
    specs = [f"{part}={path}" for part, path in files.items()]
    submission = [word for spec in specs for word in ("--submission", spec)]
    given = ["--track", track, "--data", str(data), "--results", str(results)]
    return ["score", *given, *submission, *more]


def rows(path: Path) -> list[tuple]:
    """What a file of results says of items, time apart."""
    query = "SELECT run, item, numbers, array, error, note FROM results ORDER BY run, item"
    with sqlite3.connect(path) as database:
        return database.execute(query).fetchall()


def outputs(track: str, path: Path) -> list[np.ndarray]:
    """The answers to a sample set, by onnxruntime itself."""
    session = onnxruntime.InferenceSession(str(path))
    dataset = open_dataset(find_track(track), fixture(f"samples/{track}"))
    part = find_track(track).parts[0]
    return [session.run(None, dataset.feeds(part, item))[0] for item in dataset.of(part.name)]


@pytest.mark.parametrize("track", ["segmentation", "depth", "pidnet"])
def test_the_number_is_the_metrics(
    track: str,
    written: dict[str, dict[str, Path]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Pictures and tables included, against the metric on what onnxruntime itself answers."""
    from reference.depth.metric import score as f_score
    from reference.pidnet.metric import Confusion
    from reference.segmentation.metric import score as iou

    data = fixture(f"samples/{track}")
    arguments = score(track, data, written[track], tmp_path / "r.sqlite")
    more = ["--table", str(tmp_path / "t.csv"), "--pictures", str(tmp_path / "worst")]
    more += ["--keep", str(tmp_path / "kept.json"), "--html", str(tmp_path / "page.html")]
    assert main([*arguments, *more]) == 0
    told = capsys.readouterr().out
    dataset = open_dataset(find_track(track), data)
    answers = outputs(track, written[track]["model"])
    truths = [dataset.truth(item) for item in dataset.items]
    pairs = list(zip(answers, truths, strict=True))
    if track == "segmentation":
        wanted = 100 * np.mean([iou(answer, truth).iou for answer, truth in pairs])
    elif track == "depth":
        wanted = np.mean([f_score(a, t.depth, t.confidence).f_score for a, t in pairs])
    else:
        confusion = Confusion()
        for answer, truth in pairs:
            confusion.add(answer, truth)
        wanted = confusion.score().miou
    assert f" {wanted:.4f} (95 % interval " in told
    assert f" {wanted:.2f}</h1>" in (tmp_path / "page.html").read_text()
    (kept,) = read_scores(tmp_path / "kept.json")
    assert (kept.runtime, kept.submission, kept.items) == ("ort", "model.onnx", len(dataset.items))
    assert kept.value == pytest.approx(wanted)
    assert kept.interval is not None
    assert f"interval {kept.interval[0]:.2f}..{kept.interval[1]:.2f})" in told
    with (tmp_path / "t.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [row["item"] for row in table] == [item.id for item in dataset.items]
    drawn = sorted((tmp_path / "worst").iterdir())
    assert len(drawn) == min(8, len(dataset.items))
    with Image.open(drawn[0]) as sheet:
        assert sheet.width > 3 * 240
        if track == "pidnet":
            right = sheet.crop((sheet.width * 2 // 3, 0, *sheet.size))
            colours = {colour for _, colour in right.getcolors(sheet.width * sheet.height)}
            known = dict(CITYSCAPES)
            assert colours > {known["sky"], known["pole"], (0, 0, 0)}, "the report's own"


def test_recall_is_the_metrics(
    written: dict[str, dict[str, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = fixture("samples/retrieval")
    more = ["--pictures", str(tmp_path / "worst")]
    files = written["retrieval"]
    assert main([*score("retrieval", data, files, tmp_path / "r.sqlite"), *more]) == 0
    dataset = open_dataset(find_track("retrieval"), data)
    tables = []
    for part in find_track("retrieval").parts:
        session = onnxruntime.InferenceSession(str(files[part.name]))
        feeds = [dataset.feeds(part, item) for item in dataset.of(part.name)]
        table = np.concatenate([session.run(None, each)[0] for each in feeds])
        tables.append(table / np.linalg.norm(table, axis=1, keepdims=True))
    near = np.argsort(-(tables[0] @ tables[1].T), axis=1)[:, :10]
    wanted = [{int(id) for id in item.truth} for item in dataset.of("image")]
    recalls = [
        len(set(top) & ids) / len(ids) for top, ids in zip(near.tolist(), wanted, strict=True)
    ]
    assert f"Recall@10 {100 * np.mean(recalls):.4f} " in capsys.readouterr().out
    assert len(list((tmp_path / "worst").iterdir())) == 4


def test_nothing_is_scored_twice(
    written: dict[str, dict[str, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not the same run, and not the text encoder of a submission with another image encoder."""
    data, files = fixture("samples/retrieval"), dict(written["retrieval"])
    results = tmp_path / "r.sqlite"
    passes = []
    for _ in range(2):
        assert main(score("retrieval", data, files, results)) == 0
        passes.append(capsys.readouterr().out)
    import onnx

    other = onnx.load(files["image"])
    other.graph.doc_string = "another file"
    files["image"] = tmp_path / "other.onnx"
    onnx.save(other, files["image"])
    assert main(score("retrieval", data, files, results)) == 0
    passes.append(capsys.readouterr().out)
    for count, told in zip((24, 0, 4), passes, strict=True):
        assert f" {count} passes now" in told


def test_a_killed_run_goes_on(written: dict[str, dict[str, Path]], tmp_path: Path) -> None:
    """SIGKILL in the middle: what was done stays, the rest is done once, all as if in one go."""
    data, results = many_texts(tmp_path / "data", texts=400), tmp_path / "r.sqlite"
    arguments = score("retrieval", data, written["retrieval"], results)
    command = [sys.executable, "-m", "conformance.cli", *arguments]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(tmp_path)},  # it cannot tidy up
    )
    while process.poll() is None and (not results.exists() or _count(results) < 50):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    kept = _count(results)
    assert 50 <= kept < 401, "it was killed while it was scoring"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f" {401 - kept} passes now" in done.stdout
    assert main(score("retrieval", data, written["retrieval"], tmp_path / "one.sqlite")) == 0
    assert rows(results) == rows(tmp_path / "one.sqlite")


def _count(path: Path) -> int:
    try:
        with sqlite3.connect(path) as database:
            return database.execute("SELECT count(*) FROM results").fetchone()[0]
    except sqlite3.Error:  # not made yet
        return 0


def test_workers_change_nothing(written: dict[str, dict[str, Path]], tmp_path: Path) -> None:
    data = fixture("samples/retrieval")
    for workers in ("1", "3"):
        arguments = score("retrieval", data, written["retrieval"], tmp_path / workers)
        assert main([*arguments, "--workers", workers]) == 0
    assert rows(tmp_path / "1") == rows(tmp_path / "3")


def test_an_item_that_fails_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One raises, one ends the process, one is NaN, one picture is damaged: the others count."""
    (tmp_path / "moody.py").write_text(MISBEHAVING, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    data = grey_depth(tmp_path / "data", [200, 40, 200, 80, 120, 240, 200])
    broken = data / "images/006-level-200.png"
    broken.write_bytes(broken.read_bytes()[:60])
    arguments = ["score", "--track", "depth", "--data", str(data), "--submission", "moody:build"]
    table = tmp_path / "t.csv"
    assert main([*arguments, "--runtime", "torch", "--table", str(table)]) == 1
    told = capsys.readouterr().out
    assert "no answer: 001-level-40: ValueError: cannot see in the dark" in told
    assert "no answer: 003-level-80: moody:build crashed its runtime (exit code 3)" in told
    assert "no answer: 006-level-200: " in told
    assert "odd answer: 004-level-120: 307200 of 307200 values are not finite" in told
    assert "without the items that have no answer (3): not an official score" in told
    with table.open(encoding="utf-8") as file:
        failed = [row["item"] for row in csv.DictReader(file) if row["error"]]
    assert failed == ["001-level-40", "003-level-80", "006-level-200"]


def test_a_text_without_embedding_is_named_and_never_found(
    written: dict[str, dict[str, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An encoder to which a watermelon is NaN."""
    import onnx
    from onnx import numpy_helper

    from reference.tokenizer import tokenize

    model = onnx.load(written["retrieval"]["text"])
    (table,) = (each for each in model.graph.initializer if each.name == "table")
    files = {**written["retrieval"], "text": tmp_path / "short.onnx"}
    data = copied("retrieval", tmp_path)
    listed = (data / "txt_list.csv").read_text(encoding="utf-8")
    (data / "txt_list.csv").write_text(
        listed.replace("the face of a cat from near by", "\N{WATERMELON}"), encoding="utf-8"
    )
    others = [line.split(",")[1] for line in listed.splitlines()[1:]]
    ids = {int(id) for text in others for id in tokenize(text).ids if id < 49406}
    lost = {int(id) for id in tokenize("\N{WATERMELON}").ids if id < 49406} - ids
    values = numpy_helper.to_array(table).copy()
    values[sorted(lost)] = np.nan
    table.CopyFrom(numpy_helper.from_array(values, "table"))
    onnx.save(model, files["text"])
    assert main(score("retrieval", data, files, tmp_path / "r.sqlite")) == 1
    told = capsys.readouterr().out
    assert "no answer: 6: the embedding has a NaN or infinity" in told
    assert "without the items that have no answer (1): not an official score" in told
    results = {item: array for _, item, _, array, _, _ in rows(tmp_path / "r.sqlite") if array}
    assert "6" not in results
    assert len(results) == 4 + 19


def test_failed_items_are_tried_again(
    written: dict[str, dict[str, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run("a", "model", "m", "d", "r", "v")
    with Store(tmp_path / "r.sqlite") as kept:
        number = kept.open_run(run)
        kept.add(number, Result("one", error="no memory"))
        kept.add(number, Result("two", {"iou": 0.5}, np.arange(3)))
        assert kept.answered(number) == {"two"}
        kept.add(number, Result("one", {"iou": float("nan")}))
        assert kept.answered(number) == {"one", "two"}
        one, two = sorted(kept.results(number), key=lambda result: result.item)
    assert np.isnan(one.numbers["iou"])
    assert (two.numbers, two.array.tolist()) == ({"iou": 0.5}, [0, 1, 2])


@pytest.mark.parametrize("field", ["part", "model", "data", "runtime", "metric"])
def test_every_fact_is_in_the_key(field: str) -> None:
    run = Run("a", "model", "m", "d", "r", "v")
    assert replace(run, **{field: "other"}).key != run.key
    assert replace(run, label="another word").key == run.key


def test_a_model_that_never_answers_ends_the_run(
    written: dict[str, dict[str, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = fixture("samples/segmentation")
    wrong = {"model": written["depth"]["model"]}
    assert main(score("segmentation", data, wrong, tmp_path / "r.sqlite")) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "the first 10 items all failed; " in told.err


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--workers", "0"], "--workers is below 1"),
        (["--address", "auto"], "--address is of a Ray cluster"),
        (["--engine", "ray", "--address", "127.0.0.1:1"], "nobody answers at 127.0.0.1:1"),
        (["--compare", "none.sqlite"], "no such file: none.sqlite"),
        (["--runtime", "torch"], "is ONNX, not PyTorch; take --runtime ort"),
        (["--runtime", "tpu"], "unknown runtime 'tpu'; did you mean npu?"),
        (["--runtime", "npu", "--device", "Nokia 3310"], "Nokia 3310"),
        (["--results", "notes.txt"], "notes.txt cannot be used for results"),
        (["--results", "other.sqlite"], "other.sqlite holds other tables"),
        (["--data", "nowhere"], "no such folder"),
    ],
)
def test_mistakes_are_one_line(
    more: list[str],
    told: str,
    written: dict[str, dict[str, Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("not a database, " * 99, encoding="utf-8")
    with sqlite3.connect("other.sqlite") as database:
        database.execute("CREATE TABLE mine (a)")
    arguments = score("depth", fixture("samples/depth"), written["depth"], tmp_path / "r.sqlite")
    assert main([*arguments, *more]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert told in said.err
    assert said.err.count("\n") == 1


_WITHOUT_NUMBA = """
import sys
sys.modules["numba"] = None
from conformance.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_without_numba_the_remedy_comes_first(
    written: dict[str, dict[str, Path]], tmp_path: Path
) -> None:
    data = fixture("samples/depth")
    arguments = score("depth", data, written["depth"], tmp_path / "r.sqlite")
    command = [sys.executable, "-c", _WITHOUT_NUMBA, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    remedy = install_command("score")
    assert done.stderr == f"lpcvc: scoring needs numba, which is not installed; {remedy}\n"
    assert done.returncode == 2
    assert not list(tmp_path.iterdir())


def test_two_runs_are_compared_by_item(
    written: dict[str, dict[str, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, results = copied("depth", tmp_path), tmp_path / "r.sqlite"
    files = written["depth"]
    assert main(score("depth", data, files, results)) == 0
    assert main([*score("depth", data, files, results), "--compare", str(results)]) == 2
    assert "has no other run on this data set" in capsys.readouterr().err
    import onnx

    other = onnx.load(files["model"])
    other.graph.doc_string = "another file"
    onnx.save(other, tmp_path / "same.onnx")
    again = score("depth", data, {"model": tmp_path / "same.onnx"}, results)
    assert main([*again, "--compare", str(results)]) == 0
    told = capsys.readouterr().out
    assert "against  model.onnx: +0.0000 (95 % interval +0.00..+0.00), no difference shown" in told
    assert "better on 0, worse on 0 of 4 items" in told


_PEAK = """
import resource, sys
from conformance.cli import main
code = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.slow
def test_memory_is_that_of_an_item(written: dict[str, dict[str, Path]], tmp_path: Path) -> None:
    """Ten times the pictures, the same peak."""
    peaks = []
    for count in (100, 1000):
        data = grey_depth(tmp_path / str(count), [number % 200 for number in range(count)])
        arguments = score("depth", data, written["depth"], tmp_path / f"{count}.sqlite")
        command = [sys.executable, "-c", _PEAK, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stderr.split()[-1]))
    assert peaks[1] < 1.1 * peaks[0]


def test_results_are_kept_for_the_user_and_nothing_appears(
    written: dict[str, dict[str, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LPCVC_CACHE", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (model,) = written["depth"].values()
    data = fixture("samples") / "depth"
    assert main(["score", "--track=depth", f"--data={data}", f"--submission={model}"]) == 0
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["scores.sqlite"]
    assert list((tmp_path / "work").iterdir()) == []
