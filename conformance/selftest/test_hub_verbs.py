"""`lpcvc hub`: what it prints is enough to use it."""

import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conformance.cli import main

pytest.importorskip("qai_hub", reason="needs the hub extra")


def client_of(url: str, token: str):
    from qai_hub.client import Client
    from qai_hub.public_rest_api import ClientConfig

    return Client(config=ClientConfig(api_token=token, api_url=url, web_url=url, verbose=False))


def serve(state: Path) -> tuple["subprocess.Popen[str]", str, str]:
    """The process, its address and the token of the line that configures the client."""
    process = subprocess.Popen(
        [sys.executable, "-m", "conformance.cli", "hub", "serve", "--port=0", f"--state={state}"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    told = re.fullmatch(
        r"qai-hub configure --api_url (\S+) --web_url \S+ --api_token (\S+)\n",
        process.stdout.readline(),
    )
    assert told is not None
    return process, told[1], told[2]


def stop(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert process.stdout is not None
    process.stdout.close()


def test_serve_and_its_users(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    process, url, token = serve(tmp_path)
    assert client_of(url, token).get_devices(name="Samsung Galaxy S24")
    capsys.readouterr()
    assert main(["hub", "add-user", "organiser@lpcv.org", "--state", str(tmp_path)]) == 0
    other = capsys.readouterr().out.splitlines()[0].removeprefix("organiser@lpcv.org: ")
    assert client_of(url, other).get_models() == []
    stop(process)

    again, url, placeholder = serve(tmp_path)
    assert placeholder == "TOKEN"
    assert client_of(url, token).get_models() == []
    stop(again)
    assert main(["hub", "users", "--state", str(tmp_path)]) == 0
    assert capsys.readouterr().out.split() == ["me@localhost.localdomain", "organiser@lpcv.org"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["serve", "--host", "0.0.0.0"], "--allow-remote"),
        (["serve", "--port", "0", "--host", "192.0.2.77", "--allow-remote"], "cannot be served"),
        (["users"], "there is no hub in"),
        (["add-user", "nobody"], "no e-mail address"),
        (["serve", "--port", "99999"], "--port 99999 is no port"),
        (["serve", "--port", "-1"], "--port -1 is no port"),
        (["serve", "--host", "no.such.host.invalid", "--allow-remote"], "give a --host that is"),
        (["serve", "--workers", "0"], "--workers 0 would do no job"),
        *(
            (["serve", f"--{option}", amount], f"--{option} {amount} allows nothing")
            for option in ("max-upload", "quota", "deadline", "timeout", "memory")
            for amount in ("nan", "0", "-1", "inf")
        ),
        (["prune"], "there is no hub in"),
        (["prune", "--older-than", "nan"], "--older-than nan is no time"),
        (["prune", "--older-than", "-1"], "--older-than -1 is no time"),
    ],
)
def test_what_cannot_be_done(
    arguments: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["hub", *arguments, "--state", str(tmp_path / "state")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


def _file(path: Path) -> None:
    path.write_text("a file")


def _below_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("a file")


def _of_others(path: Path) -> None:
    path.mkdir()
    with sqlite3.connect(path / "hub.sqlite") as db:
        db.execute("create table bookmarks (url text)")
    db.close()


def _marked_by_others(path: Path) -> None:
    _of_others(path)
    with sqlite3.connect(path / "hub.sqlite") as db:
        db.execute("pragma application_id = 42")
    db.close()


def _folder_for_a_database(path: Path) -> None:
    (path / "hub.sqlite").mkdir(parents=True)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_file, "cannot be the folder of a hub"),
        (_below_a_file, "cannot be the folder of a hub"),
        (_of_others, "is the database of something else"),
        (_marked_by_others, "is the database of something else"),
        (_folder_for_a_database, "hub.sqlite cannot be used"),
    ],
)
@pytest.mark.parametrize("verb", [["serve", "--port=0"], ["add-user", "me@team.org"]])
def test_a_state_that_is_none(
    make: Callable[[Path], None],
    says: str,
    verb: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line, and nothing of it is changed."""
    state = tmp_path / "parent" / "state"
    state.parent.mkdir()
    make(state)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert main(["hub", *verb, "--state", str(state)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    left = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    left.pop(state / "lock", None)
    assert left == before


def test_a_folder_with_other_things_stays_as_open_as_it_was(tmp_path: Path) -> None:
    """But what the hub puts there is its user's alone."""
    tmp_path.chmod(0o755)
    (tmp_path / "notes.txt").touch()
    assert main(["hub", "add-user", "me@team.org", "--state", str(tmp_path)]) == 0
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "hub.sqlite").stat().st_mode & 0o777 == 0o600


def test_what_keeps_the_client_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from reference.aihub.server import warnings

    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    url = "http://127.0.0.1:8010"
    assert warnings(url) == []
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    (warning,) = warnings(url)
    assert "NO_PROXY=127.0.0.1" in warning
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert warnings(url) == []
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login x password y\n")
    (warning,) = warnings(url)
    assert "netrc" in warning
