"""`lpcvc hub`: what it prints is enough to use it."""

import re
import signal
import subprocess
import sys
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
    ],
)
def test_what_cannot_be_done(
    arguments: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["hub", *arguments, "--state", str(tmp_path / "state")]) != 0
    assert says in capsys.readouterr().err


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
