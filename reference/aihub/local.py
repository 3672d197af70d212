"""A hub for the time of a `with`: started on a free port, with a client that is set up for it."""

import contextlib
import fcntl
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reference.aihub.server import new_token
from reference.errors import SubmissionError
from reference.install import install_command
from reference.process import Limits

# Of the folders of hubs that are kept nowhere; one so new may not have its lock yet.
_PREFIX, _NEW_SECONDS = "lpcvc-hub-", 3600.0
OWNER = "me@localhost.localdomain"


@dataclass(frozen=True)
class LocalHub:
    """A hub that runs. `tokens` are by e-mail address; `process` is the server's."""

    url: str
    tokens: dict[str, str]
    process: subprocess.Popen[str]

    @property
    def token(self) -> str:
        """That of its first user."""
        return next(iter(self.tokens.values()))

    @property
    def client(self) -> Any:
        """The official client, as the first user; nothing of the home folder is read."""
        return self.client_of(next(iter(self.tokens)))

    def client_of(self, email: str, token: str | None = None) -> Any:
        """The official client as one of the users, or with any token."""
        from qai_hub.client import Client
        from qai_hub.public_rest_api import ClientConfig

        config = ClientConfig(
            api_token=token or self.tokens[email],
            api_url=self.url,
            web_url=self.url,
            verbose=False,
        )
        return Client(config=config)


@contextlib.contextmanager
def local_hub(
    state: Path | None = None,
    *,
    users: Sequence[str] = (OWNER,),
    runner: str = "reference.aihub.work:run",
    workers: int = 1,
    max_upload: int = 4 * 2**30,
    tokens: dict[str, str] | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    deadline: float | None = None,
    port: int = 0,
) -> Iterator[LocalHub]:
    """Runs a hub on this machine's loopback until the end of the `with`; `port` 0 is any.

    Its things are kept in `state`, or nowhere. `tokens` gives its users the tokens of an earlier
    run. `max_upload` is in bytes, `limits` are those of a step of a job, and `deadline` is that of
    a whole job, in seconds, by default the time of six steps. Raises SubmissionError where it does
    not start.
    """
    known = tokens or {email: new_token() for email in users}
    with contextlib.ExitStack() as stack:
        if state is None:
            _sweep()
            state = Path(
                stack.enter_context(
                    tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True)
                )
            )
        log = stack.enter_context(tempfile.TemporaryFile("w+"))
        process = subprocess.Popen(
            [sys.executable, "-m", "reference.aihub.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        stack.callback(_end, process)
        assert process.stdin is not None
        assert process.stdout is not None
        asked = {
            "state": str(state),
            "runner": runner,
            "workers": workers,
            "max_upload": max_upload,
            "limits": asdict(limits),
            "deadline": deadline or 6 * limits.timeout,
            "port": port,
            "tokens": known,
        }
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline() or "{}")
        if "url" not in answer:
            log.seek(0)
            last = (log.read().strip().splitlines() or ["no reason given"])[-1]
            raise SubmissionError(
                f"the local hub does not start: {answer.get('problem', last)}",
                answer.get("remedy", install_command("hub")),
            )
        yield LocalHub(answer["url"], known, process)


def _sweep() -> None:
    """Removes the folders of such hubs that were killed, and this user's: nobody has the lock."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            about = folder.lstat()
            if about.st_uid != os.getuid() or not stat.S_ISDIR(about.st_mode):
                continue
            try:
                handle = os.open(folder / "lock", os.O_WRONLY | os.O_NOFOLLOW)
            except FileNotFoundError:
                if time.time() - about.st_mtime > _NEW_SECONDS:
                    shutil.rmtree(folder)
                continue
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(handle)


def _end(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
