"""Starts the hub: its folder, its users, its scheduler and its web server."""

import contextlib
import fcntl
import json
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from reference.aihub.execute import Place
from reference.errors import SubmissionError
from reference.install import install_command

if TYPE_CHECKING:
    from starlette.applications import Starlette

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Settings:
    """How a hub is run. `max_upload` is in bytes; `workers` is how many jobs run at once.

    `remote` allows a `host` that other machines reach.
    """

    place: Place
    host: str = "127.0.0.1"
    port: int = 0
    remote: bool = False
    max_upload: int = 4 * 2**30
    workers: int = 1


def new_token() -> str:
    """A token that cannot be guessed, without characters that configuration files mind."""
    return secrets.token_hex(20)


def add_user(place: Place, email: str) -> str:
    """Lets somebody in; their token, which is shown this once. A new one replaces the old."""
    if "@" not in email or any(c.isspace() for c in email):
        raise SubmissionError(f"{email!r} is no e-mail address", "give one, such as me@team.org")
    place.state.mkdir(parents=True, exist_ok=True)
    token = new_token()
    place.store().add_user(email, token)
    return token


def users(place: Place) -> list[str]:
    """The addresses of those who are let in; raises SubmissionError where there is no hub."""
    if not (place.state / "hub.sqlite").exists():
        raise SubmissionError(
            f"there is no hub in {place.state}", "give the --state of `lpcvc hub serve`"
        )
    return place.store().users()


def serve(settings: Settings, ready: Callable[[str], None]) -> None:
    """Runs the hub until it is interrupted; `ready` gets its address once it answers.

    Raises SubmissionError for an address that is taken or not allowed, a folder in use, and where
    the hub's packages are not installed.
    """
    try:
        import qai_hub  # noqa: F401 - its protocol buffers
        import uvicorn
    except ImportError as error:
        raise SubmissionError(f"{error.name} is not installed", install_command("hub")) from None
    if settings.host not in LOOPBACK and not settings.remote:
        raise SubmissionError(
            f"{settings.host} can be reached from other machines, and whoever has a token can run"
            " models here",
            "add --allow-remote if that is meant",
        )
    with _locked(settings.place.state), _socket(settings) as listener:
        settings.place.blobs().clean()
        host, port = listener.getsockname()[:2]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                ready(url)

        config = uvicorn.Config(
            application(settings),
            log_level="warning",
            timeout_graceful_shutdown=1,
            lifespan="on",
        )
        with contextlib.suppress(KeyboardInterrupt):  # when all is put away
            Server(config).run(sockets=[listener])


def application(settings: Settings) -> "Starlette":
    """The web application of a hub."""
    from starlette.applications import Starlette
    from starlette.routing import Mount, Route

    from reference.aihub.app import api_routes, login
    from reference.aihub.changes import Changes
    from reference.aihub.pages.site import page_routes
    from reference.aihub.responses import Api
    from reference.aihub.scheduler import Scheduler
    from reference.aihub.service import Service
    from reference.aihub.storage import storage

    changes = Changes()
    scheduler = Scheduler(settings.place, settings.workers, changes.tell)
    service = Service(
        settings.place.store(), settings.place.blobs(), scheduler, settings.max_upload
    )

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        changes.begin()
        with scheduler:
            yield

    app = Starlette(
        routes=[
            Mount("/api/v1", routes=[login, *api_routes(Api(service, changes))]),
            Route("/storage/{key}", storage, methods=["GET", "PUT", "POST"]),
            *page_routes(),
        ],
        lifespan=lifespan,
    )
    app.state.service = service
    return app


def warnings(url: str) -> list[str]:
    """What on this machine keeps the client, which talks through requests, from a hub at `url`."""
    from requests.utils import get_environ_proxies, get_netrc_auth

    host = urlsplit(url).hostname
    found = []
    if {"http", "all"} & set(get_environ_proxies(url)):
        found.append(f"a proxy is set: the client goes there unless NO_PROXY={host}")
    if get_netrc_auth(url):
        found.append(f"~/.netrc has an entry for {host}: the client sends that for its token")
    return found


@contextlib.contextmanager
def _locked(state: Path) -> Iterator[None]:
    state.mkdir(parents=True, exist_ok=True)
    with (state / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SubmissionError(
                f"another hub runs on {state}", "stop it, or give another --state"
            ) from None
        yield


@contextlib.contextmanager
def _socket(settings: Settings) -> Iterator[socket.socket]:
    if not 0 <= settings.port <= 65535:
        raise SubmissionError(
            f"--port {settings.port} is no port", "give 1 to 65535; 0 takes any that is free"
        )
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise SubmissionError(
            f"{settings.host}:{settings.port} cannot be served ({error.strerror})",
            "give another --port; 0 takes any that is free",
        ) from None
    with listener:
        yield listener


def main() -> None:
    """For `local_hub`: settings come as JSON on standard input, the address goes to the output.

    It ends when the input does, that is with the process that started it.
    """
    asked = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_input, daemon=True).start()
    place = Place(Path(asked["state"]), asked["runner"], deadline=asked["deadline"])
    place.state.mkdir(parents=True, exist_ok=True)
    store = place.store()
    for email, token in asked["tokens"].items():
        store.add_user(email, token)
    settings = Settings(
        place, port=asked["port"], workers=asked["workers"], max_upload=asked["max_upload"]
    )
    serve(settings, lambda url: print(url, flush=True))


def _end_with_input() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
