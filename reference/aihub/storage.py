"""The addresses that bytes go to and come from. Whoever has one may use it, while it holds."""

from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response

from reference.aihub.blobs import TooLarge
from reference.aihub.form import MalformedError, file_of_form
from reference.aihub.responses import FILE_FIELD, problem
from reference.aihub.service import Service
from reference.aihub.store import Unknown


async def storage(request: Request) -> Response:
    """`GET` a file, `PUT` the bytes of a model, or `POST` a form with those of a data set."""
    service: Service = request.app.state.service
    try:
        link = service.store.linked(request.path_params["key"])
    except Unknown:
        return problem(403, "this address has expired, or never was one")
    if request.method in ("GET", "HEAD"):
        if link.purpose != "download":
            return problem(403, "this address takes an upload")
        return FileResponse(service.blobs.path(link.target), filename=link.filename)
    if link.purpose != "upload":
        return problem(403, "this address gives a download")
    try:
        blob = await service.blobs.receive(_bytes(request), service.max_upload)
    except TooLarge:
        return problem(413, f"larger than this hub takes ({service.max_upload / 1e6:.1f} MB)")
    except MalformedError as error:
        return problem(400, str(error))
    except ClientDisconnect:
        return problem(400, "the upload was cut short")  # for the record: nobody reads it
    service.store.add_upload(link.target, blob.digest)
    return Response(status_code=204, headers={"ETag": f'"{blob.digest}"'})


def _bytes(request: Request) -> AsyncIterator[bytes]:
    if request.method == "PUT":
        return request.stream()
    return file_of_form(request.headers.get("content-type", ""), request.stream(), FILE_FIELD)
