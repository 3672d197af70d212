"""A cluster of machines that share no disk, one of which dies: the results of one process."""

import ctypes
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from conformance.scoring.cargo import Cargo
from conformance.scoring.cluster import RayEngine
from conformance.scoring.engines import local
from conformance.scoring.job import Job
from conformance.scoring.worker import Worker
from conformance.selftest import models
from conformance.selftest.samples import many_texts
from reference.install import install_command
from reference.process import Limits
from reference.registry import find_track
from reference.scores import Result

_NEW_NAMESPACE, _PRIVATE = 0x20000, 0x44000  # CLONE_NEWNS; MS_REC and MS_PRIVATE


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


def comparable(results: list[Result]) -> dict[str, tuple[bytes, str]]:
    return {
        result.item: (b"" if result.array is None else result.array.tobytes(), result.error)
        for result in results
    }


def test_files_that_were_carried_score_as_those_they_were(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    job = job_in(tmp_path / "own", 3)
    cargo = Cargo.of(job)
    names = {path.name for path, _, _ in cargo.files}
    assert {"weights.bin", "img_list.csv", "txt_list.csv", "picture-2.jpg"} < names
    with Worker(job) as worker:
        wanted = [worker.score(number) for number in range(3)]
    assert cargo.is_here()
    blocks = list(cargo.blocks())
    (tmp_path / "own").rename(tmp_path / "elsewhere")
    assert not cargo.is_here()
    for _ in range(2):  # the second finds what the first has written
        cargo.unload(blocks, np.asarray)
    with Worker(cargo.moved(job)) as worker:
        found = [worker.score(number) for number in range(3)]
    assert comparable(found) == comparable(wanted)
    assert not found[0].error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", cargo.name]


def test_a_file_that_has_changed_is_not_here(tmp_path: Path) -> None:
    cargo = Cargo.of(job_in(tmp_path, 1))
    assert cargo.is_here()
    os.utime(tmp_path / "data/txt_list.csv", ns=(0, 0))
    assert not cargo.is_here()


def _alone(folder: Path) -> None:
    """What this thread starts sees an empty folder."""
    libc = ctypes.CDLL(None, use_errno=True)
    calls = (
        (libc.unshare, _NEW_NAMESPACE),
        (libc.mount, b"none", b"/", None, _PRIVATE, None),
        (libc.mount, b"none", bytes(folder), b"tmpfs", 0, None),
    )
    for call, *arguments in calls:
        if call(*arguments):
            raise OSError(ctypes.get_errno(), "no namespace")


def _node(cluster: Any, folder: Path) -> Any:
    """A node that does not see the folder. It ends with the thread that starts it."""
    _alone(folder)
    return cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="hides a folder from a node as Linux can")
def test_a_machine_that_dies_loses_nothing(tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("ray", reason=f"Ray is not installed: {install_command('ray')}")
    from ray.cluster_utils import Cluster

    if os.geteuid() != 0:
        pytest.skip("hiding a folder from a node needs root")
    pictures = 1000
    # Which only the main thread may.
    monkeypatch.setattr("ray._private.utils.set_sigterm_handler", lambda handler: None)
    job = job_in(tmp_path / "own", pictures)
    items = {number: str(number) for number in range(pictures)}
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "object_store_memory": 80 * 2**20},
    )
    with ExitStack() as stack:
        stack.callback(cluster.shutdown)
        nodes, rooms = [], [tmp_path / "one", tmp_path / "two"]
        for room in rooms:
            room.mkdir()
            monkeypatch.setenv("TMPDIR", str(room))
            thread = stack.enter_context(ThreadPoolExecutor(1))
            nodes.append(thread.submit(_node, cluster, tmp_path / "own").result())
        engine = stack.enter_context(
            closing(RayEngine(cluster.address)(job, items, 3, lambda seconds: None))
        )
        results = []
        while not all(any(room.glob("lpcvc-*/*")) for room in rooms):
            results.append(next(engine))
        assert len(results) < pictures / 2, "the others were there before it was over"
        cluster.remove_node(nodes[0], allow_graceful=False)
        results += engine
    assert len(results) == pictures, "each item once"
    assert not any(result.error for result in results)
    assert comparable(results) == comparable(list(local(job, items, 1, lambda seconds: None)))
    assert list(rooms[1].glob("lpcvc-*")) == [], "the machine that is left has put all away"
