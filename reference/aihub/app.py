"""The addresses of the hub's API."""

import json
from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any

from google.protobuf.message import Message
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from reference.aihub.access import folded
from reference.aihub.bounds import FORM_BYTES, check_address, read_body
from reference.aihub.problems import problem, told
from reference.aihub.responses import KINDS, Api
from reference.aihub.service import Service
from reference.aihub.throttle import Throttle

PROTOBUF = "application/x-protobuf"

Handler = Callable[[Request], Awaitable[Response]]
# What takes no time may be a coroutine; everything else runs in a thread, and waits for nobody.
Call = Callable[[Request], Message] | Callable[[Request], Awaitable[Message]]


def api_routes(api: Api) -> list[Any]:
    """The addresses below `/api/v1`, with the same for projects where the client has them."""
    shared = "/{things:str}/{id}/shared_access/"
    alike: list[tuple[str, str, Call]] = [
        ("GET", "/models/", api.models),
        ("POST", "/models/", api.create_model),
        ("POST", "/datasets/", api.create_dataset),
        ("GET", "/datasets/", api.datasets),
        ("GET", "/jobs/", api.jobs),
        ("POST", "/jobs/", api.submit),
        ("GET", "/job_summaries/", api.summaries),
    ]
    run = "/jobs/{id}/device_runs/{run}"
    own: list[tuple[str, str, Call]] = [
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
        ("GET", f"{run}/artifact_list/{{type}}/", api.artifacts),
        ("GET", f"{run}/artifacts/{{type}}/", api.old_artifact),
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


def _answering(call: Call) -> Handler:
    async def handle(request: Request) -> Response:
        service: Service = request.app.state.service
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        try:
            user = None
            if scheme == "token":
                user = await run_in_threadpool(service.store.user_of, token.strip())
            if user is None:
                return problem(401, "the API token is not known here")
            request.state.user = user
            check_address(request)
            if request.path_params.get("things", "jobs") not in KINDS:
                return problem(404, "there is no such address")
            if request.method in ("POST", "PATCH"):
                request.state.body = await read_body(request)
            if iscoroutinefunction(call):
                message = await call(request)
            else:
                message = await run_in_threadpool(call, request)
            body = await run_in_threadpool(message.SerializeToString)
        except Exception as error:
            return problem(*told(error))
        return Response(body, media_type=PROTOBUF)

    return handle


async def _login(request: Request) -> Response:
    """`POST users/auth/login/`: the password is the token, which is all there is here."""
    service: Service = request.app.state.service
    throttle: Throttle = request.app.state.throttle
    try:
        throttle.begin(request)
        try:
            sent = json.loads(await read_body(request, FORM_BYTES))
            email, token = str(sent["email"]), str(sent["password"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return problem(400, "an e-mail address and a password are needed")
        user = await run_in_threadpool(service.store.user_of, token)
        if user is None or user.email != folded(email):
            return problem(400, "the password is the token of that user")
        throttle.right(request)
    except Exception as error:
        return problem(*told(error))
    return JSONResponse({"key": token})


login = Route("/users/auth/login/", _login, methods=["POST"])
