"""The rows of the hub, what its files survive, and how its processes end."""

import asyncio
import hashlib
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("qai_hub", reason="needs the hub extra")

from reference.aihub.access import Unknown
from reference.aihub.blobs import Blob, Blobs, TooLarge
from reference.aihub.codec import decode, encode
from reference.aihub.execute import Place, failed
from reference.aihub.local import local_hub
from reference.aihub.records import (
    Asked,
    DatasetRecord,
    JobRecord,
    JobState,
    ModelRecord,
)
from reference.aihub.scheduler import Scheduler
from reference.aihub.store import Store


@given(st.one_of(*map(st.from_type, (JobRecord, ModelRecord, DatasetRecord))))
def test_records_come_back_as_they_were(record) -> None:
    assert repr(decode(type(record), encode(record))) == repr(record)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "hub.sqlite")


def new_job(store: Store) -> JobRecord:
    asked = Asked("inference", "name", ("m1",), ("Samsung Galaxy S24",))
    job = JobRecord("j1", "me@team.org", asked, JobState.CREATED, 1.0, "name", attempt=1)
    store.insert(job)
    return job


def test_changes_do_not_undo_each_other(store: Store) -> None:
    """Renamed by somebody who had read it before it was finished, and the other way round."""
    job = new_job(store)
    done = replace(job, state=JobState.DONE)
    assert store.finish(done)
    store.update(job, name="another")
    kept = store.get(JobRecord, job.id)
    assert (kept.state, kept.name) == (JobState.DONE, "another")
    assert store.unfinished() == []

    again = replace(job, id="j2")
    store.insert(again)
    store.update(again, name="another")
    assert store.finish(replace(again, state=JobState.DONE))
    assert store.get(JobRecord, "j2").name == "another"


def test_an_attempt_that_was_given_up_changes_nothing(store: Store) -> None:
    job = new_job(store)
    store.update(job, attempt=2)
    assert not store.finish(replace(job, state=JobState.DONE))
    assert store.get(JobRecord, job.id).state == JobState.CREATED
    assert store.finish(failed(replace(job, attempt=2), "why"))
    assert not store.finish(replace(job, attempt=2, state=JobState.DONE)), "finished once"
    assert store.get(JobRecord, job.id).failure == "why"


def test_records_are_added_all_or_none(store: Store) -> None:
    job = new_job(store)
    with pytest.raises(AttributeError):
        store.insert(replace(job, id="j2"), None)
    with pytest.raises(Unknown):
        store.get(JobRecord, "j2")


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)

    async def chunks(*sizes: int) -> AsyncIterator[bytes]:
        for size in sizes:
            yield bytes(size)

    async def cut_short() -> AsyncIterator[bytes]:
        yield b"half"
        raise ConnectionError

    def receive(sent: AsyncIterator[bytes]) -> Blob:
        with blobs.draft() as draft:
            blob = asyncio.run(blobs.receive(draft, sent, 7))
            blobs.keep(draft, blob)
        return blob

    kept = receive(chunks(3, 4))
    assert kept == Blob(hashlib.sha256(bytes(7)).hexdigest(), 7)
    assert blobs.path(kept.digest).read_bytes() == bytes(7)
    assert receive(chunks(7)) == kept, "the same content is one file"
    with pytest.raises(TooLarge):
        receive(chunks(3, 5))
    with pytest.raises(ConnectionError):
        receive(cut_short())
    (tmp_path / "partial" / "of a hub that was killed").write_bytes(b"half")
    blobs.clean()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files == [blobs.path(kept.digest)]


def test_a_job_that_hangs_is_stopped(tmp_path: Path) -> None:
    import qai_hub

    device, dlc = qai_hub.Device("Samsung Galaxy S24"), "--target_runtime qnn_dlc"
    path = tmp_path / "model.onnx"
    with local_hub(runner="reference.tests.hub_runner:run", deadline=1) as hub:
        path.write_text("compile sleep 600")
        hanging = hub.client.submit_compile_job(str(path), device, options=dlc)
        path.write_text("compile sleep 0")
        next_one = hub.client.submit_compile_job(str(path), device, options=dlc)
        assert hanging.wait().message == "this job took more than 1 s and was stopped"
        assert next_one.wait().success


def alive(pid: str) -> bool:
    try:
        return "(zombie)" not in (Path("/proc") / pid / "status").read_text()
    except OSError:
        return False


def test_a_disk_that_is_full_for_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(tmp_path, "reference.tests.hub_runner:run")
    store = place.store()
    job = new_job(store)
    unfinished, asked, ended = Store.unfinished, [], threading.Event()

    def full_at_first(self: Store) -> list[JobRecord]:
        asked.append(1)
        if len(asked) == 1:
            raise sqlite3.OperationalError("database or disk is full")
        return unfinished(self)

    monkeypatch.setattr(Store, "unfinished", full_at_first)
    with Scheduler(place, 1, ended.set):
        ended.wait(60)
    assert store.get(JobRecord, job.id).failure == "m1 is not there any more"


_OF_A_CHILD = """
import tempfile
from pathlib import Path
from reference.process import ChildProcess, Limits
with ChildProcess("reference.tests.sleeping_child", "it", Path(tempfile.gettempdir()),
                  lambda seconds: None, Limits()) as child:
    print(child.ask("pid")["pid"], flush=True)
    child.ask("sleep")
"""
_OF_A_HUB = """
import sys
from reference.aihub.local import local_hub
with local_hub() as hub:
    print(hub.process.pid, flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for the process in /proc")
@pytest.mark.parametrize("program", [_OF_A_CHILD, _OF_A_HUB], ids=["child at work", "hub"])
def test_what_a_killed_process_had_started_ends(program: str) -> None:
    """A job that is stopped leaves no compiler behind, a test that is no hub."""
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        pid = parent.stdout.readline().strip()
        assert alive(pid)
        parent.kill()
    while alive(pid):
        time.sleep(0.1)
