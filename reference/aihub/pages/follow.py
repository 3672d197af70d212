"""Tells an open page that what it shows has changed, by server-sent events.

An event carries a mark of what there is to see; a page that shows another one gets itself anew.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from reference.aihub.access import Unknown
from reference.aihub.pages.answers import reader, store_of
from reference.aihub.pages.query import PER_PAGE, Query
from reference.aihub.records import JobRecord
from reference.aihub.store import Store

_LOOK_SECONDS = 1.0
# Between two signs of life: shorter than what a connection may be silent.
_PULSE_SECONDS = 10.0
_HEADERS = {"X-Accel-Buffering": "no"}


def mark_of_job(job: JobRecord) -> str:
    """What is another text once the page of a job looks otherwise."""
    return _mark(job.name, job.state, job.attempt)


def mark_of_list(store: Store, viewer: str, query: Query) -> str:
    """What is another text once a list of jobs looks otherwise."""
    start = query.page * PER_PAGE
    seen = store.states(viewer, query.search, limit=PER_PAGE, offset=start)
    return _mark(seen, store.count(JobRecord, viewer, query.search))


async def follow_job(request: Request) -> Response:
    """The events of one job."""
    store, viewer, id = store_of(request), request.state.user.email, request.path_params["id"]
    await run_in_threadpool(store.get, JobRecord, id, viewer)
    return _events(request, lambda: mark_of_job(store.get(JobRecord, id, viewer)))


async def follow_jobs(request: Request) -> Response:
    """The events of a list of jobs, with what the address of the list asks for."""
    store, viewer = store_of(request), request.state.user.email
    query = Query.read("/jobs/", request.query_params, JobRecord)
    return _events(request, lambda: mark_of_list(store, viewer, query))


def _events(request: Request, mark: Callable[[], str]) -> Response:
    async def events() -> AsyncIterator[str]:
        told, silent = "", 0.0
        while await run_in_threadpool(reader, request) is not None:
            try:
                now = await run_in_threadpool(mark)
            except Unknown:  # shared no more, or gone
                return
            if now != told or silent >= _PULSE_SECONDS:
                yield f"data: {now}\n\n"
                told, silent = now, 0.0
            await asyncio.sleep(_LOOK_SECONDS)
            silent += _LOOK_SECONDS

    return StreamingResponse(events(), media_type="text/event-stream", headers=_HEADERS)


def _mark(*seen: object) -> str:
    return hashlib.sha256(repr(seen).encode()).hexdigest()[:16]
