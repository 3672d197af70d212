"""Child processes that begin as forks of one small interpreter, on Linux, where that is safe.

Most of what a fresh interpreter takes is numpy, and of one for a PyTorch model PyTorch. This one
imports them once and runs no code but its own; each fork is a process by itself, with its own
limits and its own end. (The fork server of multiprocessing imports the caller's main module into
every child, and has one environment.)
"""

import atexit
import contextlib
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from typing import IO, Any, NoReturn, Protocol

# What an interpreter, and what is imported ahead of the forks, read when they start.
_READ_AT_START = (
    *("PYTHON", "LD_", "LC_", "LANG", "MALLOC_"),
    *("OMP_", "GOMP_", "KMP_", "OPENBLAS_", "MKL_", "DNNL_", "ONEDNN_"),
    *("TORCH", "PYTORCH_", "CUDA_"),
)
_LARGEST_REQUEST = 2**20
_NUMBER = 4  # bytes of a process id or an exit code
_STANDARD = 3  # stdin, stdout, stderr


class Process(Protocol):
    """What `subprocess.Popen` and a fork have in common; both keep to its documentation."""

    stdin: IO[Any] | None
    stdout: IO[Any] | None

    @property
    def pid(self) -> int: ...  # noqa: D102
    def poll(self) -> int | None: ...  # noqa: D102
    def wait(self, timeout: float | None = None) -> int: ...  # noqa: D102
    def kill(self) -> None: ...  # noqa: D102


def start(
    arguments: Sequence[str], stderr: IO[bytes], environment: Mapping[str, str], ahead: str = ""
) -> Process:
    """A Python process in a session of its own, with pipes for stdin and stdout; `arguments` are a
    module, which it runs, and the module's own. A fork has imported the module `ahead` already.
    """
    if sys.platform == "linux" and (server := _server_for(environment, ahead)) is not None:
        with contextlib.suppress(OSError):  # it is gone, or the request too long
            return _Fork(server, arguments, stderr, environment)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=environment,
        text=True,
        start_new_session=True,
    )


class _Server:
    """The interpreter that forks; it ends with this process, and its forks with it."""

    def __init__(self, environment: Mapping[str, str], ahead: str) -> None:
        self.control, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, str(other.fileno()), ahead],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                pass_fds=[other.fileno()],
                start_new_session=True,
            )

    def close(self) -> None:
        self.control.close()
        self._process.wait()


_servers: dict[object, _Server | None] = {}
_turn = threading.Lock()


def _server_for(environment: Mapping[str, str], ahead: str) -> _Server | None:
    """The one that began as a process with this environment would; None where it cannot."""
    paths = environment.get("PYTHONPATH", "").split(os.pathsep)
    read = sorted(each for each in environment.items() if each[0].startswith(_READ_AT_START))
    key = (sys.executable, ahead, *read, *map(os.path.abspath, paths))
    with _turn:
        if key not in _servers:
            _servers[key] = None
            with contextlib.suppress(OSError):
                _servers[key] = _Server(environment, ahead)
        return _servers[key]


@atexit.register
def _close() -> None:
    for server in filter(None, _servers.values()):
        server.close()


if hasattr(os, "register_at_fork"):  # a fork of this process has servers of its own
    os.register_at_fork(after_in_child=_servers.clear)


class _Fork:
    """A fork as this process sees it; see `Process`. Raises OSError where there is none."""

    def __init__(
        self,
        server: _Server,
        arguments: Sequence[str],
        stderr: IO[bytes],
        environment: Mapping[str, str],
    ) -> None:
        asked = {"run": [*arguments], "in": os.getcwd(), "environment": {**environment}}
        pipes = read, own_in, own_out, write, self._told, tell = (
            *os.pipe(),
            *os.pipe(),
            *os.pipe(),
        )
        try:
            files = [read, write, stderr.fileno(), tell]
            socket.send_fds(server.control, [json.dumps(asked).encode()], files)
        except OSError:
            for pipe in pipes:
                os.close(pipe)
            raise
        for pipe in (read, write, tell):
            os.close(pipe)
        self.stdin: IO[str] | None = os.fdopen(own_in, "w")
        self.stdout: IO[str] | None = os.fdopen(own_out)
        self._code: int | None = None
        self._reading = threading.Lock()
        self.pid = self._number()
        if not self.pid:
            self.stdin.close()
            self.stdout.close()
            os.close(self._told)
            raise ChildProcessError("the server is gone")

    def poll(self) -> int | None:
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._ended(timeout)
        if code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired("a fork", timeout)
        return code

    def kill(self) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def _ended(self, timeout: float | None) -> int | None:
        with self._reading:
            if self._code is None:
                ready = select.poll()
                ready.register(self._told, select.POLLIN)
                if ready.poll(None if timeout is None else 1000 * timeout):
                    self._code = self._number(-signal.SIGKILL)
                    os.close(self._told)
            return self._code

    def _number(self, default: int = 0) -> int:
        """The next one that the server tells; the default where it is gone."""
        told = os.read(self._told, _NUMBER)
        return int.from_bytes(told, sys.byteorder, signed=True) if told else default


def _serve(control: socket.socket, ahead: str) -> None:
    """Forks at each request, and tells of each fork its id and its exit code, while it is asked."""
    for module in filter(None, ("reference.child", ahead)):
        importlib.import_module(module)
    asleep, wake = os.pipe()
    for end in (asleep, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    listeners: dict[int, int] = {}
    while True:
        ready = select.select([control.fileno(), asleep], [], [])[0]
        if asleep in ready:
            os.read(asleep, 2**12)
        if control.fileno() in ready:
            request, files, *_ = socket.recv_fds(control, _LARGEST_REQUEST, _STANDARD + 1)
            if not request:
                return
            pid = os.fork()
            if not pid:
                _become(json.loads(request), files)
            listeners[pid] = files.pop()
            _tell(listeners[pid], pid)
            for file in files:
                os.close(file)
        while listeners:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            _tell(listeners[pid], os.waitstatus_to_exitcode(status))
            os.close(listeners.pop(pid))


def _tell(listener: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):
        os.write(listener, number.to_bytes(_NUMBER, sys.byteorder, signed=True))


def _become(asked: Mapping[str, Any], files: Sequence[int]) -> NoReturn:
    """Goes on as `python -P -m` would."""
    code = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for standard, file in enumerate(files[:_STANDARD]):
            os.dup2(file, standard)
        for name in os.listdir("/proc/self/fd"):  # the server's, and those of other forks
            if int(name) >= _STANDARD:
                with contextlib.suppress(OSError):  # the list itself
                    os.close(int(name))
        os.chdir(asked["in"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        module, *sys.argv[1:] = asked["run"]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as own:
        _serve(own, sys.argv[2])
    os._exit(0)
