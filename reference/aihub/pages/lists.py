"""The lists of jobs, models and data sets: searched, filtered and sorted before they are paged."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from reference.aihub.pages.answers import html, page_of, said, store_of
from reference.aihub.pages.follow import mark_of_list
from reference.aihub.pages.present import asset_view, job_view
from reference.aihub.pages.query import PER_PAGE, TABS, Listing, Query
from reference.aihub.pages.views import STATES, Link
from reference.aihub.records import DatasetRecord, JobRecord, ModelRecord

_OF_JOBS = {
    "name": "Name",
    "id": "ID",
    "kind": "Kind",
    "state": "Status",
    "device": "Device",
    "created": "Created",
    "took": "Took",
    "owner": "Owner",
}
_OF_ASSETS = {
    "name": "Name",
    "id": "ID",
    "kind": "Kind",
    "size": "Size",
    "created": "Created",
    "owner": "Owner",
}


def jobs_page(request: Request) -> Response:
    """The jobs that somebody may see."""
    query, listing, found = _list(request, JobRecord, _OF_JOBS)
    store, user = store_of(request), request.state.user
    tabs = [Link("All", query.href(kind=""), "here" * (not query.kind))]
    tabs += [Link(k.capitalize(), query.href(kind=k), "here" * (k == query.kind)) for k in TABS]
    return html(
        "jobs.html",
        page=page_of(request, "Jobs", **said(request)),
        list=listing,
        jobs=[job_view(store, job, user) for job in found],
        tabs=tabs,
        statuses=STATES,
        devices=[(name, name) for name in store.devices(user.email)],
        mark=mark_of_list(store, user.email, query),
    )


def assets_page(request: Request) -> Response:
    """The models or data sets that somebody may see."""
    things = request.url.path.strip("/")
    kind: type[Any] = ModelRecord if things == "models" else DatasetRecord
    _, listing, found = _list(request, kind, _OF_ASSETS)
    store, user = store_of(request), request.state.user
    return html(
        "assets.html",
        page=page_of(request, things.capitalize(), **said(request)),
        title=things.capitalize(),
        base=f"/{things}/",
        list=listing,
        assets=[asset_view(store, each, user) for each in found],
    )


def _list(
    request: Request, kind: type[Any], headings: Mapping[str, str]
) -> tuple[Query, Listing, list[Any]]:
    """What is asked for, what stands around the list, and one page of it: the last at most."""
    store, viewer = store_of(request), request.state.user.email
    query = Query.read(request.url.path, request.query_params, kind)
    total = store.count(kind, viewer, query.search)
    last = max(0, (total - 1) // PER_PAGE)
    query = replace(query, page=min(query.page, last))
    start = query.page * PER_PAGE
    found = store.find(kind, viewer, query.search, limit=PER_PAGE, offset=start)
    steps = {"First": 0, "Previous": query.page - 1, "Next": query.page + 1, "Last": last}
    listing = Listing(
        found=total,
        all=store.count(kind, viewer, query.unfiltered.search),
        first=start + 1,
        last=start + len(found),
        columns=tuple(query.column(name, heading) for name, heading in headings.items()),
        pages=tuple(
            Link(text, query.href(page=page))
            for text, page in steps.items()
            if 0 <= page <= last and page != query.page
        ),
        kind=query.kind,
        text=query.text,
        status=query.status,
        device=query.device,
        filtered=query.filtered,
        form=(("kind", query.kind), ("sort", query.sort)),
        reset=query.unfiltered.href(),
        words=query.words,
    )
    return query, listing, found
