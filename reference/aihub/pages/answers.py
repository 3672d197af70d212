"""What every page is answered with: its headers, who reads it, and what went wrong."""

from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from reference.aihub.pages.render import render
from reference.aihub.pages.views import Page
from reference.aihub.records import User
from reference.aihub.store import Store

COOKIE = "session"
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; form-action 'self'"
    ),
    "Referrer-Policy": "same-origin",
}


def store_of(request: Request) -> Store:
    """The database of the hub."""
    store: Store = request.app.state.service.store
    return store


def reader(request: Request) -> User | None:
    """Who is signed in."""
    return store_of(request).user_of_session(request.cookies.get(COOKIE, ""))


def page_of(request: Request, here: str = "", **more: Any) -> Page:
    """What is the same on every page, for whoever asks: nobody before signing in."""
    user = getattr(request.state, "user", None)
    email, csrf = (user.email, request.state.csrf) if user else ("", "")
    return Page(email, csrf, here=here, **more)


def html(template: str, status: int = 200, **context: Any) -> Response:
    """The page that a template makes of `context`."""
    return HTMLResponse(render(template, **context), status, headers=_HEADERS)


def problem_page(request: Request, status: int, title: str, text: str) -> Response:
    """A page that says what went wrong, and what helps."""
    return html("problem.html", status, page=page_of(request), title=title, text=text)


_SAID: dict[str, dict[str, str]] = {
    "added": {"message": "Shared."},
    "removed": {"message": "Not shared any more."},
    "deleted": {"message": "Deleted."},
    "refused": {"problem": "That is no e-mail address, or this is not yours to share."},
}


def said(request: Request) -> dict[str, str]:
    """What came of a form, for the page that it led to."""
    return _SAID.get(request.query_params.get("said", ""), {})
