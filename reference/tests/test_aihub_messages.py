"""Every field of every message that the hub answers with is set, or it is said why it never is."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import requests

qai_hub = pytest.importorskip("qai_hub", reason="needs the hub extra")

from google.protobuf.descriptor import Descriptor  # noqa: E402
from qai_hub import public_api_pb2  # noqa: E402

from reference.aihub.local import LocalHub, local_hub  # noqa: E402
from reference.tests.hub_runner import SPECS  # noqa: E402

pb: Any = public_api_pb2
S24 = qai_hub.Device("Samsung Galaxy S24")
PROJECT = "p1"
NOT_SET = {
    # by field, whatever the message
    "actor_authorization": "nobody has a part of the rights: a thing is one's own, or to be read",
    "read_only": "as for actor_authorization",
    "admin_url": "of the people who run AI Hub",
    "user_id": "users have an address and no number",
    "error_details": "all that is known is in failure_reason and the log",
    "has_vizgraph": "graphs are shown by Netron",
    "peak_memory_usage": "of clients from before 0.30",
    "execution_peak_memory": "no device is there whose memory it would be",
    "credentials": "files are not on S3",
    "validation_error": "what is wrong is said with a status, not in a message",
    "fields": "the address is all that an upload needs",
    "context": "notices have one kind",
    "severity": "notices have one kind",
    # of one message
    "User.id": "as for user_id",
    "User.first_name": "users have an address alone",
    "User.last_name": "users have an address alone",
    "User.token": "a token is shown once, when it is made",
    "User.org_id": "there are no organisations",
    "User.default_project_id": "projects are as the client names them",
    "User.default_project_slug": "projects are as the client names them",
    "Model.hidden": "no model is",
    "Model.producer_attempt_number": "a second attempt makes the same model",
    "QuantizeDetail.psnr": "the quantiser gives none",
    "CreateUpdateResponse.status": "there is one success",
    "ProfileJob.includes_compile": "what is profiled was compiled before",
    "ProfileJob.target_model": "as for includes_compile",
    "ProfileDetail.segment_details": "the compiler tells of no segments",
    "ProfileDetail.runtime_config": "the emulator has none",
    "ProfileDetail.load_time": "of clients from before 0.30",
    "LayerDetail.id": "layers have names",
    "LayerDetail.delegate_name": "there are no delegates",
    "LayerDetail.delegate_extra_info": "there are no delegates",
    "LayerDetail.delegate_reported_ops": "there are no delegates",
    "LayerDetail.segment_id": "the compiler tells of no segments",
}
# No time and no memory of this host is given as a device's (test_aihub_profile.py).
HOST = ("_memory", "_load_time", "_load_times", "_compile_time", "_compile_times", "compile_time")


def unset(message: str, field: str) -> str:
    """Why a field of a message is never set, empty where it has to be."""
    if message in ("ProfileDetail", "MemoryUsage", "Range") and (
        field.endswith(HOST) or message != "ProfileDetail"
    ):
        return "of a device"
    return NOT_SET.get(f"{message}.{field}", NOT_SET.get(field, ""))


class Walk:
    """What was seen of the messages that came."""

    def __init__(self) -> None:
        self.types: dict[str, Descriptor] = {}
        self.seen: set[tuple[str, str]] = set()

    def take(self, message: Any) -> None:
        """Adds a message, and all in it."""
        self._reach(message.DESCRIPTOR)
        for field, value in message.ListFields():
            self.seen.add((message.DESCRIPTOR.name, field.name))
            if field.message_type is None or field.message_type.GetOptions().map_entry:
                continue
            for each in value if field.label == field.LABEL_REPEATED else [value]:
                self.take(each)

    def _reach(self, kind: Descriptor) -> None:
        if kind.file.name != pb.DESCRIPTOR.name or kind.name in self.types:
            return
        self.types[kind.name] = kind
        for field in kind.fields:
            own = field.message_type
            if (
                own is not None
                and not own.GetOptions().map_entry
                and not unset(kind.name, field.name)
            ):
                self._reach(own)


@pytest.fixture(scope="module")
def hub() -> Iterator[LocalHub]:
    with local_hub(runner="reference.tests.hub_runner:run", workers=4) as own:
        yield own


@pytest.fixture(scope="module")
def done(hub: LocalHub, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A job of each kind that is done, one that failed, and a data set."""
    client, folder = hub.client, tmp_path_factory.mktemp("models")
    (folder / "model.onnx").write_text("nothing special")
    (folder / "bad.onnx").write_text("compile fail no such operator")
    data = client.upload_dataset(
        {"image": [np.zeros((1, 3, 8, 8), np.float32)]}, name="mine", project=PROJECT
    )
    given = {"project": PROJECT, "device": S24, "input_specs": {"image": (1, 3, 8, 8)}}
    source = client.upload_model(str(folder / "model.onnx"), name="a model", project=PROJECT)
    compiled = client.submit_compile_job(
        source, options="--target_runtime qnn_dlc", calibration_data=data, **given
    )
    jobs = {
        "compile": compiled,
        "quantize": client.submit_quantize_job(
            source, data, options="--range_scheme min_max", project=PROJECT
        ),
        "link": client.submit_link_job(
            compiled.get_target_model(), S24, options="--qairt_version latest", project=PROJECT
        ),
        "inference": client.submit_inference_job(
            compiled.get_target_model(), S24, data, options="--compute_unit npu", project=PROJECT
        ),
        "profile": client.submit_profile_job(
            compiled.get_target_model(), S24, options="--compute_unit npu", project=PROJECT
        ),
        "failed": client.submit_compile_job(
            str(folder / "bad.onnx"), options="--target_runtime qnn_dlc", **given
        ),
    }
    for kind, job in jobs.items():
        assert job.wait().success == (kind != "failed")
    return {**jobs, "data": data, "source": source}


def ask(hub: LocalHub, path: str, kind: str, *, version: str = "0.56.0", body: Any = None) -> Any:
    """What the hub answers to a GET, or to a POST of `body`."""
    headers = {"Authorization": f"token {hub.token}"}
    if version:
        headers["Client-Version"] = version
    url, sent = f"{hub.url}/api/v1/{path}", body and body.SerializeToString()
    verb = "POST" if body else "GET"
    answer = requests.request(verb, url, headers=headers, data=sent, timeout=60)
    assert answer.ok, answer.text
    return getattr(pb, kind).FromString(answer.content)


def test_every_field_is_set_or_it_is_said_why_not(hub: LocalHub, done: dict[str, Any]) -> None:
    walk = Walk()
    ids = {name: job.job_id for name, job in done.items() if hasattr(job, "job_id")}
    for version in ("0.56.0", ""):  # before, profile jobs had messages of their own
        for name, id in ids.items():
            walk.take(ask(hub, f"jobs/{id}/", "Job", version=version))
            if name != "failed":
                walk.take(ask(hub, f"jobs/{id}/result/", "JobResult", version=version))
        walk.take(ask(hub, f"projects/{PROJECT}/job_summaries/", "JobSummaryList", version=version))
        walk.take(ask(hub, f"projects/{PROJECT}/jobs/", "JobList", version=version))
    target = done["compile"].get_target_model().model_id
    data = done["data"].dataset_id
    done["compile"].modify_sharing(add_emails=["other@team.org"])
    for path, kind in {
        "devices/": "DeviceList",
        "frameworks/": "FrameworkList",
        "users/auth/user/": "User",
        f"models/{target}/": "Model",
        f"projects/{PROJECT}/models/": "ModelList",
        f"datasets/{data}/": "Dataset",
        f"projects/{PROJECT}/datasets/": "DatasetList",
        f"models/{target}/download/?supports_s3_credentials=True": "FileDownloadResponse",
        f"datasets/{data}/download_data/?supports_s3_credentials=True": "FileDownloadResponse",
        f"jobs/{ids['compile']}/shared_access/": "SharedAccess",
        f"jobs/{ids['compile']}/device_runs/0/artifact_list/5/": "NamedArtifactDownloadURLList",
    }.items():
        walk.take(ask(hub, path, kind))
    for things, body, upload in (
        ("models", pb.Model(name="new", model_type=6), "multipart_upload"),
        ("datasets", pb.Dataset(name="new"), "upload_url"),
    ):
        made = ask(hub, f"{things}/", "CreateUpdateResponse", body=body)
        walk.take(made)
        path = f"{things}/{made.id}/{upload}/?file_size=9&supports_s3_credentials=True"
        walk.take(ask(hub, path, "FileUploadResponse"))
    listed = {
        (name, field.name)
        for name, kind in walk.types.items()
        for field in kind.fields
        if field.containing_oneof is None or len(field.containing_oneof.fields) == 1
    }
    missing = sorted(f"{n}.{f}" for n, f in listed - walk.seen if not unset(n, f))
    assert not missing, " ".join(missing)
    stale = sorted(f"{n}.{f}" for n, f in walk.seen if f"{n}.{f}" in NOT_SET or f in NOT_SET)
    assert not stale, f"set after all: {' '.join(stale)}"
    assert len(walk.types) > 25


def test_what_the_client_makes_of_them(hub: LocalHub, done: dict[str, Any]) -> None:
    client = hub.client
    shapes = {spec.name: (spec.shape, spec.dtype) for spec in SPECS}
    for kind in ("inference", "quantize", "profile"):
        assert client.get_job(done[kind].job_id).shapes == shapes, kind
    for kind, name in (
        ("inference", "inputs"),
        ("quantize", "calibration_dataset"),
        ("compile", "calibration_dataset"),
    ):
        found = getattr(client.get_job(done[kind].job_id), name)
        assert found.dataset_id == done["data"].dataset_id
        assert found.name == "mine"
        assert found.creation_time == done["data"].creation_time
        assert found.expiration_time == done["data"].expiration_time
        assert (found.expiration_time - found.creation_time).days == 30
    summaries = {s.job_id: s for s in client.get_job_summaries(limit=20, project=PROJECT)}
    assert summaries[done["profile"].job_id].device_name == S24.name
