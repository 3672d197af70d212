"""What is deleted, and what goes with it; what an upload may be, and how often."""

import io
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

qai_hub = pytest.importorskip("qai_hub", reason="needs the hub extra")

import requests  # noqa: E402
from qai_hub import public_api_pb2 as pb  # noqa: E402
from qai_hub.client import UserError  # noqa: E402

from conformance.cli import main  # noqa: E402
from reference.aihub.disposal import delete, prune  # noqa: E402
from reference.aihub.execute import Place  # noqa: E402
from reference.aihub.local import LocalHub, local_hub  # noqa: E402
from reference.aihub.problems import Oversized  # noqa: E402
from reference.aihub.records import (  # noqa: E402
    Asked,
    DatasetRecord,
    JobRecord,
    JobState,
    Made,
    ModelRecord,
    User,
)
from reference.aihub.scheduler import Scheduler  # noqa: E402
from reference.aihub.service import Service  # noqa: E402
from reference.aihub.tasks import ModelKind  # noqa: E402
from reference.tests.hub_requests import (  # noqa: E402
    ask,
    blob_files,
    complete,
    csrf,
    new_model,
    page_session,
    upload_url,
)

ME, OTHER = "me@team.org", "other@team.org"
S24 = qai_hub.Device("Samsung Galaxy S24")
DLC = "--target_runtime qnn_dlc"
DAY = 24 * 3600.0


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub")


@pytest.fixture(scope="module")
def hub(state: Path) -> Iterator[LocalHub]:
    runner = "reference.tests.hub_runner:run"
    with local_hub(state, users=(ME, OTHER), runner=runner, max_upload=1 << 20) as own:
        yield own


def gone(session: requests.Session, url: str) -> requests.Response:
    """Presses the button of a thing's page."""
    mark = csrf(session.get(url, timeout=30).text)
    return session.post(f"{url}delete", {"csrf": mark}, timeout=30)


def test_a_job_is_deleted_with_all_that_it_made(hub: LocalHub, state: Path, tmp_path: Path) -> None:
    before = set(blob_files(state))
    client, path = hub.client, tmp_path / "model.onnx"
    path.write_text("# for deletion")
    job = client.submit_compile_job(str(path), S24, options=DLC)
    target = job.get_target_model()
    data = client.upload_dataset({"image": [np.full((1, 3), 5, np.float32)]})
    run = client.submit_inference_job(target, S24, data, profile=False)
    outputs = run.get_output_dataset()
    session, others = page_session(hub), page_session(hub, OTHER)
    url = f"{hub.url}/jobs/{run.job_id}/"
    assert "DELETE" in session.get(url, timeout=30).text
    forged = session.post(f"{url}delete", {"csrf": "guess"}, timeout=30)
    assert (forged.status_code, others.get(url, timeout=30).status_code) == (403, 404)
    answer = gone(session, url)
    assert (answer.status_code, "Deleted." in answer.text) == (200, True)
    for lost in (
        lambda: client.get_job(run.job_id),
        lambda: client.get_dataset(outputs.dataset_id),
    ):
        with pytest.raises(UserError, match="could not be found"):
            lost()
    assert client.get_dataset(data.dataset_id).name == data.name
    gone(session, f"{hub.url}/jobs/{job.job_id}/")
    gone(session, f"{hub.url}/datasets/{data.dataset_id}/")
    gone(session, f"{hub.url}/models/{job.model.model_id}/")
    assert set(blob_files(state)) == before


def test_what_a_job_names_stays_as_a_name(hub: LocalHub, tmp_path: Path) -> None:
    client, path = hub.client, tmp_path / "model.onnx"
    path.write_text("# named")
    job = client.submit_compile_job(str(path), S24, options=DLC)
    assert job.wait().success
    session = page_session(hub)
    gone(session, f"{hub.url}/models/{job.model.model_id}/")
    gone(session, f"{hub.url}/models/{job.get_target_model().model_id}/")
    again = client.get_job(job.job_id)
    assert again.model.name == "model.onnx"
    assert session.get(f"{hub.url}/jobs/{job.job_id}/", timeout=30).status_code == 200
    with pytest.raises(UserError, match="does not exist, or is not shared with you"):
        again.get_target_model().download(str(tmp_path / "got"))
    with pytest.raises(UserError, match="there is no model"):
        client.submit_compile_job(job.model, S24, options=DLC)
    assert job.model.model_id not in {model.model_id for model in client.get_models(limit=50)}


def test_what_a_job_needs_is_not_deleted(hub: LocalHub, tmp_path: Path) -> None:
    client, path = hub.client, tmp_path / "model.onnx"
    path.write_text("compile sleep 2")
    job = client.submit_compile_job(str(path), S24, options=DLC)
    session = page_session(hub)
    for thing in (f"models/{job.model.model_id}", f"models/{job.get_target_model().model_id}"):
        answer = gone(session, f"{hub.url}/{thing}/")
        assert answer.status_code == 400
        assert f"while job {job.job_id} is not finished" in answer.text
    assert job.wait().success


def test_others_delete_nothing(hub: LocalHub, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_text("# mine")
    model = hub.client.upload_model(str(path))
    model.modify_sharing(add_emails=[OTHER])
    session = page_session(hub, OTHER)
    url = f"{hub.url}/models/{model.model_id}/"
    page = session.get(url, timeout=30).text
    assert "DELETE" not in page
    assert session.post(f"{url}delete", {"csrf": csrf(page)}, timeout=30).status_code == 403
    assert hub.client.get_model(model.model_id).name == "model.onnx"


class World:
    """A hub without a server, with things of one owner; `blob` keeps a content."""

    def __init__(self, folder: Path) -> None:
        self.place = Place(folder)
        self.store, self.blobs = self.place.store(), self.place.blobs()

    def blob(self, content: str) -> str:
        source = self.place.state / "source"
        source.write_text(content)
        with self.blobs.copies() as copies:
            digest = copies.add(source).digest
            copies.keep()
        return digest


def model(id: str, blob: str = "", created: float = 0.0, **more) -> ModelRecord:
    return ModelRecord(id, ME, id, ModelKind.ONNX, False, created, blob=blob, size=1, **more)


def job(id: str, *models: str, finished: float | None = 1.0, **more) -> JobRecord:
    done = JobState.CREATED if finished is None else JobState.DONE
    asked = Asked("compile", id, models, ("Samsung Galaxy S24",))
    return JobRecord(id, ME, asked, done, 1.0, id, finished=finished, **more)


def test_the_same_content_stays_for_whoever_else_has_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    same = world.blob("the same")
    log = Made(logs={"job.log": same})
    world.store.insert(model("m1", same), model("m2", same), job("j1", "m2", made=log))
    world.store.add_upload("m3", same)
    for thing in (model("m1", same), job("j1", "m2", made=log), model("m2", same)):
        assert world.blobs.path(same).exists()
        assert delete(world.store, world.blobs, thing) == 0
    world.store.forget(model("m3"))
    assert prune(world.store, world.blobs, None).files == 1
    assert not world.blobs.path(same).exists()


def test_prune_without_days(tmp_path: Path) -> None:
    """Only what nobody can use: expired data, uploads that never came, files that nothing names."""
    world, now = World(tmp_path), time.time()
    expired = DatasetRecord("d1", ME, "old", 0.0, now - 1, blob=world.blob("expired"), size=7)
    needed = replace(expired, id="d2", blob=world.blob("needed"))
    waiting = job("j1", "m1", finished=None)
    waiting = replace(waiting, asked=replace(waiting.asked, dataset="d2"))
    kept = model("m1", world.blob("kept"))
    world.store.insert(
        expired, needed, waiting, kept, model("m2"), model("m3", created=now), job("j2", "m1")
    )
    world.blob("of nothing")
    freed = prune(world.store, world.blobs, None)
    assert (freed.things, freed.files, freed.bytes) == (2, 1, len("expired" + "of nothing"))
    left = {record.id for kind in (JobRecord, DatasetRecord, ModelRecord)
            for record in world.store.every(kind)}  # fmt: skip
    assert left == {"d2", "j1", "m1", "m3", "j2"}


def test_prune_of_what_is_old(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world, now = World(tmp_path), time.time()
    old, new = now - 40 * DAY, now - DAY
    made = [world.blob(name) for name in ("target", "log", "source", "loose", "new")]
    world.store.insert(
        job("j1", "m1", finished=old, target="m2", made=Made(logs={"job.log": made[1]})),
        job("j2", "m1", finished=new),
        job("j3", finished=old),
        model("m1", made[2], old),
        model("m2", made[0], old, producer="j1"),
        model("m4", made[3], old),
        model("m5", made[4], new),
    )
    assert main(["hub", "prune", "--older-than", "30", "--state", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert told == "deleted 3 jobs, models and data sets, and 0 files that nothing names: 0.0 MB\n"
    left = {record.id for kind in (JobRecord, ModelRecord) for record in world.store.every(kind)}
    assert left == {"j2", "m1", "m5"}
    assert set(blob_files(tmp_path)) == {made[2], made[4]}


_STEPS = st.lists(
    st.tuples(st.sampled_from(["model", "job", "delete", "prune"]), st.integers(0, 9)),
    max_size=14,
)


@settings(max_examples=25, deadline=None)
@given(_STEPS)
def test_files_are_there_while_something_has_them(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    world = World(tmp_path_factory.mktemp("world"))
    things: list[ModelRecord | JobRecord] = []
    for index, (step, number) in enumerate(steps):
        digest = world.blob(f"content {number % 3}")
        if step == "model":
            things.append(model(f"m{index}", digest))
            world.store.insert(things[-1])
        elif step == "job":
            names = [each.id for each in things if each.id[0] == "m"][number:][:1]
            things.append(job(f"j{index}", *names, made=Made(logs={"job.log": digest})))
            world.store.insert(things[-1])
        elif step == "delete" and things:
            delete(world.store, world.blobs, things.pop(number % len(things)))
        elif step == "prune":
            prune(world.store, world.blobs, None)
    prune(world.store, world.blobs, None)
    wanted = {each.blob if isinstance(each, ModelRecord) else each.made.logs["job.log"]
              for each in things}  # fmt: skip
    assert set(blob_files(world.place.state)) == wanted
    for each in things:
        assert world.store.get(type(each), each.id, ME) == each
    named = {name for each in things if isinstance(each, JobRecord) for name in each.asked.models}
    ids = {record.id for record in world.store.every(ModelRecord)}
    assert ids == {each.id for each in things if isinstance(each, ModelRecord)} | named


def test_a_used_address_takes_nothing_more(hub: LocalHub, state: Path) -> None:
    """But the same again, as a client sends it that had no answer."""
    new = new_model(hub)
    url = upload_url(hub, new)
    first = requests.put(url, b"mine", timeout=30)
    assert requests.put(url, b"mine", timeout=30).headers["ETag"] == first.headers["ETag"]
    other = requests.put(url, b"something else", timeout=30)
    assert (other.status_code, other.json()["detail"]) == (
        403,
        "this address was used: ask for another upload",
    )
    assert complete(hub, new, first.headers["ETag"]).ok
    assert requests.put(url, b"mine", timeout=30).status_code == 403
    assert requests.put(url, b"again", timeout=30).status_code == 403
    assert requests.put(upload_url(hub, new), b"again", timeout=30).status_code == 403
    kept = {path.read_bytes() for path in blob_files(state).values()}
    assert b"mine" in kept
    assert not {b"something else", b"again"} & kept


def test_a_data_set_takes_one_upload(hub: LocalHub) -> None:
    data = hub.client.upload_dataset({"image": [np.zeros((1, 3), np.float32)]})
    answer = ask(hub, "GET", f"datasets/{data.dataset_id}/upload_url/?file_size=10")
    url = pb.FileUploadURL.FromString(answer.content).url
    again = requests.post(url, files={"file": ("d.h5", b"\x89HDF\r\n\x1a\nother")}, timeout=30)
    assert again.status_code == 403


def test_a_zip_unpacks_within_what_an_upload_may_be(hub: LocalHub) -> None:
    """A thousandth of it is sent."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("model/model.onnx", bytes(3 << 20))
    new = new_model(hub, is_directory=True)
    etag = requests.put(upload_url(hub, new), archive.getvalue(), timeout=30).headers["ETag"]
    assert complete(hub, new, etag).ok
    compiling = hub.client.submit_compile_job(hub.client.get_model(new), S24, options=DLC)
    assert "more than the 0.000977 GiB that it may" in compiling.wait().message


def test_nobody_has_more_than_the_quota(tmp_path: Path) -> None:
    world = World(tmp_path)
    scheduler = Scheduler(world.place, 1, lambda: None)
    service = Service(world.store, world.blobs, scheduler, 1000, quota=1500)
    user = User(ME)
    first = service.create_model(user, "first", 6, False, "")
    with pytest.raises(Oversized, match="more than this hub takes"):
        service.begin_upload(user, ModelRecord, first.id, 1001)
    world.store.insert(replace(first, blob="x", size=900))
    second = service.create_model(user, "second", 6, False, "")
    assert service.room(user) == 600
    assert service.begin_upload(user, ModelRecord, second.id, 600)
    with pytest.raises(Oversized, match=r"more than is left of the 0.0 MB that everybody has"):
        service.begin_upload(user, ModelRecord, second.id, 601)
    assert service.room(User(OTHER)) == 1000
    service.delete(user, ModelRecord, first.id)
    assert service.room(user) == 1000
