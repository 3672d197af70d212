"""The addresses of the hub's API, and how its answers and errors look on the wire."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.message import DecodeError, Message
from qai_hub import public_api_pb2
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from reference.aihub import wire
from reference.aihub.listed import matching
from reference.aihub.records import DatasetRecord, JobRecord, ModelRecord
from reference.aihub.service import Forbidden, Oversized, Refused, Service
from reference.aihub.store import Record, Unknown
from reference.aihub.tasks import TaskError

pb: Any = public_api_pb2
PROTOBUF = "application/x-protobuf"
# How long a job that is not finished is waited for before its state is told; the client's patience
# is 28 seconds.
HOLD_SECONDS = 15.0
_LARGEST_MESSAGE = 1 << 20
_KINDS: dict[str, type[Any]] = {
    "models": ModelRecord,
    "datasets": DatasetRecord,
    "jobs": JobRecord,
}
_LISTED = ("inference", "compile", "quantize", "link")

Handler = Callable[[Request], Awaitable[Response]]


class Changes:
    """Wakes those who wait for a job, from whatever thread."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self) -> None:
        """To be called in the loop of the waiting."""
        self._loop = asyncio.get_running_loop()

    def tell(self) -> None:
        """Something has changed."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake)

    async def wait(self, seconds: float) -> None:
        """Until something changes, but no longer than `seconds`."""
        try:
            await asyncio.wait_for(self._event.wait(), seconds)
        except TimeoutError:
            return

    def _wake(self) -> None:
        waited, self._event = self._event, asyncio.Event()
        waited.set()


class Api:
    """The handlers. Every one takes a request with a user and gives a message."""

    def __init__(self, service: Service, changes: Changes) -> None:
        self._service = service
        self._store = service.store
        self._changes = changes
        self._told: set[str] = set()

    async def devices(self, request: Request) -> Message:
        """`GET devices/`."""
        asked = request.query_params
        found = matching(asked.get("name", ""), asked.get("os", ""), asked.getlist("attributes"))
        if asked.get("select") == "True":
            found = found[:1]
        listed = [wire.device_message(device) for device in found]
        return pb.DeviceList(devices=listed, total_query_count=len(listed))

    async def frameworks(self, request: Request) -> Message:
        """`GET frameworks/`."""
        from reference.npu.toolchain import find_toolchain

        tools = find_toolchain()
        qairt = pb.Framework(name="QAIRT", api_version=tools.qairt, full_version=tools.qairt)
        qairt.api_tags.extend(["default", "latest"])
        return pb.FrameworkList(frameworks=[qairt], total_query_count=1)

    async def create_model(self, request: Request) -> Message:
        """`POST models/`."""
        asked = await _read(request, pb.Model)
        made = self._service.create_model(
            request.state.user, asked.name, asked.model_type, asked.is_directory, _project(request)
        )
        return wire.created_message(made.id, made.created)

    async def create_dataset(self, request: Request) -> Message:
        """`POST datasets/`."""
        asked = await _read(request, pb.Dataset)
        made = self._service.create_dataset(
            request.state.user, asked.name, asked.permanent, _project(request)
        )
        return wire.created_message(made.id, made.created, made.expires)

    async def start_model_upload(self, request: Request) -> Message:
        """`GET models/<id>/multipart_upload/`: one address for all bytes."""
        model = self._service.own(request.state.user, ModelRecord, _id(request))
        self._service.check_size(_number(request, "file_size"))
        upload = pb.FileMultipartUploadURL(
            urls=[_storage(request, self._store.link("upload", f"{model.id}/0"))],
            upload_id=model.id,
            max_part_size=2**62,
        )
        if "supports_s3_credentials" not in request.query_params:
            return upload
        return pb.FileUploadResponse(multipart_url=upload)

    async def end_model_upload(self, request: Request) -> Message:
        """`POST models/<id>/multipart_upload/`."""
        asked = await _read(request, pb.FileMultipartUploadComplete)
        model = await asyncio.to_thread(
            self._service.complete_model, request.state.user, _id(request), asked.upload_id
        )
        return wire.created_message(model.id, model.created)

    async def start_dataset_upload(self, request: Request) -> Message:
        """`GET datasets/<id>/upload_url/`."""
        dataset = self._service.own(request.state.user, DatasetRecord, _id(request))
        self._service.check_size(_number(request, "file_size"))
        link = self._store.link("upload", f"{dataset.id}/0")
        upload = pb.FileUploadURL(url=_storage(request, link), file_field_name="file")
        if "supports_s3_credentials" not in request.query_params:
            return upload
        return pb.FileUploadResponse(url=upload)

    async def end_dataset_upload(self, request: Request) -> Message:
        """`PATCH datasets/<id>/`."""
        await _read(request, pb.Dataset)
        dataset = self._service.complete_dataset(request.state.user, _id(request))
        return wire.created_message(dataset.id, dataset.created, dataset.expires)

    async def show(self, request: Request) -> Message:
        """`GET models/<id>/` and `datasets/<id>/`."""
        record = self._visible(request)
        if isinstance(record, ModelRecord):
            return wire.model_message(record)
        assert isinstance(record, DatasetRecord)
        return wire.dataset_message(record)

    async def models(self, request: Request) -> Message:
        """`GET models/`."""
        found = self._page(request, ModelRecord)
        return pb.ModelList(
            models=[wire.model_message(model) for model in found], total_query_count=len(found)
        )

    async def datasets(self, request: Request) -> Message:
        """`GET datasets/`."""
        found = self._page(request, DatasetRecord)
        listed = [wire.dataset_message(dataset) for dataset in found]
        return pb.DatasetList(datasets=listed, total_query_count=len(found))

    async def download(self, request: Request) -> Message:
        """`GET models/<id>/download/` and `datasets/<id>/download_data/`."""
        record = self._visible(request)
        if isinstance(record, JobRecord) or not record.blob:
            raise NotThere(f"{record.id} has no file: it was not uploaded, or its job failed")
        link = self._store.link("download", record.blob, download_name(record))
        url = pb.FileDownloadURL(url=_storage(request, link), filename=download_name(record))
        if "supports_s3_credentials" not in request.query_params:
            return url
        return pb.FileDownloadResponse(url=url)

    async def submit(self, request: Request) -> Message:
        """`POST jobs/`."""
        message = await _read(request, pb.Job)
        asked = wire.read_job(message)
        job = self._service.submit(request.state.user, asked, _project(request))
        return wire.created_message(job.id, job.created)

    async def job(self, request: Request) -> Message:
        """`GET jobs/<id>/`: held until the job is finished, but the first time, which is part of
        submitting.
        """
        job = self._store.get(JobRecord, _id(request), request.state.user.email)
        loop = asyncio.get_running_loop()
        until = loop.time() + HOLD_SECONDS
        first = job.asked.kind != "inference" and job.id not in self._told
        self._told.add(job.id)
        while not (first or job.state.finished) and loop.time() < until:
            await self._changes.wait(until - loop.time())
            job = self._store.get(JobRecord, job.id, request.state.user.email)
        return wire.job_message(self._store, job, _version(request))

    async def jobs(self, request: Request) -> Message:
        """`GET jobs/`, which clients up to 0.41 list jobs with."""
        found = self._page(request, JobRecord)
        listed = [wire.job_message(self._store, job, _version(request)) for job in found]
        return pb.JobList(jobs=listed, total_query_count=len(found))

    async def rename(self, request: Request) -> Message:
        """`PATCH jobs/<id>/`."""
        asked = await _read(request, pb.JobPublicUpdate)
        job = self._service.rename(request.state.user, _id(request), asked.name)
        return wire.created_message(job.id, job.created)

    async def result(self, request: Request) -> Message:
        """`GET jobs/<id>/result/`."""
        job = self._store.get(JobRecord, _id(request), request.state.user.email)
        if job.asked.kind != "inference" or not job.state.finished or job.failure:
            raise NotThere(f"job {job.id} has no result")
        return wire.result_message(job, _version(request))

    async def artifacts(self, request: Request) -> Message:
        """`GET jobs/<id>/device_runs/<n>/artifact_list/<type>/`: all logs are the hub's."""
        job = self._store.get(JobRecord, _id(request), request.state.user.email)
        listed = pb.NamedArtifactDownloadURLList()
        if int(request.path_params["type"]) == wire.HUB_LOG:
            for name, digest in job.made.logs.items():
                link = self._store.link("download", digest, name)
                listed.artifacts.add(url=_storage(request, link), filename=name, name=name)
        return listed

    async def old_artifact(self, request: Request) -> Message:
        """`GET jobs/<id>/device_runs/<n>/artifacts/<type>/`, of clients up to 0.42."""
        listed = await self.artifacts(request)
        assert isinstance(listed, pb.NamedArtifactDownloadURLList)
        if not listed.artifacts:
            raise NotThere("there is no such log")
        first = listed.artifacts[0]
        return pb.FileDownloadURL(url=first.url, filename=first.filename)

    async def summaries(self, request: Request) -> Message:
        """`GET job_summaries/`, the newest first."""
        states = [int(s) for s in request.query_params.get("state", "").split(",") if s.isdigit()]
        kind = request.query_params.get("type", "").replace("profile", "inference")
        found = self._page(
            request,
            JobRecord,
            states=states,
            kinds=[kind] if kind in _LISTED else [],
            creator=request.query_params.get("creator", ""),
        )
        listed = [self._summary(job, _version(request)) for job in found]
        return pb.JobSummaryList(job_summaries=listed, total_query_count=len(found))

    async def sharing(self, request: Request) -> Message:
        """`GET <things>/<id>/shared_access/`."""
        return pb.SharedAccess(email=self._store.shares(self._visible(request).id))

    async def share(self, request: Request) -> Message:
        """`PATCH` and `DELETE <things>/<id>/shared_access/`."""
        record = self._visible(request)
        remove = None
        add: list[str] = []
        if request.method == "PATCH":
            asked = await _read(request, pb.SharedAccessChange)
            add, remove = list(asked.add_email), list(asked.remove_email)
        self._service.change_sharing(request.state.user, record, add, remove)
        return wire.created_message(record.id, record.created)

    async def user(self, request: Request) -> Message:
        """`GET users/auth/user/`."""
        return pb.User(email=request.state.user.email)

    def _visible(self, request: Request) -> Record:
        kind = _KINDS[request.path_params["things"]]
        record: Record = self._store.get(kind, _id(request), request.state.user.email)
        return record

    def _page(self, request: Request, kind: type[Any], **filters: Any) -> list[Any]:
        return self._store.find(
            kind,
            request.state.user.email,
            limit=min(_number(request, "limit", 50), 1000),
            offset=_number(request, "offset"),
            project=_project(request),
            **filters,
        )

    def _summary(self, job: JobRecord, version: tuple[int, ...]) -> Message:
        target = self._store.get(ModelRecord, job.target).kind if job.target else None
        summary: Message = wire.summary_message(job, target, version)
        return summary


class NotThere(Exception):  # noqa: N818 - an answer
    """Something that is known but does not exist; the message is for the asker."""


_EXTENSIONS = {
    "TORCHSCRIPT": ".pt",
    "TORCH_EXPORTED_PROGRAM": ".pt2",
    "TFLITE": ".tflite",
    "QNN_CONTEXT_BINARY": ".bin",
    "QNN_DLC": ".dlc",
    "ONNX": ".onnx",
    "AIMET_ONNX": ".aimet",
}


def download_name(record: ModelRecord | DatasetRecord) -> str:
    """The file name of a download, which the client takes its extension from."""
    if isinstance(record, DatasetRecord):
        return f"dataset-{record.id}.h5"
    stem = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in record.name)
    extension = _EXTENSIONS[record.kind.name]
    return f"{stem}_{record.id}{extension}" + (".zip" if record.is_directory else "")


def api_routes(api: Api) -> list[Any]:
    """The addresses below `/api/v1`, with the same for projects where the client has them."""
    shared = "/{things:str}/{id}/shared_access/"
    alike = [
        ("GET", "/models/", api.models),
        ("POST", "/models/", api.create_model),
        ("POST", "/datasets/", api.create_dataset),
        ("GET", "/datasets/", api.datasets),
        ("GET", "/jobs/", api.jobs),
        ("POST", "/jobs/", api.submit),
        ("GET", "/job_summaries/", api.summaries),
    ]
    run = "/jobs/{id}/device_runs/{run}"
    own = [
        ("GET", "/devices/", api.devices),
        ("GET", "/frameworks/", api.frameworks),
        ("GET", "/users/auth/user/", api.user),
        ("GET", "/models/{id}/multipart_upload/", api.start_model_upload),
        ("POST", "/models/{id}/multipart_upload/", api.end_model_upload),
        ("GET", "/datasets/{id}/upload_url/", api.start_dataset_upload),
        ("PATCH", "/datasets/{id}/", api.end_dataset_upload),
        ("GET", "/{things:str}/{id}/download/", api.download),
        ("GET", "/{things:str}/{id}/download_data/", api.download),
        ("GET", "/jobs/{id}/result/", api.result),
        ("GET", f"{run}/artifact_list/{{type:int}}/", api.artifacts),
        ("GET", f"{run}/artifacts/{{type:int}}/", api.old_artifact),
        ("GET", shared, api.sharing),
        ("PATCH", shared, api.share),
        ("DELETE", shared, api.share),
        ("GET", "/jobs/{id}/", api.job),
        ("PATCH", "/jobs/{id}/", api.rename),
        ("GET", "/{things:str}/{id}/", api.show),
    ]
    projects = [(method, f"/projects/{{project}}{path}", call) for method, path, call in alike]
    return [
        Route(path, _answering(call), methods=[method])
        for method, path, call in [*alike, *projects, *own]
    ]


def _answering(call: Callable[[Request], Awaitable[Message]]) -> Handler:
    async def handle(request: Request) -> Response:
        service: Service = request.app.state.service
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        user = service.store.user_of(token.strip()) if scheme == "token" else None
        if user is None:
            return problem(401, "the API token is not known here")
        request.state.user = user
        if request.path_params.get("things", "jobs") not in _KINDS:
            return problem(404, "there is no such address")
        try:
            message = await call(request)
        except Unknown as error:
            return problem(404, f"{error} does not exist, or is not shared with you")
        except NotThere as error:
            return problem(404, str(error))
        except Oversized as error:
            return problem(413, str(error))
        except Forbidden as error:
            return problem(403, str(error))
        except (Refused, TaskError) as error:
            return problem(400, str(error))
        return Response(message.SerializeToString(), media_type=PROTOBUF)

    return handle


def problem(status: int, detail: str) -> JSONResponse:
    """An error as the client reads it."""
    return JSONResponse({"detail": detail}, status_code=status)


async def _read(request: Request, kind: type[Any]) -> Any:
    if int(request.headers.get("content-length", 0)) > _LARGEST_MESSAGE:
        raise Oversized("the body is too large for a message")
    body = await request.body()
    try:
        return kind.FromString(body)
    except DecodeError:
        raise Refused(f"the body is no {kind.DESCRIPTOR.name} message") from None


def _id(request: Request) -> str:
    return str(request.path_params["id"])


def _project(request: Request) -> str:
    return str(request.path_params.get("project", ""))


def _number(request: Request, name: str, default: int = 0) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isdigit():
        raise Refused(f"{name} must be a number, not {text!r}")
    return int(text)


def _version(request: Request) -> tuple[int, ...]:
    return wire.client_version(request.headers.get("client-version", ""))


def _storage(request: Request, key: str) -> str:
    return f"{request.url.scheme}://{request.url.netloc}/storage/{key}"


async def _login(request: Request) -> Response:
    return problem(400, "this hub has no passwords: configure the client with --api_token")


login = Route("/users/auth/login/", _login, methods=["POST"])
