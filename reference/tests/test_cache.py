"""The cache of compiled models: complete entries or none, and keys that see all of a model."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from reference.cache import Cache, default_folder, model_digest, parse_size
from reference.errors import SubmissionError
from reference.tests.npu_models import FLOAT, model, net, one, save


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def write(cache: Cache, key: str, text: str = "binary") -> Path:
    with cache.fill(key) as draft:
        (draft / "model.bin").write_text(text)
        (draft / "log").write_text("said")
    return cache.folder / key


def test_hit_and_miss(cache: Cache) -> None:
    assert cache.find("a") is None
    entry = write(cache, "a")
    assert cache.find("a") == entry
    assert (entry / "model.bin").read_text() == "binary"
    assert cache.find("b") is None
    assert [path.name for path in cache.folder.iterdir()] == ["a"]


TEARS: dict[str, Callable[[Path], object]] = {
    "no manifest": lambda entry: (entry / "files.json").unlink(),
    "half a manifest": lambda entry: (entry / "files.json").write_text('{"log": '),
    "other manifest": lambda entry: (entry / "files.json").write_text("[]"),
    "missing file": lambda entry: (entry / "model.bin").unlink(),
    "empty file": lambda entry: (entry / "model.bin").write_text(""),
    "other bytes": lambda entry: (entry / "model.bin").write_text("binarY"),
    "foreign file": lambda entry: (entry / "extra").write_text(""),
    "binary manifest": lambda entry: (entry / "files.json").write_bytes(b"\xff\xfe\x00"),
}


@pytest.mark.parametrize("tear", TEARS.values(), ids=TEARS)
def test_a_torn_entry_is_a_miss_and_is_replaced(cache: Cache, tear) -> None:
    entry = write(cache, "a")
    tear(entry)
    assert cache.find("a") is None
    assert cache.find(write(cache, "a", "new").name) == entry
    assert (entry / "model.bin").read_text() == "new"


def test_what_fails_leaves_nothing(cache: Cache) -> None:
    def fail() -> None:
        with cache.fill("a") as draft:
            (draft / "model.bin").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(cache.folder.iterdir()) == []


def test_what_a_killed_process_left_is_swept(cache: Cache) -> None:
    for name, age in ((".draft-old", 8 * 86400), (".draft-new", 60)):
        (cache.folder / name).mkdir(parents=True)
        os.utime(cache.folder / name, (time.time() - age,) * 2)
    write(cache, "a")
    assert sorted(path.name for path in cache.folder.iterdir()) == [".draft-new", "a"]


def test_the_first_of_two_processes_wins(cache: Cache) -> None:
    with cache.fill("a") as draft:
        (draft / "model.bin").write_text("slow")
        write(cache, "a", "fast")
    assert (cache.folder / "a" / "model.bin").read_text() == "fast"
    assert [path.name for path in cache.folder.iterdir()] == ["a"]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SubmissionError, match="LPCVC_CACHE"), Cache(tmp_path / "file").fill("a"):
        pass


def made(cache: Cache, *keys: str, size: int = 1000, age: float = 7200.0) -> None:
    """Entries of one file and somewhat more than `size` bytes, the first unused for longest."""
    for index, key in enumerate(keys):
        write(cache, key, "x" * size)
        then = time.time() - age + index
        os.utime(cache.folder / key / "files.json", (then, then))


def kept(cache: Cache) -> list[str]:
    return [entry.folder.name for entry in cache.entries()]


def test_beyond_the_limit_the_oldest_use_goes(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(cache, "a", "b", "c")
    assert cache.find("a"), "used now"
    assert kept(cache) == ["b", "c", "a"]
    monkeypatch.setenv("LPCVC_CACHE_LIMIT", "3.6kB")
    write(cache, "d", "x" * 1000)
    assert kept(cache) == ["c", "a", "d"]
    assert cache.find("d")
    assert {path.name for path in cache.folder.iterdir()} == {"a", "c", "d"}, "no drafts"


def test_what_was_used_in_the_last_hour_stays_beyond_the_limit(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(cache, "a", "b", age=1800)
    monkeypatch.setenv("LPCVC_CACHE_LIMIT", "0")
    write(cache, "c")
    assert kept(cache) == ["a", "b", "c"]
    assert [entry.folder.name for entry in cache.prune(0)] == ["a", "b", "c"], "asked for"
    assert kept(cache) == []


def test_what_others_keep_there_is_no_entry(cache: Cache) -> None:
    made(cache, "a")
    (cache.folder / "scores.sqlite").write_text("theirs")
    (cache.folder / ".draft-x").mkdir()
    assert kept(cache) == ["a"]
    cache.prune(0)
    assert {path.name for path in cache.folder.iterdir()} == {"scores.sqlite", ".draft-x"}


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("12", 12), ("500MB", 5 * 10**8), ("1.5 GiB", 3 * 2**29), ("2g", 2 * 10**9)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text, "--to") == size


@pytest.mark.parametrize("text", ["", "-1", "nan", "2 PB", "GB", "1e3"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(SubmissionError, match=f"--to '{text}' is no size"):
        parse_size(text, "--to")


def test_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LPCVC_CACHE", str(tmp_path))
    assert default_folder() == Cache().folder == tmp_path
    monkeypatch.delenv("LPCVC_CACHE")
    assert default_folder().name == "lpcvc"


def external(folder: Path, location: str = "weights.data", fill: float = 1.0) -> Path:
    """A model whose weights are outside."""
    built = net()
    kernel = next(t for t in built.graph.initializer if t.name == "kernel_2")
    data = np.full(kernel.dims, fill, np.float32).tobytes()
    kernel.ClearField("raw_data")
    kernel.data_location = TensorProto.EXTERNAL
    kernel.external_data.add(key="location", value=location)
    kernel.external_data.add(key="length", value=str(len(data)))
    onnx.save(built, folder / "my.onnx")
    (folder / "weights.data").write_bytes(data)
    return folder / "my.onnx"


def test_digest_sees_external_data(tmp_path: Path) -> None:
    first = model_digest(external(tmp_path))
    assert model_digest(external(tmp_path)) == first
    assert model_digest(external(tmp_path, fill=2.0)) != first


def test_digest_sees_external_data_in_a_branch(tmp_path: Path) -> None:
    """A Constant inside an If."""
    value = numpy_helper.from_array(np.zeros(4, np.float32), "v")
    value.ClearField("raw_data")
    value.data_location = TensorProto.EXTERNAL
    value.external_data.add(key="location", value="v.data")
    out = helper.make_tensor_value_info("o", FLOAT, (4,))
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["o"], value=value)], "b", [], [out]
    )
    choice = helper.make_node("If", ["b"], ["y"], then_branch=branch, else_branch=branch)
    built = model([choice], [("b", TensorProto.BOOL, ())], [("y", FLOAT, (4,))])
    onnx.save(built, tmp_path / "my.onnx")
    digests = set()
    for byte in b"\0\1":
        (tmp_path / "v.data").write_bytes(bytes([byte]) * 16)
        digests.add(model_digest(tmp_path / "my.onnx"))
    assert len(digests) == 2


def test_digest_sees_the_model(tmp_path: Path) -> None:
    values = ("x", FLOAT, (1, 8)), ("y", FLOAT, (1, 8))
    digests = set()
    for op in ("Relu", "Abs"):
        onnx.save(one(op, values[:1], values[1]), tmp_path / "my.onnx")
        digests.add(model_digest(tmp_path / "my.onnx"))
    assert len(digests) == 2


@pytest.mark.parametrize("location", ["gone.data", "../weights.data", "sub/../../weights.data"])
def test_data_that_is_not_beside_the_model(tmp_path: Path, location: str) -> None:
    (tmp_path / "weights.data").write_bytes(b"secret")
    (tmp_path / "inner").mkdir()
    path = external(tmp_path / "inner", location)
    with pytest.raises(SubmissionError, match="not beside it"):
        model_digest(path)


def test_a_file_that_was_cut_short(tmp_path: Path) -> None:
    path = save(net, tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SubmissionError, match="was cut short"):
        model_digest(path)
