"""What the hub's API answers: from a request, with its user, to a message of the protocol."""

import asyncio
import re
from typing import Any

from google.protobuf.message import DecodeError, Message
from qai_hub import public_api_pb2
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from reference.aihub import wire
from reference.aihub.access import folded
from reference.aihub.bounds import check_message
from reference.aihub.changes import Changes
from reference.aihub.listed import matching, qairt_versions
from reference.aihub.names import download_name
from reference.aihub.problems import NotThere, Refused
from reference.aihub.records import DatasetRecord, JobRecord, JobState, ModelRecord, Record
from reference.aihub.search import Search
from reference.aihub.service import Service

pb: Any = public_api_pb2
# How long a job that is not finished is waited for before its state is told; the client's patience
# is 28 seconds.
HOLD_SECONDS = 15.0
# What the form that uploads a data set calls the file.
FILE_FIELD = "file"
KINDS: dict[str, type[Any]] = {
    "models": ModelRecord,
    "datasets": DatasetRecord,
    "jobs": JobRecord,
}


class Api:
    """The handlers. Every one takes a request with a user and gives a message."""

    def __init__(self, service: Service, changes: Changes) -> None:
        self._service = service
        self._store = service.store
        self._changes = changes
        self._told: set[str] = set()

    def devices(self, request: Request) -> Message:
        """`GET devices/`."""
        asked = request.query_params
        found = matching(asked.get("name", ""), asked.get("os", ""), asked.getlist("attributes"))
        if asked.get("select") == "True":
            found = found[:1]
        listed = [wire.device_message(device) for device in found]
        return pb.DeviceList(devices=listed, total_query_count=len(listed))

    def frameworks(self, request: Request) -> Message:
        """`GET frameworks/`: every version that a client may ask for stands for the one here."""
        from reference.npu.toolchain import find_toolchain

        here = find_toolchain().qairt
        listed = [
            pb.Framework(name="QAIRT", api_version=version, full_version=here)
            for version in qairt_versions(here)
        ]
        listed[0].api_tags.extend(["default", "latest"])
        return pb.FrameworkList(frameworks=listed, total_query_count=len(listed))

    def create_model(self, request: Request) -> Message:
        """`POST models/`."""
        asked = _read(request, pb.Model)
        made = self._service.create_model(
            request.state.user, asked.name, asked.model_type, asked.is_directory, _project(request)
        )
        return wire.created_message(made.id, made.created)

    def create_dataset(self, request: Request) -> Message:
        """`POST datasets/`."""
        asked = _read(request, pb.Dataset)
        made = self._service.create_dataset(
            request.state.user, asked.name, asked.permanent, _project(request)
        )
        return wire.created_message(made.id, made.created, made.expires)

    def start_model_upload(self, request: Request) -> Message:
        """`GET models/<id>/multipart_upload/`: one address for all bytes."""
        upload = pb.FileMultipartUploadURL(
            urls=[self._upload(request, ModelRecord)],
            upload_id=_id(request),
            max_part_size=2**62,
        )
        if "supports_s3_credentials" not in request.query_params:
            return upload
        return pb.FileUploadResponse(multipart_url=upload)

    def end_model_upload(self, request: Request) -> Message:
        """`POST models/<id>/multipart_upload/`."""
        asked = _read(request, pb.FileMultipartUploadComplete)
        digests = [etag.strip('"') for etag in asked.etags]
        model = self._service.complete_model(request.state.user, _id(request), digests)
        return wire.created_message(model.id, model.created)

    def start_dataset_upload(self, request: Request) -> Message:
        """`GET datasets/<id>/upload_url/`."""
        url = self._upload(request, DatasetRecord)
        upload = pb.FileUploadURL(url=url, file_field_name=FILE_FIELD)
        if "supports_s3_credentials" not in request.query_params:
            return upload
        return pb.FileUploadResponse(url=upload)

    def end_dataset_upload(self, request: Request) -> Message:
        """`PATCH datasets/<id>/`."""
        _read(request, pb.Dataset)
        dataset = self._service.complete_dataset(request.state.user, _id(request))
        return wire.created_message(dataset.id, dataset.created, dataset.expires)

    def show(self, request: Request) -> Message:
        """`GET models/<id>/` and `datasets/<id>/`."""
        record = self._visible(request)
        if isinstance(record, ModelRecord):
            return wire.model_message(record)
        assert isinstance(record, DatasetRecord)
        return wire.dataset_message(record)

    def models(self, request: Request) -> Message:
        """`GET models/`."""
        found, total = self._page(request, ModelRecord)
        listed = [wire.model_message(model) for model in found]
        return pb.ModelList(models=listed, total_query_count=total)

    def datasets(self, request: Request) -> Message:
        """`GET datasets/`."""
        found, total = self._page(request, DatasetRecord)
        listed = [wire.dataset_message(dataset) for dataset in found]
        return pb.DatasetList(datasets=listed, total_query_count=total)

    def download(self, request: Request) -> Message:
        """`GET models/<id>/download/` and `datasets/<id>/download_data/`."""
        record = self._visible(request)
        if isinstance(record, JobRecord):
            raise NotThere(f"{record.id} is a job, and has no file of its own")
        key = self._service.download(request.state.user, record)
        url = pb.FileDownloadURL(url=_storage(request, key), filename=download_name(record))
        if "supports_s3_credentials" not in request.query_params:
            return url
        return pb.FileDownloadResponse(url=url)

    def submit(self, request: Request) -> Message:
        """`POST jobs/`."""
        message = _read(request, pb.Job)
        asked = wire.read_job(message)
        job = self._service.submit(request.state.user, asked, _project(request))
        return wire.created_message(job.id, job.created)

    async def job(self, request: Request) -> Message:
        """`GET jobs/<id>/`: held until the job is finished, but the first time, which is part of
        submitting.
        """
        id, viewer = _id(request), request.state.user.email
        job = await run_in_threadpool(self._store.get, JobRecord, id, viewer)
        loop = asyncio.get_running_loop()
        until = loop.time() + HOLD_SECONDS
        first = job.asked.kind != "inference" and job.id not in self._told
        self._told.add(job.id)
        while not (first or job.state.finished) and loop.time() < until:
            await self._changes.wait(until - loop.time())
            job = await run_in_threadpool(self._store.get, JobRecord, id, viewer)
        version = _version(request)
        message: Message = await run_in_threadpool(wire.job_message, self._store, job, version)
        return message

    def jobs(self, request: Request) -> Message:
        """`GET jobs/`, which clients up to 0.41 list jobs with."""
        found, total = self._page(request, JobRecord)
        listed = [wire.job_message(self._store, job, _version(request)) for job in found]
        return pb.JobList(jobs=listed, total_query_count=total)

    def rename(self, request: Request) -> Message:
        """`PATCH jobs/<id>/`."""
        asked = _read(request, pb.JobPublicUpdate)
        job = self._service.rename(request.state.user, _id(request), asked.name)
        return wire.created_message(job.id, job.created)

    def result(self, request: Request) -> Message:
        """`GET jobs/<id>/result/`."""
        job = self._store.get(JobRecord, _id(request), request.state.user.email)
        if not job.state.finished or job.failure:
            raise NotThere(f"job {job.id} has no result")
        return wire.result_message(self._store, job, _version(request))

    def artifacts(self, request: Request) -> Message:
        """`GET jobs/<id>/device_runs/<n>/artifact_list/<type>/`: all logs are the hub's."""
        job = self._store.get(JobRecord, _id(request), request.state.user.email)
        listed = pb.NamedArtifactDownloadURLList()
        if request.path_params["type"] == str(wire.HUB_LOG):
            for name in job.made.logs:
                key = self._service.download(request.state.user, job, name)
                listed.artifacts.add(url=_storage(request, key), filename=name, name=name)
        return listed

    def old_artifact(self, request: Request) -> Message:
        """`GET jobs/<id>/device_runs/<n>/artifacts/<type>/`, of clients up to 0.42."""
        listed = self.artifacts(request)
        assert isinstance(listed, pb.NamedArtifactDownloadURLList)
        if not listed.artifacts:
            raise NotThere("there is no such log")
        first = listed.artifacts[0]
        return pb.FileDownloadURL(url=first.url, filename=first.filename)

    def summaries(self, request: Request) -> Message:
        """`GET job_summaries/`, the newest first."""
        known = {str(int(state)): state for state in JobState}
        states = [known.get(s, -1) for s in request.query_params.get("state", "").split(",") if s]
        version = _version(request)
        found, total = self._page(
            request,
            JobRecord,
            states=tuple(states),
            kinds=wire.listed_kinds(request.query_params.get("type", ""), version),
            creator=folded(request.query_params.get("creator", "")),
        )
        listed = [self._summary(job, version) for job in found]
        return pb.JobSummaryList(job_summaries=listed, total_query_count=total)

    def sharing(self, request: Request) -> Message:
        """`GET <things>/<id>/shared_access/`."""
        return pb.SharedAccess(email=self._store.shares(self._visible(request).id))

    def share(self, request: Request) -> Message:
        """`PATCH` and `DELETE <things>/<id>/shared_access/`."""
        record = self._visible(request)
        remove = None
        add: list[str] = []
        if request.method == "PATCH":
            asked = _read(request, pb.SharedAccessChange)
            add, remove = list(asked.add_email), list(asked.remove_email)
        self._service.change_sharing(request.state.user, record, add, remove)
        return wire.created_message(record.id, record.created)

    def user(self, request: Request) -> Message:
        """`GET users/auth/user/`."""
        return pb.User(email=request.state.user.email)

    def _upload(self, request: Request, kind: type[Any]) -> str:
        """An address to upload a thing to."""
        size = _number(request, "file_size")
        thing = self._service.begin_upload(request.state.user, kind, _id(request), size)
        user = request.state.user
        return _storage(request, self._store.give_address(user, "upload", thing.id))

    def _visible(self, request: Request) -> Record:
        kind = KINDS[request.path_params["things"]]
        record: Record = self._store.get(kind, _id(request), request.state.user.email)
        return record

    def _page(self, request: Request, kind: type[Any], **filters: Any) -> tuple[list[Any], int]:
        """What is asked for of a list, and how much there is of it."""
        user, search = request.state.user.email, Search(project=_project(request), **filters)
        limit, offset = min(_number(request, "limit", 50), 1000), _number(request, "offset")
        found = self._store.find(kind, user, search, limit=limit, offset=offset)
        return found, self._store.count(kind, user, search)

    def _summary(self, job: JobRecord, version: tuple[int, ...]) -> Message:
        target = self._store.get(ModelRecord, job.target or job.asked.models[0])
        summary: Message = wire.summary_message(job, target.kind, version)
        return summary


def _read(request: Request, kind: type[Any]) -> Any:
    try:
        message = kind.FromString(request.state.body)
    except DecodeError:
        raise Refused(f"the body is no {kind.DESCRIPTOR.name} message") from None
    check_message(message)
    return message


def _id(request: Request) -> str:
    return str(request.path_params["id"])


def _project(request: Request) -> str:
    return str(request.path_params.get("project", ""))


def _number(request: Request, name: str, default: int = 0) -> int:
    text = request.query_params.get(name, str(default))
    if not re.fullmatch("[0-9]{1,18}", text):  # what the database can hold
        raise Refused(f"{name} must be a number, not {text!r}")
    return int(text)


def _version(request: Request) -> tuple[int, ...]:
    return wire.client_version(request.headers.get("client-version", ""))


def _storage(request: Request, key: str) -> str:
    return f"{request.url.scheme}://{request.url.netloc}/storage/{key}"
