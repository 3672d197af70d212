"""Who gets what from the hub, and what it says to requests that no client of ours would send."""

import asyncio
import contextlib
import io
import sqlite3
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

qai_hub = pytest.importorskip("qai_hub", reason="needs the hub extra")

import requests  # noqa: E402
from qai_hub import public_api_pb2 as pb  # noqa: E402
from qai_hub.client import UserError  # noqa: E402
from requests_toolbelt import MultipartEncoder  # noqa: E402

from reference.aihub.form import MalformedError, file_of_form  # noqa: E402
from reference.aihub.local import LocalHub, local_hub  # noqa: E402

ME, OTHER, THIRD = "me@team.org", "other@team.org", "third@team.org"
S24 = qai_hub.Device("Samsung Galaxy S24")
DLC = "--target_runtime qnn_dlc"
KB = 2**10


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub")


@pytest.fixture(scope="module")
def hub(state: Path) -> Iterator[LocalHub]:
    runner = "reference.tests.hub_runner:run"
    users = (ME, OTHER, THIRD)
    with local_hub(state, users=users, runner=runner, workers=2, max_upload=64 * KB) as own:
        yield own


def ask(hub: LocalHub, method: str, path: str, user: str = ME, **more) -> requests.Response:
    headers = {"Authorization": f"token {hub.tokens[user]}"}
    return requests.request(method, f"{hub.url}/api/v1/{path}", headers=headers, timeout=30, **more)


def new_model(hub: LocalHub, **fields) -> str:
    message = pb.Model(**{"name": "model", "model_type": 6, **fields})
    answer = ask(hub, "POST", "models/", data=message.SerializeToString())
    return pb.CreateUpdateResponse.FromString(answer.content).id


def upload_url(hub: LocalHub, model: str) -> str:
    answer = ask(hub, "GET", f"models/{model}/multipart_upload/?file_size=10")
    return pb.FileMultipartUploadURL.FromString(answer.content).urls[0]


def complete(hub: LocalHub, model: str, *etags: str) -> requests.Response:
    message = pb.FileMultipartUploadComplete(upload_id=model, etags=etags)
    path = f"models/{model}/multipart_upload/"
    return ask(hub, "POST", path, data=message.SerializeToString())


def test_a_storage_address_is_for_one_thing(hub: LocalHub, state: Path) -> None:
    model = new_model(hub)
    put = upload_url(hub, model)
    assert put.startswith(f"{hub.url}/storage/")
    assert requests.get(put, timeout=30).status_code == 403
    assert requests.put(put[:-1], data=b"x", timeout=30).status_code == 403
    etag = requests.put(put, data=b"some bytes", timeout=30).headers["ETag"]
    assert complete(hub, model, etag).ok
    answer = ask(hub, "GET", f"models/{model}/download/")
    get = pb.FileDownloadURL.FromString(answer.content).url
    assert requests.get(get, timeout=30).content == b"some bytes"
    assert requests.put(get, data=b"others", timeout=30).status_code == 403
    with contextlib.closing(sqlite3.connect(state / "hub.sqlite")) as db, db:
        db.execute("update addresses set expires = 1 where filename != ''")
    expired = requests.get(get, timeout=30)
    assert (expired.status_code, expired.json()["detail"]) == (
        403,
        "this address has expired, or never was one",
    )


def test_storage_is_where_the_hub_was_asked(hub: LocalHub) -> None:
    model = new_model(hub)
    port = hub.url.rpartition(":")[2]
    answer = requests.get(
        f"http://localhost:{port}/api/v1/models/{model}/multipart_upload/",
        headers={"Authorization": f"token {hub.token}"},
        timeout=30,
    )
    (url,) = pb.FileMultipartUploadURL.FromString(answer.content).urls
    assert url.startswith(f"http://localhost:{port}/storage/")


def test_an_upload_is_what_was_sent(hub: LocalHub) -> None:
    model, other = new_model(hub), new_model(hub)
    assert complete(hub, model, "whatever").json()["detail"] == "nothing was uploaded"
    etag = requests.put(upload_url(hub, model), data=b"mine", timeout=30).headers["ETag"]
    assert complete(hub, other, etag).json()["detail"] == "nothing was uploaded"
    refused = complete(hub, model, '"another"')
    assert (refused.status_code, refused.json()["detail"]) == (
        400,
        "model is not what was uploaded: upload it again",
    )
    assert complete(hub, model, etag).ok
    assert complete(hub, model, etag).ok, "said twice"


def test_the_client_says_why_an_upload_failed(hub: LocalHub) -> None:
    """It reads that where S3 would say it."""
    from qai_hub.api_utils import extract_error_text

    answer = requests.put(upload_url(hub, new_model(hub)), data=bytes(65 * KB), timeout=30)
    assert extract_error_text(answer) == "Refused: larger than this hub takes (0.1 MB)"


def test_too_many_bytes_and_too_few(hub: LocalHub, state: Path) -> None:
    model = new_model(hub)

    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(16 * KB)

    with contextlib.suppress(requests.ConnectionError):  # it need not listen to the end
        answer = requests.put(upload_url(hub, model), data=endless(), timeout=30)
        assert answer.status_code == 413
    assert complete(hub, model, "x").json()["detail"] == "nothing was uploaded"
    assert ask(hub, "POST", "jobs/", data=bytes(2**20 + 1)).status_code == 413
    asked = ask(hub, "GET", f"models/{model}/multipart_upload/?file_size=65537")
    assert asked.status_code == 413
    assert list((state / "blobs" / "partial").iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "body", "says"),
    [
        ("text/plain", b"x", "as a form"),
        ("multipart/form-data; boundary=b", b"nonsense", "cannot be read"),
        ("multipart/form-data; boundary=b", b"--b\r\n", "cut short"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n--b--\r\n',
            "0 files called 'file'",
        ),
    ],
)
def test_forms_that_are_none(hub: LocalHub, kind: str, body: bytes, says: str) -> None:
    created = ask(hub, "POST", "datasets/", data=pb.Dataset(name="d").SerializeToString())
    dataset = pb.CreateUpdateResponse.FromString(created.content).id
    answer = ask(hub, "GET", f"datasets/{dataset}/upload_url/?file_size=10")
    url = pb.FileUploadURL.FromString(answer.content).url
    refused = requests.post(url, data=body, headers={"Content-Type": kind}, timeout=30)
    assert refused.status_code == 400
    assert says in refused.json()["detail"]


@settings(deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=50), st.integers(1, 40))
def test_a_form_in_any_pieces(data: bytes, other: bytes, step: int) -> None:
    form = MultipartEncoder({"key": ("k", other), "file": ("model", data, "application/x-hdf5")})
    sent = form.read()

    async def body(until: int) -> AsyncIterator[bytes]:
        for start in range(0, until, step):
            yield sent[start : min(start + step, until)]

    async def received(until: int) -> bytes:
        chunks = file_of_form(form.content_type, body(until), "file")
        return b"".join([chunk async for chunk in chunks])

    assert asyncio.run(received(len(sent))) == data
    with pytest.raises(MalformedError):
        asyncio.run(received(len(sent) - 5))


def test_a_job_shares_what_is_its_owners_alone(hub: LocalHub, tmp_path: Path) -> None:
    """Whoever may use a model of mine cannot pass it on with a job of theirs."""
    path = tmp_path / "model.onnx"
    path.write_text("nothing special")
    mine, other, third = hub.client, hub.client_of(OTHER), hub.client_of(THIRD)
    job = mine.submit_compile_job(str(path), S24, options=DLC)
    target = job.get_target_model()
    job.modify_sharing(add_emails=[OTHER])
    run = other.submit_profile_job(other.get_model(target.model_id), S24)
    run.modify_sharing(add_emails=[THIRD])
    assert third.get_job(run.job_id).wait().success
    with pytest.raises(UserError, match="could not be found"):
        third.get_model(target.model_id)
    job.modify_sharing(delete_emails=[OTHER])
    with pytest.raises(UserError, match="could not be found"):
        other.get_model(target.model_id)
    with pytest.raises(UserError, match="is not shared with you"):
        other.submit_profile_job(target, S24)


def test_a_target_is_made_by_its_job_alone(hub: LocalHub, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_text("compile sleep 1")
    target = hub.client.submit_compile_job(str(path), S24, options=DLC).get_target_model()
    answer = ask(hub, "GET", f"models/{target.model_id}/multipart_upload/?file_size=1")
    assert answer.status_code == 400
    assert "is made by job" in answer.json()["detail"]


@pytest.mark.parametrize("kind", [1, 6, 12, 16])
@pytest.mark.parametrize("entries", [[], ["model/"]], ids=["empty", "a folder"])
def test_archives_without_a_file(hub: LocalHub, kind: int, entries: list[str]) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for entry in entries:
            file.writestr(entry, b"")
    model = new_model(hub, model_type=kind, is_directory=kind in (6, 12))
    etag = requests.put(upload_url(hub, model), archive.getvalue(), timeout=30).headers["ETag"]
    answer = complete(hub, model, etag)
    assert answer.status_code == 400
    assert "is an archive without a file" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("entry", "says"),
    [("../../evil.onnx", "leads outside the folder"), ("/evil.onnx", "leads outside the folder")],
)
def test_archives_that_lead_outside(hub: LocalHub, entry: str, says: str, tmp_path: Path) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(entry, b"x")
    model = new_model(hub, is_directory=True)
    url = upload_url(hub, model)
    etag = requests.put(url, data=archive.getvalue(), timeout=30).headers["ETag"]
    assert complete(hub, model, etag).ok
    job = hub.client.submit_compile_job(hub.client.get_model(model), S24, options=DLC)
    assert says in job.wait().message


def test_one_context_binary_is_not_for_two_chips(hub: LocalHub, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_text("nothing special")
    devices = [S24, qai_hub.Device("Samsung Galaxy S23")]
    context = "--target_runtime qnn_context_binary"
    with pytest.raises(UserError, match="for one chip: submit a job for each device"):
        hub.client.submit_compile_job(str(path), devices, options=context)
    jobs = hub.client.submit_compile_job(str(path), devices, options=context, single_compile=False)
    assert [job.wait().success for job in jobs] == [True, True]


def test_login_takes_the_token_for_a_password(hub: LocalHub) -> None:
    url = f"{hub.url}/api/v1/users/auth/login/"
    right = requests.post(url, json={"email": ME, "password": hub.tokens[ME]}, timeout=30)
    assert right.json() == {"key": hub.tokens[ME]}
    for wrong in ({"email": OTHER, "password": hub.tokens[ME]}, {"email": ME}, [], None):
        assert requests.post(url, json=wrong, timeout=30).status_code == 400


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({}, "profile_job"),
        ({"Client-Version": "0.55.0"}, "profile_job"),
        ({"Client-Version": "0.56.0"}, "inference_job"),
        ({"Client-Version": "1.0.0"}, "inference_job"),
    ],
)
def test_a_profile_job_as_each_client_knows_it(
    hub: LocalHub, headers: dict[str, str], kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    path.write_text("nothing special")
    target = hub.client.submit_compile_job(str(path), S24, options=DLC).get_target_model()
    message = pb.Job()
    asked = getattr(message, kind)
    asked.MergeFrom(type(asked)(model=pb.Model(model_id=target.model_id), name="mine"))
    asked.device.name = S24.name
    if kind == "inference_job":
        asked.is_profiling_on = True
    headers = {**headers, "Authorization": f"token {hub.token}"}

    def get(what: str, message: type) -> object:
        url = f"{hub.url}/api/v1/{what}"
        return message.FromString(requests.get(url, headers=headers, timeout=30).content)

    url = f"{hub.url}/api/v1/jobs/"
    made = requests.post(url, headers=headers, data=message.SerializeToString(), timeout=30)
    id = pb.CreateUpdateResponse.FromString(made.content).id
    job = get(f"jobs/{id}/", pb.Job)
    assert job.WhichOneof("job") == kind
    assert getattr(job, kind).job_state == pb.JOB_STATE_DONE
    (summary,) = get("job_summaries/?limit=1", pb.JobSummaryList).job_summaries
    assert getattr(summary, f"{kind}_summary").job_id == id
    result = getattr(get(f"jobs/{id}/result/", pb.JobResult), f"{kind}_result")
    detail = result.profile if kind == "profile_job" else result.detail
    assert detail.execution_time == 2100
    run = f"jobs/{id}/device_runs/latest"
    log = get(f"{run}/artifacts/5/", pb.FileDownloadURL)
    same, _ = get(f"{run}/artifact_list/5/", pb.NamedArtifactDownloadURLList).artifacts
    assert log.filename == same.filename == "tool.log"
    assert requests.get(log.url, timeout=30).text == requests.get(same.url, timeout=30).text


def test_projects(hub: LocalHub, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_text("nothing special")
    client = hub.client
    model = client.upload_model(str(path), project="mine")
    job = client.submit_compile_job(model, S24, options=DLC, project="mine")
    other = client.submit_compile_job(model, S24, options=DLC)
    assert [s.job_id for s in client.get_job_summaries(project="mine")] == [job.job_id]
    assert client.get_job_summaries(limit=1)[0].job_id == other.job_id
    assert {m.model_id for m in client.get_models(project="mine")} == {
        model.model_id,
        job.get_target_model().model_id,
    }


_IDS = st.sampled_from(["j0", "m0", "d0", "%00", "..", "é", "x" * 300])
_PATHS = st.one_of(
    st.builds(
        "{}/{}".format,
        st.sampled_from(["models", "datasets", "jobs", "projects", "devices", "users"]),
        _IDS,
    ),
    st.sampled_from(["models", "datasets", "jobs", "job_summaries", "devices", "frameworks"]),
    st.builds(
        "{}/{}/{}".format,
        st.sampled_from(["models", "datasets", "jobs", "projects"]),
        _IDS,
        st.sampled_from(
            ["shared_access", "download", "result", "multipart_upload", "upload_url", "jobs"]
        ),
    ),
)
_VALUES = st.sampled_from(["", "-1", "1", "9" * 30, "²", "x", "1,2,zz", "[1,", "\x00", "True"])


def _jobs() -> st.SearchStrategy[bytes]:
    ids, texts = st.text(max_size=3), st.text(max_size=20)
    models = st.builds(pb.Model, model_id=ids)
    devices = st.builds(pb.Device, name=st.sampled_from(["", S24.name, "no such"]), os=texts)
    compiles = st.builds(pb.CompileJob, model=models, device=devices, options=texts)
    links = st.builds(pb.LinkJob, device=devices, name=texts)
    quantizes = st.builds(pb.QuantizeJob, model=models, weights_dtype=st.integers(0, 9))
    runs = st.builds(pb.InferenceJob, model=models, device=devices, options=texts)
    return st.one_of(
        st.builds(pb.Job, compile_job=compiles),
        st.builds(pb.Job, link_job=links),
        st.builds(pb.Job, quantize_job=quantizes),
        st.builds(pb.Job, inference_job=runs),
    ).map(lambda job: job.SerializeToString())


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(["GET", "POST", "PATCH", "DELETE"]),
    _PATHS,
    st.dictionaries(
        st.sampled_from(["limit", "offset", "state", "type", "os", "name", "file_size"]), _VALUES
    ),
    st.one_of(st.binary(max_size=60), _jobs()),
)
def test_no_request_is_too_much(hub: LocalHub, method, path, query, body) -> None:
    """A mistake of the asker is told as one: a 5xx would keep the client trying for a minute."""
    answer = ask(hub, method, f"{path}/", params=query, data=body)
    assert answer.status_code < 500
    if answer.ok:
        assert answer.headers["Content-Type"] == "application/x-protobuf"


def test_a_data_set_of_another_shape_is_kept(hub: LocalHub) -> None:
    data = {"image": [np.zeros((1, 4), np.float32), np.ones((1, 4), np.float32)]}
    sent = hub.client.upload_dataset(data)
    assert sent.expiration_time is not None
    assert hub.client.get_datasets(limit=1)[0].dataset_id == sent.dataset_id
