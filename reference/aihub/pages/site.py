"""The addresses of the pages."""

import re
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from reference.aihub.access import Unknown
from reference.aihub.listed import listed_devices
from reference.aihub.pages.answers import html, page_of, said, store_of
from reference.aihub.pages.chart import chart_of
from reference.aihub.pages.follow import follow_job, follow_jobs, mark_of_job
from reference.aihub.pages.lists import assets_page, jobs_page
from reference.aihub.pages.present import asset_view, job_view
from reference.aihub.pages.signing import signed_in, signing_routes
from reference.aihub.problems import Refused
from reference.aihub.records import DatasetRecord, JobRecord, ModelRecord, Record
from reference.aihub.service import Service
from reference.aihub.tasks import ComputeUnit

_KINDS: dict[str, type[Any]] = {
    "jobs": JobRecord,
    "models": ModelRecord,
    "datasets": DatasetRecord,
}
# Netron draws with styles of its own, and must not tell anybody of a model.
_NETRON_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:"
    )
}


def page_routes() -> list[Any]:
    """All pages, their style and Netron."""
    here = Path(__file__).parent
    routes: list[Any] = [
        Route("/", _start),
        *signing_routes(),
        Route("/jobs/", signed_in(jobs_page)),
        Route("/jobs/events", signed_in(follow_jobs)),
        Route("/jobs/{id}/events", signed_in(follow_job)),
        Route("/models/", signed_in(assets_page)),
        Route("/datasets/", signed_in(assets_page)),
        Route("/devices/", signed_in(_devices)),
        Route("/account/", signed_in(_account)),
        Route("/jobs/{id}/", signed_in(_job)),
        Route("/models/{id}/", signed_in(_asset)),
        Route("/datasets/{id}/", signed_in(_asset)),
        Route("/{things}/{id}/share", signed_in(_share), methods=["POST"]),
        Route("/{things}/{id}/delete", signed_in(_delete), methods=["POST"]),
        Route("/{things}/{id}/file", signed_in(_file)),
        Route("/{things}/{id}/file/{name}", signed_in(_file)),
        Mount("/static", StaticFiles(directory=here / "static")),
    ]
    netron = find_spec("netron")
    if netron is not None and netron.origin is not None:
        routes.append(Mount("/netron", _Netron(directory=Path(netron.origin).parent)))
    return routes


class _Netron(StaticFiles):
    """Netron's own pages, kept from the rest of the network."""

    async def get_response(self, path: str, scope: Any) -> Response:
        """A file; the first page without what makes Netron report home, and expire."""
        response = await super().get_response(path, scope)
        if path == "index.html" and isinstance(response, FileResponse):
            text = Path(response.path).read_text(encoding="utf-8")
            text = re.sub(r'(name="version" content=")[^"]*', r"\g<1>0.0.0", text)
            response = HTMLResponse(re.sub(r'(name="date" content=")[^"]*', r"\1", text))
            # Without an answer to its question of cookies it first asks where its user is.
            response.set_cookie("consent", "local", path="/netron")
        response.headers.update(_NETRON_HEADERS)
        return response


async def _start(request: Request) -> Response:
    return RedirectResponse("/jobs/", 303)


def _job(request: Request) -> Response:
    store, user = store_of(request), request.state.user
    record = store.get(JobRecord, request.path_params["id"], user.email)
    job = job_view(store, record, user)
    layers = job.profile.layers if job.profile else ()
    counts = Counter(layer.unit for layer in layers)
    units = [(unit.name, counts[unit]) for unit in reversed(ComputeUnit) if counts[unit]]
    page = page_of(request, "Jobs", **said(request))
    return html(
        "job.html",
        page=page,
        job=job,
        units=units,
        chart=chart_of(job.profile) if job.profile else None,
        mark=mark_of_job(record),
    )


def _asset(request: Request) -> Response:
    store, user = store_of(request), request.state.user
    things = request.url.path.split("/")[1]
    record = store.get(_KINDS[things], request.path_params["id"], user.email)
    what = "MODEL" if things == "models" else "DATASET"
    page = page_of(request, things.capitalize(), **said(request))
    return html("asset.html", page=page, what=what, asset=asset_view(store, record, user))


def _devices(request: Request) -> Response:
    rows = [
        {
            "name": each.name,
            "os": next((a[3:] for a in each.attributes if a.startswith("os:")), ""),
            "soc": each.device.soc,
            "hexagon": each.device.hexagon,
            "vtcm_mb": each.device.vtcm_mb,
            "float16": each.device.float16,
        }
        for each in listed_devices()
    ]
    return html("devices.html", page=page_of(request, "Devices"), devices=rows)


def _account(request: Request) -> Response:
    url = f"{request.url.scheme}://{request.url.netloc}"
    return html("account.html", page=page_of(request, "Account"), url=url)


def _share(request: Request) -> Response:
    things, id = request.path_params["things"], request.path_params["id"]
    service: Service = request.app.state.service
    form, record = request.state.form, _record(request)
    add, remove = ([form[name]] if form.get(name) else [] for name in ("add", "remove"))
    try:
        service.change_sharing(request.state.user, record, add, remove)
    except Refused:
        return RedirectResponse(f"/{things}/{id}/?said=refused", 303)
    return RedirectResponse(f"/{things}/{id}/?said={'added' if add else 'removed'}", 303)


def _delete(request: Request) -> Response:
    things, record = request.path_params["things"], _record(request)
    service: Service = request.app.state.service
    service.delete(request.state.user, _KINDS[things], record.id)
    return RedirectResponse(f"/{things}/?said=deleted", 303)


def _file(request: Request) -> Response:
    """A model, a data set, or a log of a job: by a storage address that holds for an hour."""
    service: Service = request.app.state.service
    log = request.path_params.get("name", "")
    key = service.download(request.state.user, _record(request), log)
    return RedirectResponse(f"/storage/{key}", 303)


def _record(request: Request) -> Record:
    """The thing of the address; raises Unknown where the user may not see it."""
    things, id = request.path_params["things"], request.path_params["id"]
    if things not in _KINDS:
        raise Unknown(id)
    record: Record = store_of(request).get(_KINDS[things], id, request.state.user.email)
    return record
