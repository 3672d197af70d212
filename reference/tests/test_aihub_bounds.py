"""Requests that say too much, or what nothing was made for: one answer that helps, and no wait."""

import asyncio
import errno
import http.client
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

qai_hub = pytest.importorskip("qai_hub", reason="needs the hub extra")

import requests  # noqa: E402
from google.protobuf.descriptor import FieldDescriptor  # noqa: E402
from qai_hub import public_api_pb2 as pb  # noqa: E402
from starlette.requests import Request  # noqa: E402

from reference.aihub.bounds import check_message  # noqa: E402
from reference.aihub.form import MalformedError, file_of_form  # noqa: E402
from reference.aihub.listed import listed_devices, matching  # noqa: E402
from reference.aihub.local import LocalHub, local_hub  # noqa: E402
from reference.aihub.problems import Refused, told  # noqa: E402
from reference.aihub.room import is_no_room  # noqa: E402
from reference.aihub.throttle import Throttle  # noqa: E402
from reference.aihub.wire import client_version  # noqa: E402
from reference.tests.hub_requests import ask, page_session  # noqa: E402

DEEP = "[" * 5000


@pytest.fixture(scope="module")
def hub() -> Iterator[LocalHub]:
    with local_hub(runner="reference.tests.hub_runner:run") as own:
        yield own


def _texts(descriptor, seen: frozenset = frozenset()) -> Iterator[tuple]:
    """The ways to every text of a message, each a tuple of fields."""
    for field in descriptor.fields:
        if field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
            yield (field,)
        elif field.message_type and field.message_type.full_name not in seen:
            inside = seen | {field.message_type.full_name}
            if not field.message_type.GetOptions().map_entry:
                for rest in _texts(field.message_type, inside):
                    yield (field, *rest)


SENT = (pb.Job, pb.Model, pb.Dataset, pb.JobPublicUpdate, pb.SharedAccessChange,
        pb.FileMultipartUploadComplete)  # fmt: skip


@pytest.mark.parametrize("kind", SENT)
def test_every_text_of_a_message_is_bounded(kind) -> None:
    ways = list(_texts(kind.DESCRIPTOR))
    assert ways
    for way in ways:
        for size, fits in ((1_000, True), (10_001, False)):
            message = kind()
            inner = message
            for field in way[:-1]:
                inner = getattr(inner, field.name)
                inner = inner.add() if field.is_repeated else inner
            text = "x" * size if way[-1].type == FieldDescriptor.TYPE_STRING else b"x" * size
            if way[-1].is_repeated:
                getattr(inner, way[-1].name).append(text)
            else:
                setattr(inner, way[-1].name, text)
            if fits:
                check_message(message)
            else:
                with pytest.raises(Refused, match=f"{way[-1].name} has 10001 characters"):
                    check_message(message)


def test_lists_are_bounded() -> None:
    shared = pb.SharedAccessChange(add_email=["a@b"] * 1_001)
    with pytest.raises(Refused, match="add_email has 1001 entries, and at most 1000 are taken"):
        check_message(shared)
    model = pb.Model()
    model.metadata.entries[3] = "x" * 1_001
    with pytest.raises(Refused, match="1001 characters"):
        check_message(model)


def test_long_options_are_refused_and_keep_nobody_waiting(hub: LocalHub) -> None:
    """As many as the message may have are refused at once; as many as are taken are read."""
    job = pb.Job()
    job.compile_job.model.model_id = "m0"
    job.compile_job.options = '"' * 900_000
    answer = ask(hub, "POST", "jobs/", data=job.SerializeToString())
    assert answer.status_code == 400
    assert answer.json()["detail"] == "options has 900000 characters, and at most 10000 are taken"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "devices/?os=[" + "9" * 5000 + ",)"),
        ("GET", "devices/?os=[,1." + "9" * 900 + ")"),
        ("GET", "devices/?name=" + "x" * 5000),
        ("GET", "devices/?" + "x" * 5000 + "=1"),
        ("GET", "models/?limit=" + "9" * 20),
        ("GET", "jobs/?offset=²"),
        ("GET", "jobs/" + "j" * 5000 + "/"),
        ("GET", "jobs/j1/device_runs/latest/artifact_list/" + "9" * 5000 + "/"),
        ("GET", "projects/" + "p" * 5000 + "/jobs/"),
        ("GET", "job_summaries/?state=" + "9" * 900 + "&type=²"),
        ("GET", "datasets/d1/upload_url/?file_size=" + "9" * 18),
        ("POST", "models/"),
    ],
)
def test_nothing_of_it_is_a_fault(hub: LocalHub, method: str, path: str) -> None:
    answer = ask(hub, method, path, data=b"\xff" * 9 if method == "POST" else None)
    assert answer.status_code < 500
    assert "a fault of this hub" not in answer.text


@pytest.mark.parametrize("version", ["0." + "5" * 5000, "²", "1." + "9" * 40, "", "..", "1e9"])
def test_any_client_version(hub: LocalHub, version: str) -> None:
    headers = {"Client-Version": version.encode()}
    assert ask(hub, "GET", "job_summaries/?limit=1", headers=headers).status_code == 200
    assert all(0 <= part < 10_000 for part in client_version(version))


@given(st.text("0123456789.[,)²٣ ", max_size=30))
def test_any_version_of_a_system_may_be_asked_for(asked: str) -> None:
    assert {device.name for device in matching("", asked, ())} <= {d.name for d in listed_devices()}


@pytest.mark.parametrize(
    "query",
    ["page=²", "page=" + "9" * 20, "page=-1", "sort=" + "x" * 900, "q=" + "\x00" * 9, "status=%ff"],
)
def test_pages_take_any_address(hub: LocalHub, query: str) -> None:
    session = page_session(hub)
    for things in ("jobs", "models", "datasets"):
        answer = session.get(f"{hub.url}/{things}/?{query}", timeout=30)
        assert answer.status_code == 200
        assert "<h1>" in answer.text
    assert session.get(f"{hub.url}/jobs/{'x' * 3000}/", timeout=30).status_code == 400


def post_from(address: str, url: str, body: bytes, kind: str) -> tuple[int, str]:
    """What a login answers to somebody at an address of this machine's loopback."""
    host, port = url.removeprefix("http://").partition("/")[0].split(":")
    path = "/" + url.removeprefix("http://").partition("/")[2]
    connection = http.client.HTTPConnection(host, int(port), 30, (address, 0))
    connection.request("POST", path, body, {"Content-Type": kind})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


@pytest.mark.parametrize(
    "body",
    [
        DEEP,
        '{"email":' + DEEP,
        json.dumps({"email": "\ud800", "password": "\ud800"}),
        json.dumps({"email": ["x"], "password": {}}),
        '{"email": 1e999, "password": 1' + "0" * 5000 + "}",
        "\x00",
    ],
)
def test_any_login(hub: LocalHub, body: str) -> None:
    url = f"{hub.url}/api/v1/users/auth/login/"
    status, text = post_from("127.0.0.2", url, body.encode(), "application/json")
    assert status == 400
    assert "a fault of this hub" not in text


@pytest.mark.parametrize("path", ["/login", "/api/v1/users/auth/login/"])
def test_a_login_takes_little(hub: LocalHub, path: str) -> None:
    """From whoever has no token: no form of files, and nothing that is kept on disk."""
    boundary = b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
    status, text = post_from(
        "127.0.0.3", hub.url + path, boundary + bytes(1 << 20), "multipart/form-data; boundary=b"
    )
    assert status == 413
    assert "too large for a message: more than 16384 bytes" in text


@pytest.mark.parametrize("path", ["/login", "/api/v1/users/auth/login/"])
def test_wrong_tokens_run_out(hub: LocalHub, path: str) -> None:
    """At one address; at others, and for those who have a token, nothing changes."""
    url, place = hub.url + path, f"127.0.1.{len(path)}"
    body = b"token=wrong" if path == "/login" else b'{"email": "a@b", "password": "wrong"}'
    kind = "application/x-www-form-urlencoded" if path == "/login" else "application/json"
    answers = [post_from(place, url, body, kind) for _ in range(11)]
    refused = 403 if path == "/login" else 400
    assert [status for status, _ in answers] == [refused] * 10 + [429]
    assert "too many wrong tokens from this address: wait" in answers[-1][1]
    assert post_from("127.0.2.1", url, body, kind)[0] == refused
    assert ask(hub, "GET", "devices/").ok


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 30)), max_size=60))
def test_the_throttle_counts_the_wrong_ones_of_a_minute(steps: list[tuple[bool, float]]) -> None:
    now = [0.0]
    throttle = Throttle(lambda: now[0])
    request = Request({"type": "http", "client": ("here", 1), "headers": []})
    wrong: list[float] = []
    for right, wait in steps:
        now[0] += wait
        recent = [moment for moment in wrong if moment > now[0] - 60]
        if len(recent) >= 10:
            with pytest.raises(Refused, match="too many wrong tokens"):
                throttle.begin(request)
            continue
        throttle.begin(request)
        if right:
            throttle.right(request)
        else:
            wrong.append(now[0])


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(["token", "next", "csrf", "add"]), st.binary(max_size=40))
def test_any_form(hub: LocalHub, session: requests.Session, name: str, body: bytes) -> None:
    sent = name.encode() + b"=" + body
    answer = session.post(f"{hub.url}/models/m0/share", sent, timeout=30)
    assert (answer.status_code, "Not sent from this site" in answer.text) == (403, True)


@pytest.fixture(scope="module")
def session(hub: LocalHub) -> requests.Session:
    return page_session(hub)


def test_what_stands_beside_the_file_of_a_form_is_bounded() -> None:
    """Another field without end, and a heading without end."""

    async def read(start: bytes) -> None:
        async def body():
            yield start
            for _ in range(100):
                yield b"x" * (1 << 16)

        async for _ in file_of_form("multipart/form-data; boundary=b", body(), "file"):
            raise AssertionError("there is no such file")

    for start in (
        b'--b\r\nContent-Disposition: form-data; name="other"\r\n\r\n',
        b"--b\r\nContent-Disposition: ",
    ):
        with pytest.raises(MalformedError, match=r"beside the file|cannot be read"):
            asyncio.run(read(start))


FULL = [
    OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
]


@pytest.mark.parametrize("error", FULL, ids=["disk", "quota"])
def test_a_full_disk_is_told(error: OSError) -> None:
    status, text = told(error)
    assert (status, text.startswith("the disk of this hub is full")) == (409, True)


def test_a_full_database_is_a_full_disk(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "db") as db:
        db.execute("create table t (x)")
        db.execute("pragma max_page_count = 3")
        with pytest.raises(sqlite3.OperationalError) as raised:
            db.execute("insert into t values (zeroblob(100000))")
    db.close()
    assert is_no_room(raised.value)
    assert told(raised.value)[0] == 409
    assert not is_no_room(sqlite3.OperationalError("no such table"))
    assert not is_no_room(OSError(errno.EACCES, "no"))


def test_what_nobody_thought_of_is_a_fault_of_the_hub(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Not the client's, and not AI Hub's: no status that is tried again for a minute."""
    status, text = told(ZeroDivisionError("of /a/path/here"))
    assert (status, text) == (
        409,
        "a fault of this hub, not of the request (ZeroDivisionError):"
        " what it printed says more to who runs it",
    )
    assert "of /a/path/here" in capsys.readouterr().err
