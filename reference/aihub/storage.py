"""The addresses that bytes go to and come from. Whoever has one may use it, while it holds."""

from collections.abc import AsyncIterator

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from reference.aihub.app import problem
from reference.aihub.blobs import Blob, TooLarge
from reference.aihub.service import Service
from reference.aihub.store import Unknown

_CHUNK = 1 << 20


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
        blob = await _receive(request, service)
    except TooLarge:
        return problem(413, f"larger than this hub takes ({service.max_upload / 1e6:.1f} MB)")
    if blob is None:
        return problem(400, "the form has no file")
    upload, _, number = link.target.partition("/")
    service.store.add_part(upload, int(number), blob.digest)
    return Response(status_code=204, headers={"ETag": f'"{blob.digest}"'})


async def _receive(request: Request, service: Service) -> Blob | None:
    if request.method == "PUT":
        return await service.blobs.receive(request.stream(), service.max_upload)
    if int(request.headers.get("content-length", 0)) > service.max_upload + _CHUNK:
        raise TooLarge
    async with request.form() as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            return None
        return await service.blobs.receive(_chunks(file), service.max_upload)


async def _chunks(file: UploadFile) -> AsyncIterator[bytes]:
    while chunk := await file.read(_CHUNK):
        yield chunk
