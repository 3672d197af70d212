"""The web application of a hub: its API, its storage and its pages."""

import contextlib
from collections.abc import AsyncIterator

import anyio.to_thread
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reference.aihub.app import api_routes, login
from reference.aihub.changes import Changes
from reference.aihub.pages.signing import no_page
from reference.aihub.pages.site import page_routes
from reference.aihub.problems import problem, told
from reference.aihub.responses import Api
from reference.aihub.service import Service
from reference.aihub.storage import storage
from reference.aihub.throttle import Throttle

_THREADS = 16  # each with its connection to the database
_SAME_FOR_ALL = ("/static/", "/netron/")


def application(service: Service, changes: Changes) -> Starlette:
    """All addresses; `changes` wakes those who wait for a job."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        changes.begin()
        anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
        yield

    app = Starlette(
        routes=[
            Mount("/api/v1", routes=[login, *api_routes(Api(service, changes))]),
            Route("/storage/{key}", storage, methods=["GET", "PUT", "POST"]),
            *page_routes(),
        ],
        lifespan=lifespan,
        exception_handlers={404: no_page, 405: no_page, Exception: _fault},
        middleware=[Middleware(_Headers)],
    )
    app.state.service, app.state.throttle = service, Throttle()
    return app


async def _fault(request: Request, error: Exception) -> Response:
    return problem(*told(error))


class _Headers:
    """What every answer says of itself: it is of the type that it says, and for its asker alone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        private = not scope.get("path", "").startswith(_SAME_FOR_ALL)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                more = [(b"x-content-type-options", b"nosniff")]
                if private:
                    more.append((b"cache-control", b"no-store"))
                own = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *((name, value) for name, value in more if name not in own),
                ]
            await send(message)

        await self._app(scope, receive, answer)
