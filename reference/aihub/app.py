"""The addresses of the hub's API, and which answer has which HTTP status."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.message import Message
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from reference.aihub.records import User
from reference.aihub.responses import KINDS, Api, NotThere, problem, read_body
from reference.aihub.service import Forbidden, Oversized, Refused, Service
from reference.aihub.store import Unknown
from reference.aihub.tasks import TaskError

PROTOBUF = "application/x-protobuf"

Handler = Callable[[Request], Awaitable[Response]]


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
        if request.path_params.get("things", "jobs") not in KINDS:
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
        except ClientDisconnect:
            return problem(400, "the request was cut short")
        return Response(message.SerializeToString(), media_type=PROTOBUF)

    return handle


async def _login(request: Request) -> Response:
    """`POST users/auth/login/`: the password is the token, which is all there is here."""
    service: Service = request.app.state.service
    try:
        sent = json.loads(await read_body(request))
        email, token = str(sent["email"]), str(sent["password"])
    except (ValueError, KeyError, TypeError):
        return problem(400, "an e-mail address and a password are needed")
    except Oversized as error:
        return problem(413, str(error))
    if service.store.user_of(token) != User(email):
        return problem(400, "the password is the token of that user")
    return JSONResponse({"key": token})


login = Route("/users/auth/login/", _login, methods=["POST"])
