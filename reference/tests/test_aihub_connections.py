"""Connections that want much and say little: others do not wait for them."""

import asyncio
import contextlib
import resource
import socket
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

qai_hub = pytest.importorskip("qai_hub", reason="needs the hub extra")

from uvicorn.config import Config  # noqa: E402
from uvicorn.server import ServerState  # noqa: E402

from reference.aihub import connection  # noqa: E402
from reference.aihub.connection import Connection, most_connections  # noqa: E402
from reference.aihub.local import LocalHub, local_hub  # noqa: E402

FILES, HALF_OPEN = 256, 400
S24 = qai_hub.Device("Samsung Galaxy S24")
BEGUN = {
    "nothing": b"",
    "half a header": b"GET / HTTP/1.1\r\nHost: here\r\nX-Long: ",
    "half a login": b"POST /login HTTP/1.1\r\nHost: here\r\nContent-Length: 9000\r\n\r\ntoken=",
    "half an upload to nowhere": b"PUT /storage/x HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n",
}


@contextlib.contextmanager
def descriptors(most: int) -> Iterator[None]:
    """So many open files at most, for this process."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture(scope="module")
def hub() -> Iterator[LocalHub]:
    """With few descriptors; this process may have more open, whatever ran in it before."""
    most = FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    few = partial(resource.setrlimit, resource.RLIMIT_NOFILE, most)
    start = partial(subprocess.Popen, preexec_fn=few)
    with contextlib.ExitStack() as stack:
        with mock.patch("reference.aihub.local.subprocess.Popen", start):
            runner = "reference.tests.hub_runner:run"
            own = stack.enter_context(local_hub(runner=runner, workers=2))
        assert resource.prlimit(own.process.pid, resource.RLIMIT_NOFILE)[0] == FILES
        yield own


@pytest.mark.parametrize("begun", list(BEGUN.values()), ids=list(BEGUN))
def test_half_open_connections_lock_nobody_out(hub: LocalHub, begun: bytes, tmp_path: Path) -> None:
    """400 of them with 256 descriptors; the neighbour uploads, compiles and runs meanwhile."""
    host, port = hub.url.removeprefix("http://").split(":")
    path = tmp_path / "model.onnx"
    path.write_text("nothing special\n" * 60_000)
    with contextlib.ExitStack() as stack:
        for _ in range(HALF_OPEN):
            half = stack.enter_context(socket.create_connection((host, int(port)), 30))
            with contextlib.suppress(OSError):
                half.sendall(begun)
        start = time.monotonic()
        client = hub.client
        model = client.upload_model(str(path))
        data = client.upload_dataset({"image": [np.zeros((1, 3), np.float32)]})
        seconds = time.monotonic() - start
        job = client.submit_compile_job(model, S24, options="--target_runtime qnn_dlc")
        assert job.wait().success
        run = client.submit_inference_job(job.get_target_model(), S24, data, profile=False)
        assert run.download_output_data() is not None
    print(f"uploads beside {HALF_OPEN} half-open connections: {seconds:.1f} s")


class Transport(asyncio.Transport):
    """What uvicorn writes to, without a network."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = False
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def abort(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.ended = True

    def is_closing(self) -> bool:
        return self.ended

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def get_extra_info(self, name: str, default: object = None) -> object:
        return default


class Desk:
    """Connections to an application on a clock that the test moves."""

    def __init__(self, application) -> None:
        self.loop = asyncio.new_event_loop()
        self.now = 0.0
        self.loop.time = lambda: self.now  # type: ignore[method-assign]
        config = Config(application, lifespan="off", log_level="critical")
        config.load()
        self._config, self._state = config, ServerState()

    def open(self) -> tuple[Connection, Transport]:
        own, transport = Connection(self._config, self._state, {}, self.loop), Transport()
        own.connection_made(transport)
        return own, transport

    def wait(self, seconds: float) -> None:
        """Step by step, so that timers run as they would."""
        for _ in range(round(seconds * 2)):
            self.now += 0.5
            self.loop.run_until_complete(asyncio.sleep(0))
            self.loop.run_until_complete(asyncio.sleep(0))


async def slow(scope, receive, send) -> None:
    """Lets in whoever asks for /known, reads the body, and answers."""
    if scope["path"] == "/known":
        scope["state"]["user"] = "somebody"
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})


@pytest.fixture
def desk() -> Iterator[Desk]:
    own = Desk(slow)
    yield own
    for task in asyncio.all_tasks(own.loop):
        task.cancel()
    own.loop.run_until_complete(asyncio.sleep(0))
    own.loop.close()


@pytest.mark.parametrize("begun", [b"", b"GE", b"GET / HTTP/1.1\r\nHost: here\r\nX: "])
def test_a_request_must_come(desk: Desk, begun: bytes) -> None:
    """Even where a byte comes now and then."""
    own, transport = desk.open()
    if begun:
        own.data_received(begun)
    for _ in range(4):
        desk.wait(2)
        assert not transport.ended
        if begun.endswith(b" "):
            own.data_received(b"x")
    desk.wait(4)
    assert transport.ended


def test_a_body_must_get_on(desk: Desk) -> None:
    head = b"POST /known HTTP/1.1\r\nHost: here\r\nContent-Length: 10000000\r\n\r\n"
    fast, fast_end = desk.open()
    drip, drip_end = desk.open()
    for own in (fast, drip):
        own.data_received(head)
    for _ in range(12):
        desk.wait(10)
        fast.data_received(bytes(20_000))
        if not drip_end.ended:
            drip.data_received(b"x")
    assert drip_end.ended
    assert not fast_end.ended, "240 kB in two minutes are few, but they come"


def test_whoever_is_known_is_waited_for(desk: Desk) -> None:
    """A request at work has no limit here: the API holds some for a while."""

    async def held(scope, receive, send) -> None:
        scope["state"]["user"] = "somebody"
        await receive()
        await asyncio.Event().wait()

    desk._config.loaded_app = held
    own, transport = desk.open()
    own.data_received(b"GET /known HTTP/1.1\r\nHost: here\r\n\r\n")
    desk.wait(120)
    assert own.known
    assert not transport.ended


def test_a_reader_must_read(desk: Desk) -> None:
    async def much(scope, receive, send) -> None:
        scope["state"]["user"] = "somebody"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": bytes(100), "more_body": True})

    desk._config.loaded_app = much
    own, transport = desk.open()
    own.data_received(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
    own.pause_writing()
    desk.wait(20)
    own.resume_writing()
    own.pause_writing()
    desk.wait(25)
    assert not transport.ended, "it has read something"
    desk.wait(60)
    assert transport.ended


def test_the_one_who_has_said_nothing_for_longest_goes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "most_connections", lambda: 3)
    known, known_end = desk.open()
    known.data_received(b"POST /known HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nx")
    desk.wait(1)
    _, first_end = desk.open()
    desk.wait(1)
    login, login_end = desk.open()
    login.data_received(b"POST /login HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nx")
    desk.wait(1)
    later = [desk.open()]
    assert [known_end.ended, first_end.ended, login_end.ended] == [False, True, False]
    desk.wait(1)
    later.append(desk.open())
    assert [known_end.ended, login_end.ended] == [False, True]
    desk.wait(1)
    for own, _ in later:
        own.data_received(b"POST /known HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nx")
    desk.wait(1)
    _, newest_end = desk.open()
    assert newest_end.ended, "all others are known"
    assert not known_end.ended


@pytest.mark.parametrize(("files", "most"), [(256, 80), (1024, 464), (65536, 512), (64, 16)])
def test_there_are_descriptors_for_each(files: int, most: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard not in (-1,) and hard < files:
        pytest.skip("this machine allows fewer open files")
    with descriptors(files):
        assert most_connections() == most
