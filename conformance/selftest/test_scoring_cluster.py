"""A cluster of machines that share no disk, one of which dies: the results of one process."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from conformance.scoring.cargo import Cargo
from conformance.scoring.cluster import RayEngine
from conformance.scoring.engines import local
from conformance.scoring.job import Job
from conformance.scoring.worker import Worker
from conformance.selftest import models
from conformance.selftest.nodes import cluster_of_nodes
from conformance.selftest.samples import many_texts
from conformance.submission.opening import split_spec
from reference.install import install_command
from reference.process import Limits
from reference.registry import find_track
from reference.scores import Result


def job_in(folder: Path, pictures: int) -> Job:
    """The image encoder of a submission on so many pictures, its weights in a file beside it."""
    track = find_track("retrieval")
    folder.mkdir(exist_ok=True)
    files = models.write(track, folder)
    model = onnx.load(files["image"])
    own = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    onnx.save(model, files["image"], **own)
    data = many_texts(folder / "data", texts=20, images=pictures)
    specs = tuple(f"{part}={path}" for part, path in files.items())
    return Job(track.id, "image", data, specs, "ort", track.device, Limits(), threads=1)


def another(job: Job) -> Job:
    """A submission with another image encoder on the same data."""
    part, path = split_spec(job.track, job.submission[0])
    model = onnx.load(path)
    head = next(each for each in model.graph.initializer if each.name == "projection")
    head.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(head), head.name))
    new = Path(path).with_name("image-2.onnx")
    onnx.save(model, new)
    return replace(job, submission=(f"{part}={new}", *job.submission[1:]))


def comparable(results: list[Result]) -> dict[str, tuple[bytes, str]]:
    return {
        result.item: (b"" if result.array is None else result.array.tobytes(), result.error)
        for result in results
    }


def test_files_that_were_carried_score_as_those_they_were(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    job = job_in(tmp_path / "own", 3)
    cargo = Cargo.of(job, "lpcvc-carried")
    names = {path.name for path, _, _ in cargo.files}
    assert {"weights.bin", "img_list.csv", "txt_list.csv", "picture-2.jpg"} < names
    with Worker(job) as worker:
        wanted = [worker.score(number) for number in range(3)]
    assert cargo.is_here()
    assert cargo.missing() == list(range(len(cargo.files)))
    sent = {number: list(cargo.blocks(number)) for number in cargo.missing()}
    (tmp_path / "own").rename(tmp_path / "elsewhere")
    assert not cargo.is_here()
    for _ in range(2):  # two workers that came at the same time
        cargo.unload(sent, np.asarray)
    assert not cargo.missing()
    with Worker(cargo.moved(job)) as worker:
        found = [worker.score(number) for number in range(3)]
    rest = replace(cargo, files=cargo.files[1:])
    rest.tidy()
    assert cargo.missing() == [0]
    assert rest.missing() == []
    assert comparable(found) == comparable(wanted)
    assert not found[0].error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", cargo.name]


def test_a_file_that_has_changed_is_not_here(tmp_path: Path) -> None:
    cargo = Cargo.of(job_in(tmp_path, 1), "lpcvc-here")
    assert cargo.is_here()
    os.utime(tmp_path / "data/txt_list.csv", ns=(0, 0))
    assert not cargo.is_here()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="hides a folder from a node as Linux can")
def test_a_machine_that_dies_loses_nothing(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason=f"Ray is not installed: {install_command('ray')}")
    if os.geteuid() != 0:
        pytest.skip("hiding a folder from a node needs root")
    pictures = 1000
    job = job_in(tmp_path / "own", pictures)
    items = {number: str(number) for number in range(pictures)}
    rooms = [tmp_path / "one", tmp_path / "two"]
    with (
        cluster_of_nodes(tmp_path / "own", rooms) as (cluster, nodes),
        RayEngine(cluster.address) as engine,
    ):
        scored = engine(job, items, 3, lambda seconds: None)
        results = []
        while not all(any(room.glob("lpcvc-*/*")) for room in rooms):
            results.append(next(scored))
        assert len(results) < pictures / 2, "the others were there before it was over"
        cluster.remove_node(nodes[0], allow_graceful=False)
        results += scored
        data = {path: path.stat().st_ino for path in rooms[1].rglob("*.jpg")}
        assert len(data) == pictures
        other = another(job)
        few = {number: str(number) for number in range(60)}
        more = list(engine(other, few, 2, lambda seconds: None))
        assert {path: path.stat().st_ino for path in rooms[1].rglob("*.jpg")} == data, "kept"
        (model,) = rooms[1].rglob("image*.onnx")
        assert model.name == "image-2.onnx", "the model before is gone"
    assert len(results) == pictures, "each item once"
    assert not any(result.error for result in results)
    assert comparable(results) == comparable(list(local(job, items, 1, lambda seconds: None)))
    assert comparable(more) == comparable(list(local(other, few, 1, lambda seconds: None)))
    assert comparable(more).items().isdisjoint(comparable(results).items())
    assert list(rooms[1].glob("lpcvc-*")) == [], "the machine that is left has put all away"
