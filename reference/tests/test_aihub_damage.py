"""Files of the hub that are not what they were: seen at every way out, told with what helps."""

import hashlib
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

qai_hub = pytest.importorskip("qai_hub", reason="needs the hub extra")

import requests  # noqa: E402
from qai_hub.client import UserError  # noqa: E402

from conformance.cli import main  # noqa: E402
from reference.aihub.blobs import Blobs, Damaged  # noqa: E402
from reference.aihub.disposal import damaged  # noqa: E402
from reference.aihub.local import LocalHub, local_hub  # noqa: E402
from reference.aihub.records import Asked, JobRecord, JobState  # noqa: E402
from reference.aihub.store import Store  # noqa: E402
from reference.errors import SubmissionError  # noqa: E402
from reference.tests.hub_requests import (  # noqa: E402
    ask,
    blob_files,
    complete,
    download_url,
    new_model,
    page_session,
    upload_url,
)

S24 = qai_hub.Device("Samsung Galaxy S24")
DLC = "--target_runtime qnn_dlc"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub")


@pytest.fixture(scope="module")
def hub(state: Path) -> Iterator[LocalHub]:
    with local_hub(state, runner="reference.tests.hub_runner:run", workers=2) as own:
        yield own


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def become_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = [flip, cut, grow, Path.unlink, become_folder, lambda path: path.write_bytes(b"")]


def of(state: Path, content: bytes) -> Path:
    return blob_files(state)[hashlib.sha256(content).hexdigest()]


def mend(path: Path, content: bytes) -> None:
    if path.is_dir():
        path.rmdir()
    path.write_bytes(content)


@pytest.mark.parametrize("damage", DAMAGES)
def test_no_damage_leaves_a_store_of_files(
    damage: Callable[[Path], object], tmp_path: Path
) -> None:
    """Of one chunk and of several: `check` and `copy` see it, whatever it is."""
    blobs = Blobs(tmp_path / "blobs")
    for content in (b"some bytes", bytes(3 << 20)):
        source = tmp_path / "source"
        source.write_bytes(content)
        with blobs.copies() as copies:
            blob = copies.add(source)
            copies.keep()
        assert blobs.check(blob.digest) == len(content)
        damage(blobs.path(blob.digest))
        with pytest.raises(Damaged):
            blobs.check(blob.digest)
        with pytest.raises(Damaged):
            blobs.copy(blob.digest, tmp_path / "copy")
        if blobs.path(blob.digest).is_dir():
            blobs.path(blob.digest).rmdir()
        with blobs.copies() as copies:
            copies.add(source)
            copies.keep()
        assert blobs.check(blob.digest) == len(content), "the good one takes its place"


@pytest.mark.parametrize("damage", [flip, Path.unlink, DAMAGES[-1]])
def test_nothing_damaged_is_given_out(
    hub: LocalHub, state: Path, damage: Callable[[Path], object], tmp_path: Path
) -> None:
    client, path = hub.client, tmp_path / "model.onnx"
    path.write_text(f"nothing special {damage}")
    job = client.submit_compile_job(str(path), S24, options=DLC)
    data = client.upload_dataset({"image": [np.full((1, 3), id(damage), np.int64)]})
    assert job.wait().success
    model = job.model.model_id
    session = page_session(hub)
    address = download_url(hub, model)
    data_file = of(state, requests.get(download_url(hub, data.dataset_id), timeout=30).content)
    log_address = f"{hub.url}/jobs/{job.job_id}/file/job.log"
    log_file = of(state, session.get(log_address, timeout=30).content)
    model_file = of(state, path.read_bytes())
    kept = {file: file.read_bytes() for file in (model_file, data_file, log_file)}
    for file in kept:
        damage(file)
    with pytest.raises(UserError, match="is damaged, or gone, on the disk of this hub"):
        job.get_target_model().download(str(tmp_path / "got"))
    with pytest.raises(UserError, match="is damaged, or gone, on the disk of this hub"):
        client.get_dataset(data.dataset_id).download(str(tmp_path / "got.h5"))
    assert requests.get(address, timeout=30).status_code == 409, "asked for when it was whole"
    page = session.get(f"{hub.url}/models/{model}/file", timeout=30)
    assert (page.status_code, "is damaged, or gone" in page.text) == (400, True)
    assert session.get(log_address, timeout=30).status_code == 400
    logs = ask(hub, "GET", f"jobs/{job.job_id}/device_runs/latest/artifact_list/5/")
    assert logs.status_code == 400
    run = client.submit_inference_job(job.get_target_model(), S24, data, profile=False)
    assert "is damaged, or gone, on the disk of this hub" in run.wait().message
    for file, content in kept.items():
        mend(file, content)


def test_a_large_file_is_not_given_out_whole(hub: LocalHub, state: Path) -> None:
    """The damage is found while it is sent: the end of it is kept back."""
    model, content = new_model(hub), bytes(5 << 20)
    etag = requests.put(upload_url(hub, model), content, timeout=30).headers["ETag"]
    assert complete(hub, model, etag).ok
    address = download_url(hub, model)
    assert requests.get(address, timeout=30).content == content
    flip(of(state, content))
    with pytest.raises(requests.exceptions.RequestException):
        _ = requests.get(address, timeout=30).content


def test_a_good_upload_takes_the_place_of_a_damaged_file(
    hub: LocalHub, state: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    path.write_text("this one comes back")
    first = hub.client.upload_model(str(path))
    flip(of(state, path.read_bytes()))
    with pytest.raises(UserError, match="is damaged"):
        first.download(str(tmp_path / "got"))
    hub.client.upload_model(str(path))
    assert Path(first.download(str(tmp_path / "got"))).read_text() == "this one comes back"


def test_an_upload_that_is_damaged_before_it_is_complete(hub: LocalHub, state: Path) -> None:
    model = new_model(hub)
    etag = requests.put(upload_url(hub, model), b"short-lived", timeout=30).headers["ETag"]
    of(state, b"short-lived").unlink()
    answer = complete(hub, model, etag)
    assert answer.status_code == 400
    assert "is damaged, or gone" in answer.json()["detail"]


def test_what_is_damaged_is_told_at_the_start(tmp_path: Path) -> None:
    store, blobs = Store(tmp_path / "hub.sqlite"), Blobs(tmp_path / "blobs")
    source = tmp_path / "job.log"
    jobs = []
    for name in ("good", "bad"):
        source.write_text(name)
        with blobs.copies() as copies:
            digest = copies.add(source).digest
            copies.keep()
        asked = Asked("compile", "", ())
        jobs.append(JobRecord(f"j{name}", "me@team.org", asked, JobState.DONE, 1.0, name))
        made = type(jobs[-1].made)(logs={"job.log": digest})
        store.insert(type(jobs[-1])(**{**vars(jobs[-1]), "made": made}))
    flip(blobs.path(digest))
    (told,) = damaged(store, blobs, lambda: False)
    assert told.startswith("a file of jbad (bad) of me@team.org is damaged, or gone")
    assert list(damaged(store, blobs, lambda: True)) == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a hub that has some hundred jobs."""
    state = tmp_path_factory.mktemp("whole")
    store = Store(state / "hub.sqlite")
    store.add_user("me@team.org", "token")
    asked = Asked("compile", "a name", ("m1",), ("Samsung Galaxy S24",))
    jobs = [JobRecord(f"j{n}", "me@team.org", asked, JobState.DONE, n, "") for n in range(200)]
    store.insert(*jobs)
    with sqlite3.connect(state / "hub.sqlite") as db:
        db.execute("pragma wal_checkpoint(truncate)")
    db.close()
    return state


def _page(number: int) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[number * 4096 + 8 : number * 4096 + 200] = bytes(192)
        path.write_bytes(data)

    return spoil


def _row(path: Path) -> None:
    data = path.read_bytes()
    assert b'"asked"' in data
    path.write_bytes(data.replace(b'"asked"', b'"askee"', 1))


@pytest.mark.parametrize(
    "spoil",
    [
        *(_page(number) for number in (1, 3, 9)),
        lambda path: path.write_bytes(path.read_bytes()[: 3 * 4096]),
        lambda path: path.write_bytes(b"not SQLite at all, " * 400),
        _row,
    ],
)
def test_a_damaged_database_does_not_start(
    whole: Path, spoil: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "state"
    shutil.copytree(whole, state)
    spoil(state / "hub.sqlite")
    assert main(["hub", "serve", "--port=0", f"--state={state}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"the database {state}/hub.sqlite is damaged" in line
    assert "put back a copy of it" in line


def test_a_database_that_is_gone(tmp_path: Path) -> None:
    """Files without rows are no new hub."""
    (tmp_path / "blobs" / "ab").mkdir(parents=True)
    (tmp_path / "blobs" / "ab" / "abc").write_bytes(b"x")
    (tmp_path / "hub.sqlite").touch()
    with pytest.raises(SubmissionError, match="is gone or empty"), local_hub(tmp_path):
        pass
