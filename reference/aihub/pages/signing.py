"""Signing in: a session of its own, which can be ended, and a mark in every form of it that only
this site can know.
"""

import hashlib
import hmac
from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any, cast
from urllib.parse import parse_qsl, quote

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from reference.aihub.bounds import FORM_BYTES, check_address, read_body
from reference.aihub.pages.answers import COOKIE, html, page_of, problem_page, reader
from reference.aihub.problems import problem, told
from reference.aihub.service import Service
from reference.aihub.throttle import Throttle

_TITLES = {403: "Not yours to change", 404: "There is no such thing", 413: "Too large"}

Handler = Callable[[Request], Awaitable[Response]]


def signing_routes() -> list[Any]:
    """Sign in, sign out, and sign out everywhere."""
    return [
        Route("/login", _login, methods=["GET", "POST"]),
        Route("/logout", signed_in(_logout), methods=["POST"]),
        Route("/logout/everywhere", signed_in(_logout_everywhere), methods=["POST"]),
    ]


async def no_page(request: Request, error: Exception) -> Response:
    """What is answered where there is no such address, to a program or to a person."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    if request.url.path.startswith(("/api/", "/storage/")):
        return problem(status, "there is no such address")
    await _recognise(request)
    text = "The address may be mistyped, or from another version of this hub."
    return problem_page(request, status, "There is no such page", text)


async def _recognise(request: Request) -> bool:
    """Whether somebody is signed in; `request.state` has who."""
    user = await run_in_threadpool(reader, request)
    if user is not None:
        request.state.user, request.state.csrf = user, _mark(request.cookies[COOKIE])
    return user is not None


def signed_in(call: Callable[[Request], Response] | Handler) -> Handler:
    """`call` for those who are signed in; what it raises becomes a page.

    It runs in a thread, unless it is a coroutine function. `request.state` has the `user`, and
    `form`, the fields of a form that this site made.
    """

    async def handle(request: Request) -> Response:
        if not await _recognise(request):
            then = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(f"/login?next={quote(then)}", 303)
        try:
            check_address(request)
            if request.method == "POST":
                request.state.form = form = await _form(request)
                mark = form.get("csrf", "").encode()
                if not hmac.compare_digest(mark, request.state.csrf.encode()):
                    return problem_page(
                        request, 403, "Not sent from this site", "Load the page again."
                    )
            if iscoroutinefunction(call):
                response: Response = await call(request)
                return response
            return await run_in_threadpool(cast(Callable[[Request], Response], call), request)
        except Exception as error:
            status, text = told(error)
            return problem_page(request, status, _TITLES.get(status, "That cannot be done"), text)

    return handle


async def _login(request: Request) -> Response:
    then, problem, status = request.query_params.get("next", "/jobs/"), "", 200
    throttle: Throttle = request.app.state.throttle
    if request.method == "POST":
        service: Service = request.app.state.service
        try:
            throttle.begin(request)
            form = await _form(request)
            then, token = form.get("next", "/jobs/"), form.get("token", "").strip()
            user = await run_in_threadpool(service.store.user_of, token)
            if user is not None:
                throttle.right(request)
                response = RedirectResponse(_inside(then), 303)
                key = await run_in_threadpool(service.store.open_session, user)
                response.set_cookie(COOKIE, key, httponly=True, samesite="strict")
                return response
            problem, status = "This hub does not know that token.", 403
        except Exception as error:
            status, problem = told(error)
    return html("login.html", status, page=page_of(request, problem=problem), next=_inside(then))


def _logout(request: Request) -> Response:
    request.app.state.service.store.close_session(request.state.user)
    return _away()


def _logout_everywhere(request: Request) -> Response:
    request.app.state.service.store.close_sessions(request.state.user)
    return _away()


def _away() -> Response:
    response = RedirectResponse("/login", 303)
    response.delete_cookie(COOKIE)
    return response


async def _form(request: Request) -> dict[str, str]:
    body = await read_body(request, FORM_BYTES)
    return dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))


def _inside(path: str) -> str:
    """A path of this site; whatever leads elsewhere becomes the list of jobs."""
    safe = path.startswith("/") and not path.startswith(("//", "/\\"))
    return path if safe else "/jobs/"


def _mark(key: str) -> str:
    return hmac.new(key.encode(), b"forms", hashlib.sha256).hexdigest()
