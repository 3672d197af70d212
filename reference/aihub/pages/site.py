"""The addresses of the pages. Who is signed in has a cookie with the token; every form has a mark
that only this site can know.
"""

import datetime
import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from reference.aihub.listed import listed_devices
from reference.aihub.names import download_name
from reference.aihub.pages.render import render, size
from reference.aihub.pages.views import AssetView, JobView, Kind, Link, Page, Sharing, State
from reference.aihub.records import DatasetRecord, JobRecord, JobState, ModelRecord, User
from reference.aihub.service import Refused, Service
from reference.aihub.store import Record, Store, Unknown
from reference.aihub.tasks import ComputeUnit

_COOKIE = "token"
_PER_PAGE = 50
_KINDS: dict[str, type[Any]] = {
    "jobs": JobRecord,
    "models": ModelRecord,
    "datasets": DatasetRecord,
}
_TABS = ("compile", "profile", "inference", "quantize", "link")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; form-action 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
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
        Route("/jobs/", _signed_in(_jobs)),
        Route("/models/", _signed_in(_assets)),
        Route("/datasets/", _signed_in(_assets)),
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
        service: Service = request.app.state.service
        token = request.cookies.get(_COOKIE, "")
        user = service.store.user_of(token)
        if user is None:
            return RedirectResponse(f"/login?next={request.url.path}", 303)
        request.state.user, request.state.csrf = user, _mark(token)
        if request.method == "POST":
            form = await request.form()
            if not hmac.compare_digest(str(form.get("csrf", "")), request.state.csrf):
                return _problem(request, 403, "Not sent from this site", "Load the page again.")
        try:
            return await call(request)
        except Unknown:
            text = "It may not exist, or it is not shared with you."
            return _problem(request, 404, "There is no such thing", text)

    return handle


def _mark(token: str) -> str:
    return hmac.new(token.encode(), b"forms", hashlib.sha256).hexdigest()


def _page(request: Request, here: str = "", **more: Any) -> Page:
    return Page(request.state.user.email, request.state.csrf, here=here, **more)


def _html(template: str, status: int = 200, **context: Any) -> Response:
    return HTMLResponse(render(template, **context), status, headers=_HEADERS)


def _problem(request: Request, status: int, title: str, text: str) -> Response:
    return _html("problem.html", status, page=_page(request), title=title, text=text)


async def _start(request: Request) -> Response:
    return RedirectResponse("/jobs/", 303)


async def _login(request: Request) -> Response:
    then, problem = request.query_params.get("next", "/jobs/"), ""
    if request.method == "POST":
        form = await request.form()
        then, token = str(form.get("next", "/jobs/")), str(form.get("token", "")).strip()
        if request.app.state.service.store.user_of(token) is not None:
            response = RedirectResponse(_inside(then), 303)
            response.set_cookie(_COOKIE, token, httponly=True, samesite="strict")
            return response
        problem = "This hub does not know that token."
    status = 403 if problem else 200
    return _html("login.html", status, page=Page(problem=problem), next=_inside(then))


def _inside(path: str) -> str:
    """A path of this site; whatever leads elsewhere becomes the list of jobs."""
    safe = path.startswith("/") and not path.startswith(("//", "/\\"))
    return path if safe else "/jobs/"


async def _logout(request: Request) -> Response:
    response = RedirectResponse("/login", 303)
    response.delete_cookie(_COOKIE)
    return response


async def _jobs(request: Request) -> Response:
    store, user = _store(request), request.state.user
    chosen = request.query_params.get("kind", "")
    kinds = ["inference" if chosen == "profile" else chosen] if chosen in _TABS else []
    number = _number(request)
    found = store.find(
        JobRecord, user.email, limit=_PER_PAGE + 1, offset=number * _PER_PAGE, kinds=kinds
    )
    views = [job_view(store, job, user) for job in found[:_PER_PAGE]]
    if chosen in ("profile", "inference"):
        views = [view for view in views if view.kind == chosen]
    tabs = [Link("All", "/jobs/", "here" if not kinds else "")]
    tabs += [Link(k.capitalize(), f"/jobs/?kind={k}", "here" * (k == chosen)) for k in _TABS]
    here = f"/jobs/?kind={chosen}&page=" if kinds else "/jobs/?page="
    page = _page(request, "Jobs", pages=_pages(here, number, len(found)))
    return _html("jobs.html", page=page, title="Jobs", jobs=views, tabs=tabs)


async def _job(request: Request) -> Response:
    store, user = _store(request), request.state.user
    job = job_view(store, store.get(JobRecord, request.path_params["id"], user.email), user)
    layers = job.profile.layers if job.profile else ()
    counts = Counter(layer.unit for layer in layers)
    units = [(unit.name, counts[unit]) for unit in reversed(ComputeUnit) if counts[unit]]
    return _html("job.html", page=_page(request, "Jobs", **_said(request)), job=job, units=units)


async def _assets(request: Request) -> Response:
    store, user = _store(request), request.state.user
    things = request.url.path.strip("/")
    number = _number(request)
    found = store.find(_KINDS[things], user.email, limit=_PER_PAGE + 1, offset=number * _PER_PAGE)
    title = things.capitalize()
    page = _page(request, title, pages=_pages(f"/{things}/?page=", number, len(found)))
    views = [asset_view(store, each, user) for each in found[:_PER_PAGE]]
    return _html("assets.html", page=page, title=title, base=f"/{things}/", assets=views)


async def _asset(request: Request) -> Response:
    store, user = _store(request), request.state.user
    things = request.url.path.split("/")[1]
    record = store.get(_KINDS[things], request.path_params["id"], user.email)
    what = "MODEL" if things == "models" else "DATASET"
    page = _page(request, things.capitalize(), **_said(request))
    return _html("asset.html", page=page, what=what, asset=asset_view(store, record, user))


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
    return _html("devices.html", page=_page(request, "Devices"), devices=rows)


async def _account(request: Request) -> Response:
    url = f"{request.url.scheme}://{request.url.netloc}"
    return _html("account.html", page=_page(request, "Account"), url=url)


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
    store, user = _store(request), request.state.user
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


def job_view(store: Store, job: JobRecord, user: User) -> JobView:
    """A job as its page shows it."""
    asked, made = job.asked, job.made
    end = job.finished or (datetime.datetime.now(datetime.UTC).timestamp())
    links = [Link(name, f"/jobs/{job.id}/file/{name}") for name in made.logs]
    target = store.get(ModelRecord, job.target) if job.target else None
    if target is not None and target.blob:
        links.insert(0, Link(_TARGETS[asked.kind], f"/models/{target.id}/file", size(target.size)))
    if made.output_dataset:
        output = store.get(DatasetRecord, made.output_dataset)
        links.insert(0, Link("OUTPUT DATASET", f"/datasets/{output.id}/file", size(output.size)))
    sources = [_source("models", store.get(ModelRecord, id)) for id in asked.models]
    if asked.dataset:
        sources.append(_source("datasets", store.get(DatasetRecord, asked.dataset)))
    kind: Kind = "profile" if asked.kind == "inference" and asked.profile else asked.kind
    return JobView(
        job.id,
        kind,
        job.name,
        _state(job),
        job.owner,
        _moment(job.created),
        ", ".join(asked.devices) or "any",
        None if job.started is None else end - job.started,
        asked.options,
        job.failure,
        made.notices,
        (("Weights", asked.weights), ("Activations", asked.activations)),
        tuple(sources),
        tuple(links),
        _netron(target) if target is not None else "",
        target.input_spec if target else asked.input_specs,
        target.output_spec if target else (),
        made.profile,
        _sharing(store, "jobs", job, user),
    )


_TARGETS = {
    "compile": "COMPILED MODEL",
    "quantize": "QUANTIZED MODEL",
    "link": "LINKED MODEL",
    "inference": "",
}


def asset_view(store: Store, record: ModelRecord | DatasetRecord, user: User) -> AssetView:
    """A model or a data set as its page shows it."""
    model = record if isinstance(record, ModelRecord) else None
    expires = None if isinstance(record, ModelRecord) else record.expires
    things = "models" if model else "datasets"
    producer = None
    if record.producer:
        job = store.get(JobRecord, record.producer)
        producer = Link(job.name or job.id, f"/jobs/{job.id}/")
    file = Link("DOWNLOAD", f"/{things}/{record.id}/file", size(record.size))
    return AssetView(
        record.id,
        record.name,
        model.kind.name.replace("_", " ").lower() if model else "data set",
        record.owner,
        _moment(record.created),
        record.size if record.blob else None,
        _moment(expires) if expires else None,
        producer,
        inputs=model.input_spec if model else (),
        outputs=model.output_spec if model else (),
        downloads=(file,) if record.blob else (),
        visualize=_netron(model) if model else "",
        sharing=_sharing(store, things, record, user),
    )


def _netron(model: ModelRecord) -> str:
    """Netron on a model that is one file of a kind that it reads."""
    readable = model.blob and not model.is_directory and model.kind.name != "QNN_CONTEXT_BINARY"
    if not readable or find_spec("netron") is None:
        return ""
    return f"/netron/index.html?url=/models/{model.id}/file&identifier={download_name(model)}"


def _sharing(store: Store, things: str, record: Record, user: User) -> Sharing:
    if record.owner == user.email:
        return Sharing(tuple(store.shares(record.id)), f"/{things}/{record.id}/share")
    return Sharing((user.email,))


def _source(things: str, record: ModelRecord | DatasetRecord) -> Link:
    return Link(record.name or record.id, f"/{things}/{record.id}/")


def _state(job: JobRecord) -> State:
    match job.state:
        case JobState.CREATED:
            return "waiting"
        case JobState.DONE:
            return "ready"
        case JobState.FAILED:
            return "failed"
    return "running"


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def _store(request: Request) -> Store:
    store: Store = request.app.state.service.store
    return store


def _number(request: Request) -> int:
    text = request.query_params.get("page", "0")
    return int(text) if text.isdigit() else 0


def _pages(base: str, number: int, found: int) -> tuple[Link, ...]:
    links = []
    if number:
        links.append(Link("Newer", f"{base}{number - 1}"))
    if found > _PER_PAGE:
        links.append(Link("Older", f"{base}{number + 1}"))
    return tuple(links)
