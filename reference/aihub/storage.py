"""The addresses that bytes go to and come from. Whoever has one may use it, while it holds."""

from collections.abc import AsyncIterator

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from reference.aihub.access import Unknown
from reference.aihub.bounds import check_address
from reference.aihub.form import file_of_form
from reference.aihub.problems import problem, told
from reference.aihub.responses import FILE_FIELD
from reference.aihub.service import Service


async def storage(request: Request) -> Response:
    """`GET` a file, `PUT` the bytes of a model, or `POST` a form with those of a data set."""
    service: Service = request.app.state.service
    try:
        check_address(request)
        address = await run_in_threadpool(service.address, request.path_params["key"])
        request.state.user = address.user
        if request.method in ("GET", "HEAD"):
            if address.purpose != "download":
                return _problem(403, "this address takes an upload")
            size = await run_in_threadpool(service.blobs.size, address.digest)
            chunks = service.blobs.read(address.digest)
            return StreamingResponse(
                _after(await anext(chunks), chunks),  # of a small file, that is all: it is right
                media_type="application/octet-stream",
                headers={
                    "Content-Length": str(size),
                    "Content-Disposition": f'attachment; filename="{address.filename}"',
                },
            )
        if address.purpose != "upload":
            return _problem(403, "this address gives a download")
        room = await run_in_threadpool(service.room, address.user)
        with service.blobs.draft() as draft:
            blob = await service.blobs.receive(draft, _bytes(request), room)
            await run_in_threadpool(service.upload, address, draft, blob)
    except Unknown:
        return _problem(403, "this address has expired, or never was one")
    except Exception as error:
        return _problem(*told(error))
    return Response(status_code=204, headers={"ETag": f'"{blob.digest}"'})


def _problem(status: int, detail: str) -> Response:
    """An error; of storage's, the client shows what stands in these marks."""
    text = detail.replace("<", "(").replace(">", ")")[:1000]
    return problem(status, detail, error=f"<Code>Refused</Code><Message>{text}</Message>")


async def _after(first: bytes, others: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in others:
        yield chunk


def _bytes(request: Request) -> AsyncIterator[bytes]:
    if request.method == "PUT":
        return request.stream()
    return file_of_form(request.headers.get("content-type", ""), request.stream(), FILE_FIELD)
