"""Starts the hub: its folder, its users, its scheduler and its web server."""

import contextlib
import errno
import fcntl
import json
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

from reference.aihub.blobs import make_private
from reference.aihub.disposal import inspection
from reference.aihub.execute import Place
from reference.aihub.store import Store
from reference.errors import SubmissionError
from reference.install import install_command
from reference.process import Limits

LOOPBACK = ("127.0.0.1", "::1", "localhost")
# Connections that wait to be accepted, and that are accepted before the first is looked at: those
# need descriptors already.
_WAITING, _ACCEPTED = 512, 32


@dataclass(frozen=True)
class Settings:
    """How a hub is run. `workers` is how many jobs run at once.

    `remote` allows a `host` that other machines reach. Raises SubmissionError for what makes no
    sense.
    """

    place: Place
    host: str = "127.0.0.1"
    port: int = 0
    remote: bool = False
    workers: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise SubmissionError(
                f"--port {self.port} is no port", "give 1 to 65535; 0 takes any that is free"
            )
        if self.workers < 1:
            raise SubmissionError(f"--workers {self.workers} would do no job", "give 1 or more")
        if self.host not in LOOPBACK and not self.remote:
            raise SubmissionError(
                f"{self.host} can be reached from other machines, and whoever has a token can run"
                " models here",
                "add --allow-remote if that is meant",
            )


def new_token() -> str:
    """A token that cannot be guessed, without characters that configuration files mind."""
    return secrets.token_hex(20)


def add_user(place: Place, email: str) -> str:
    """Lets somebody in; their token, which is shown this once. A new one replaces the old."""
    if "@" not in email or any(c.isspace() for c in email):
        raise SubmissionError(f"{email!r} is no e-mail address", "give one, such as me@team.org")
    make_state(place.state)
    token = new_token()
    place.store().add_user(email, token)
    return token


def users(place: Place) -> list[str]:
    """The addresses of those who are let in; raises SubmissionError where there is no hub."""
    return existing(place).users()


def existing(place: Place) -> Store:
    """The database of a hub that there is; raises SubmissionError where there is none."""
    if not (place.state / "hub.sqlite").is_file():
        raise SubmissionError(
            f"there is no hub in {place.state}", "give the --state of `lpcvc hub serve`"
        )
    return place.store()


def make_state(state: Path) -> None:
    """Makes the folder of a hub; raises SubmissionError where that cannot be."""
    database = state / "hub.sqlite"
    try:
        make_private(state)
        empty = not database.exists() or not database.stat().st_size
        if empty and any((state / "blobs").glob("??/*")):
            raise SubmissionError(
                f"{database} is gone or empty, and files of a hub are there",
                "put back a copy of it, or give another --state",
            )
    except OSError as error:
        raise SubmissionError(
            f"{state} cannot be the folder of a hub ({error.strerror})",
            "give a --state that is a folder of your own, or none yet",
        ) from None


def serve(settings: Settings, ready: Callable[[str], None]) -> None:
    """Runs the hub until it is interrupted, or terminated; `ready` gets its address once it
    answers.

    Raises SubmissionError for an address that is taken, a folder that is in use or damaged, and
    where the hub's packages are not installed.
    """
    try:
        import qai_hub  # noqa: F401 - its protocol buffers
        import uvicorn

        from reference.aihub.changes import Changes
        from reference.aihub.connection import Connection
        from reference.aihub.scheduler import Scheduler
        from reference.aihub.service import Service
        from reference.aihub.web import application
    except ImportError as error:
        raise SubmissionError(f"{error.name} is not installed", install_command("hub")) from None
    place = settings.place
    make_state(place.state)
    with _locked(place.state), _socket(settings) as listener:
        store, blobs = place.store(), place.blobs()
        store.check()
        blobs.clean()
        host, port = listener.getsockname()[:2]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        changes = Changes()
        scheduler = Scheduler(place, settings.workers, changes.tell)
        service = Service(store, blobs, scheduler, place.max_upload, place.quota)

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                listener.listen(_WAITING)
                ready(url)

            def handle_exit(self, sig: int, frame: FrameType | None) -> None:
                scheduler.stop()
                super().handle_exit(sig, frame)

        config = uvicorn.Config(
            application(service, changes),
            http=Connection,
            backlog=_ACCEPTED,
            log_level="warning",
            timeout_graceful_shutdown=1,
            lifespan="on",
        )
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
        with contextlib.suppress(KeyboardInterrupt), scheduler, inspection(store, blobs):
            Server(config).run(sockets=[listener])


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
    handle = os.open(state / "lock", os.O_WRONLY | os.O_CREAT, 0o600)
    with os.fdopen(handle, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SubmissionError(
                f"another hub runs on {state}", "stop it, or give another --state"
            ) from None
        yield


@contextlib.contextmanager
def _socket(settings: Settings) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        host = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
        raise SubmissionError(
            f"{settings.host}:{settings.port} cannot be served ({error.strerror})",
            "give a --host that is this machine's"
            if host
            else "give another --port; 0 takes any that is free",
        ) from None
    with listener:
        yield listener


def main() -> None:
    """For `local_hub`: settings come as JSON on standard input, the address goes to the output.

    It ends when the input does, that is with the process that started it.
    """
    asked = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_input, daemon=True).start()
    place = Place(
        Path(asked["state"]),
        asked["runner"],
        limits=Limits(**asked["limits"]),
        deadline=asked["deadline"],
        max_upload=asked["max_upload"],
    )
    try:
        make_state(place.state)
        store = place.store()
        for email, token in asked["tokens"].items():
            store.add_user(email, token)
        settings = Settings(place, port=asked["port"], workers=asked["workers"])
        serve(settings, lambda url: print(json.dumps({"url": url}), flush=True))
    except SubmissionError as error:
        print(json.dumps({"problem": error.problem, "remedy": error.remedy}), flush=True)


def _end_with_input() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
