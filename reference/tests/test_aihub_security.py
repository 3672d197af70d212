"""Who else gets at what the hub keeps: users of the machine, old keys, and browsers."""

import contextlib
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

qai_hub = pytest.importorskip("qai_hub", reason="needs the hub extra")

import requests  # noqa: E402
from qai_hub import public_api_pb2 as pb  # noqa: E402

from reference.aihub.execute import Place  # noqa: E402
from reference.aihub.local import LocalHub, local_hub  # noqa: E402
from reference.aihub.records import Asked, JobRecord, JobState  # noqa: E402
from reference.aihub.server import add_user  # noqa: E402
from reference.aihub.store import Store  # noqa: E402
from reference.tests.hub_requests import (  # noqa: E402
    ask,
    complete,
    csrf,
    download_url,
    new_model,
    page_session,
    upload_url,
)

ME, OTHER = "me@team.org", "other@team.org"
S24 = qai_hub.Device("Samsung Galaxy S24")
NOBODY = 65534


@pytest.fixture(scope="module")
def state() -> Iterator[Path]:
    """In a folder that everybody may enter, as most are: pytest's own are its user's alone."""
    folder = Path(tempfile.mkdtemp(prefix="open-"))
    folder.chmod(0o755)
    (folder / "state").mkdir(0o755)
    yield folder / "state"
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def hub(state: Path) -> Iterator[LocalHub]:
    before = os.umask(0)
    try:
        runner = "reference.tests.hub_runner:run"
        stack = contextlib.ExitStack()
        own = stack.enter_context(local_hub(state, users=(ME, OTHER), runner=runner))
    finally:
        os.umask(before)
    with stack:
        yield own


def uploaded(hub: LocalHub, content: bytes, user: str = "") -> str:
    model = new_model(hub, user)
    etag = requests.put(upload_url(hub, model, user), content, timeout=30).headers["ETag"]
    assert complete(hub, model, etag, user=user).ok
    return model


def test_nobody_on_the_same_machine_reads_anything(
    hub: LocalHub, state: Path, tmp_path: Path
) -> None:
    """While a job runs, too, and whatever umask the hub was started with."""
    path = tmp_path / "model.onnx"
    path.write_text("compile sleep 2")
    job = hub.client.submit_compile_job(str(path), S24, options="--target_runtime qnn_dlc")
    hub.client.upload_dataset({"image": [np.zeros((1, 3), np.float32)]})
    while not (state / "scratch" / job.job_id).exists():
        pass
    entries = [state, *state.rglob("*")]
    assert {"hub.sqlite", "lock", "blobs", "scratch"} <= {entry.name for entry in entries}
    for entry in entries:
        with contextlib.suppress(FileNotFoundError):  # the job goes on
            assert not stat.S_IMODE(entry.stat().st_mode) & 0o077, entry
    if os.getuid() == 0:
        command = ["sh", "-c", 'cat "$@"; ls "$@"', "sh", *map(str, entries)]
        seen = subprocess.run(command, user=NOBODY, capture_output=True, text=True, cwd="/")
        assert seen.stdout.split() in ([], [str(state)])
        assert seen.stderr.count("Permission denied") >= len(entries)
    assert job.wait().success


def test_no_key_is_kept_in_clear(hub: LocalHub, state: Path) -> None:
    model = uploaded(hub, b"a model")
    address = download_url(hub, model)
    session = page_session(hub)
    keys = [hub.token, address.rpartition("/")[2], session.cookies["session"]]
    assert min(map(len, keys)) >= 40
    for file in state.rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            assert not any(key.encode() in data for key in keys), file


def test_a_cookie_is_no_token_and_a_token_no_cookie(hub: LocalHub) -> None:
    session = page_session(hub)
    cookie = session.cookies["session"]
    assert cookie != hub.token
    headers = {"Authorization": f"token {cookie}"}
    url = f"{hub.url}/api/v1/devices/"
    assert requests.get(url, headers=headers, timeout=30).status_code == 401
    page = requests.get(f"{hub.url}/jobs/", cookies={"session": hub.token}, timeout=30)
    assert page.url.startswith(f"{hub.url}/login")


def test_sessions_end(hub: LocalHub) -> None:
    first, second, others = page_session(hub), page_session(hub), page_session(hub, OTHER)
    url = f"{hub.url}/account/"
    mark = csrf(first.get(url, timeout=30).text)
    kept = dict(first.cookies)
    first.post(f"{hub.url}/logout", {"csrf": mark}, timeout=30)
    again = requests.get(url, cookies=kept, timeout=30)
    assert again.url.startswith(f"{hub.url}/login"), "the cookie alone does not do"
    assert second.get(url, timeout=30).url == url
    third = page_session(hub)
    mark = csrf(second.get(url, timeout=30).text)
    second.post(f"{hub.url}/logout/everywhere", {"csrf": mark}, timeout=30)
    assert third.get(url, timeout=30).url.startswith(f"{hub.url}/login")
    assert others.get(url, timeout=30).url == url


@pytest.mark.parametrize(
    "path",
    ["/jobs/", "/models/", "/account/", "/login", "/jobs/x/", "/nowhere", "/static/style.css",
     "/api/v1/devices/", "/api/v1/nothing/", "/storage/x", "/"],
)  # fmt: skip
def test_headers(hub: LocalHub, path: str) -> None:
    session = page_session(hub)
    for who in (session, requests):
        answer = who.get(hub.url + path, timeout=30, allow_redirects=False)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        if not path.startswith("/static/"):
            assert answer.headers["Cache-Control"] == "no-store"


def test_a_download_is_no_page(hub: LocalHub) -> None:
    model = uploaded(hub, b"<script>alert(1)</script>")
    answer = requests.get(download_url(hub, model), timeout=30)
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["Cache-Control"] == "no-store"


def test_an_address_ends_with_the_access_that_it_came_from(hub: LocalHub, state: Path) -> None:
    def works(url: str) -> bool:
        return requests.get(url, timeout=30).status_code == 200

    model = uploaded(hub, b"shared for a while")
    shared = hub.client.get_model(model)
    shared.modify_sharing(add_emails=[OTHER.upper()])
    mine, theirs = download_url(hub, model), download_url(hub, model, OTHER)
    session = page_session(hub, OTHER)
    page = f"{hub.url}/models/{model}/file"
    of_session = session.get(page, timeout=30, allow_redirects=False).headers["location"]
    assert all(map(works, (mine, theirs, hub.url + of_session)))
    shared.modify_sharing(delete_emails=["Other@Team.org"])
    assert works(mine)
    assert not works(theirs)
    shared.modify_sharing(add_emails=[OTHER])
    assert works(theirs)
    mark = csrf(session.get(f"{hub.url}/account/", timeout=30).text)
    session.post(f"{hub.url}/logout", {"csrf": mark}, timeout=30)
    assert not works(hub.url + of_session), "the session is over"
    assert works(theirs)
    put = upload_url(hub, new_model(hub, OTHER), OTHER)
    again = page_session(hub, OTHER)
    add_user(Place(state), OTHER.title())
    assert not works(theirs), "another token has taken the place of the one"
    assert requests.put(put, b"x", timeout=30).status_code == 403
    assert "/login" in again.get(f"{hub.url}/jobs/", timeout=30).url
    assert works(mine)


def test_addresses_compare_without_case(tmp_path: Path) -> None:
    place = Place(tmp_path)
    first = add_user(place, "Me@Team.org")
    second = add_user(place, "ME@TEAM.ORG")
    store = place.store()
    assert store.users() == ["me@team.org"]
    assert store.user_of(first) is None
    user = store.user_of(second)
    assert user is not None
    assert user.email == "me@team.org"
    job = JobRecord("j1", "a@b.c", Asked("compile", "", ()), JobState.DONE, 1.0, "")
    store.insert(job)
    store.share("j1", [" ME@team.ORG "], [])
    assert store.get(JobRecord, "j1", user.email) == job
    store.share("j1", [], ["me@TEAM.org"])
    assert store.shares("j1") == []


def test_an_older_database_loses_nothing(tmp_path: Path) -> None:
    """Its addresses had their case, and its keys of storage were in clear."""
    path = tmp_path / "hub.sqlite"
    store = Store(path)
    owner = "Me@Team.org"
    store.insert(JobRecord("j1", owner, Asked("compile", "", ()), JobState.DONE, 1.0, ""))
    with sqlite3.connect(path) as db:
        db.execute("create table links (key text, target text)")
        db.execute("insert into shares values ('j1', 'Some@Body.org')")
        db.execute("pragma user_version = 0")
        db.execute("pragma application_id = 0")
    db.close()
    path.chmod(0o644)
    store = Store(path)
    assert store.get(JobRecord, "j1", "me@team.org").owner == "me@team.org"
    assert store.get(JobRecord, "j1", "some@body.org").id == "j1"
    assert path.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(path) as db:
        assert not db.execute("select 1 from sqlite_master where name = 'links'").fetchall()
    db.close()


def test_a_user_of_the_api_by_any_case(hub: LocalHub) -> None:
    url = f"{hub.url}/api/v1/users/auth/login/"
    sent = {"email": ME.upper(), "password": hub.tokens[ME]}
    assert requests.post(url, json=sent, timeout=30).json() == {"key": hub.tokens[ME]}
    found = ask(hub, "GET", f"job_summaries/?creator={ME.title()}")
    ids = [
        s.compile_job_summary.job_id
        for s in pb.JobSummaryList.FromString(found.content).job_summaries
    ]
    assert ids


_KILLED = """
import os, signal, sys, time
from reference.aihub.local import local_hub
with local_hub() as hub:
    print(hub.process.pid, flush=True)
    sys.stdin.readline()
"""


def test_what_a_killed_hub_has_left_is_removed_by_the_next(tmp_path: Path) -> None:
    """Its folder, and not those of hubs that run."""
    own = {**os.environ, "TMPDIR": str(tmp_path)}

    def start() -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", _KILLED],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=own,
        )  # fmt: skip

    def folders() -> set[Path]:
        return set(tmp_path.glob("lpcvc-hub-*"))

    killed = start()
    assert killed.stdout is not None
    server = int(killed.stdout.readline())
    (left,) = folders()
    killed.kill()
    killed.wait()
    with contextlib.suppress(ProcessLookupError):
        os.kill(server, signal.SIGKILL)
    while Path(f"/proc/{server}/stat").exists():
        pass
    assert folders() == {left}
    link = tmp_path / "lpcvc-hub-link"
    (tmp_path / "other").mkdir()
    link.symlink_to(tmp_path / "other")
    running = start()
    assert running.stdout is not None
    running.stdout.readline()
    assert left not in folders()
    (mine,) = folders() - {link}
    last = start()
    assert last.stdout is not None
    last.stdout.readline()
    assert mine in folders()
    for process in (running, last):
        process.communicate("\n")
    assert folders() == {link}
    assert (tmp_path / "other").exists()
    killed.stdout.close()
