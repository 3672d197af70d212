"""The addresses of the pages. Who is signed in has a cookie with the token; every form has a mark
that only this site can know.
"""

import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from reference.aihub.listed import listed_devices
from reference.aihub.names import download_name
from reference.aihub.pages.answers import COOKIE, html, page_of, problem_page, reader, store_of
from reference.aihub.pages.follow import follow_job, follow_jobs, mark_of_job
from reference.aihub.pages.lists import assets_page, jobs_page
from reference.aihub.pages.present import asset_view, job_view
from reference.aihub.records import DatasetRecord, JobRecord, ModelRecord
from reference.aihub.service import Refused, Service
from reference.aihub.store import Unknown
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

Handler = Callable[[Request], Awaitable[Response]]


def page_routes() -> list[Any]:
    """All pages, their style and Netron."""
    here = Path(__file__).parent
    routes: list[Any] = [
        Route("/", _start),
        Route("/login", _login, methods=["GET", "POST"]),
        Route("/logout", _signed_in(_logout), methods=["POST"]),
        Route("/jobs/", _signed_in(jobs_page)),
        Route("/jobs/events", _signed_in(follow_jobs)),
        Route("/jobs/{id}/events", _signed_in(follow_job)),
        Route("/models/", _signed_in(assets_page)),
        Route("/datasets/", _signed_in(assets_page)),
        Route("/devices/", _signed_in(_devices)),
        Route("/account/", _signed_in(_account)),
        Route("/jobs/{id}/", _signed_in(_job)),
        Route("/models/{id}/", _signed_in(_asset)),
        Route("/datasets/{id}/", _signed_in(_asset)),
        Route("/{things}/{id}/share", _signed_in(_share), methods=["POST"]),
        Route("/{things}/{id}/file", _signed_in(_file)),
        Route("/{things}/{id}/file/{name}", _signed_in(_file)),
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


def _signed_in(call: Handler) -> Handler:
    async def handle(request: Request) -> Response:
        user = reader(request)
        if user is None:
            then = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(f"/login?next={quote(then)}", 303)
        request.state.user, request.state.csrf = user, _mark(request.cookies[COOKIE])
        if request.method == "POST":
            form = await request.form()
            if not hmac.compare_digest(str(form.get("csrf", "")), request.state.csrf):
                return problem_page(request, 403, "Not sent from this site", "Load the page again.")
        try:
            return await call(request)
        except Unknown:
            text = "It may not exist, or it is not shared with you."
            return problem_page(request, 404, "There is no such thing", text)

    return handle


def _mark(token: str) -> str:
    return hmac.new(token.encode(), b"forms", hashlib.sha256).hexdigest()


async def _start(request: Request) -> Response:
    return RedirectResponse("/jobs/", 303)


async def _login(request: Request) -> Response:
    then, problem = request.query_params.get("next", "/jobs/"), ""
    if request.method == "POST":
        form = await request.form()
        then, token = str(form.get("next", "/jobs/")), str(form.get("token", "")).strip()
        if request.app.state.service.store.user_of(token) is not None:
            response = RedirectResponse(_inside(then), 303)
            response.set_cookie(COOKIE, token, httponly=True, samesite="strict")
            return response
        problem = "This hub does not know that token."
    status = 403 if problem else 200
    return html("login.html", status, page=page_of(request, problem=problem), next=_inside(then))


def _inside(path: str) -> str:
    """A path of this site; whatever leads elsewhere becomes the list of jobs."""
    safe = path.startswith("/") and not path.startswith(("//", "/\\"))
    return path if safe else "/jobs/"


async def _logout(request: Request) -> Response:
    response = RedirectResponse("/login", 303)
    response.delete_cookie(COOKIE)
    return response


async def _job(request: Request) -> Response:
    store, user = store_of(request), request.state.user
    record = store.get(JobRecord, request.path_params["id"], user.email)
    job = job_view(store, record, user)
    layers = job.profile.layers if job.profile else ()
    counts = Counter(layer.unit for layer in layers)
    units = [(unit.name, counts[unit]) for unit in reversed(ComputeUnit) if counts[unit]]
    page = page_of(request, "Jobs", **_said(request))
    return html("job.html", page=page, job=job, units=units, mark=mark_of_job(record))


async def _asset(request: Request) -> Response:
    store, user = store_of(request), request.state.user
    things = request.url.path.split("/")[1]
    record = store.get(_KINDS[things], request.path_params["id"], user.email)
    what = "MODEL" if things == "models" else "DATASET"
    page = page_of(request, things.capitalize(), **_said(request))
    return html("asset.html", page=page, what=what, asset=asset_view(store, record, user))


async def _devices(request: Request) -> Response:
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


async def _account(request: Request) -> Response:
    url = f"{request.url.scheme}://{request.url.netloc}"
    return html("account.html", page=page_of(request, "Account"), url=url)


async def _share(request: Request) -> Response:
    things, id = request.path_params["things"], request.path_params["id"]
    if things not in _KINDS:
        raise Unknown(id)
    service: Service = request.app.state.service
    form = await request.form()
    record = service.store.get(_KINDS[things], id, request.state.user.email)
    add, remove = ([str(form[name])] if form.get(name) else [] for name in ("add", "remove"))
    try:
        service.change_sharing(request.state.user, record, add, remove)
    except Refused:
        return RedirectResponse(f"/{things}/{id}/?said=refused", 303)
    return RedirectResponse(f"/{things}/{id}/?said={'added' if add else 'removed'}", 303)


_SAID: dict[str, dict[str, str]] = {
    "added": {"message": "Shared."},
    "removed": {"message": "Not shared any more."},
    "refused": {"problem": "That is no e-mail address, or this is not yours to share."},
}


def _said(request: Request) -> dict[str, str]:
    return _SAID.get(request.query_params.get("said", ""), {})


async def _file(request: Request) -> Response:
    """A model, a data set, or a log of a job: by a storage address that holds for an hour."""
    store, user = store_of(request), request.state.user
    things, id = request.path_params["things"], request.path_params["id"]
    if things not in _KINDS:
        raise Unknown(id)
    record = store.get(_KINDS[things], id, user.email)
    if isinstance(record, JobRecord):
        name = request.path_params.get("name", "")
        digest = record.made.logs.get(name, "")
    else:
        name, digest = download_name(record), record.blob
    if not digest:
        raise Unknown(id)
    return RedirectResponse(f"/storage/{store.link('download', digest, name)}", 303)
