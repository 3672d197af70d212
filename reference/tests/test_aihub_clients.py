"""The hub with other ways in: clients as old as 0.30, and the commands of `qai-hub`."""

import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("qai_hub", reason="needs the hub extra")

from reference.aihub.local import LocalHub, local_hub

ME, OTHER = "me@team.org", "other@team.org"
RUNNER = "reference.tests.hub_runner:run"
DLC = "--target_runtime qnn_dlc"


@pytest.fixture(scope="module")
def hub() -> Iterator[LocalHub]:
    with local_hub(users=(ME, OTHER), runner=RUNNER, workers=2) as own:
        yield own


def run(folder: Path, *command: str) -> str:
    """What a command prints that has `folder` for its home, and its client configuration there."""
    inherited = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    own = {"HOME": str(folder), "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        command, env={**inherited, **own}, cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_script(hub: LocalHub, folder: Path, python: str) -> None:
    (folder / ".qai_hub").mkdir()
    (folder / ".qai_hub" / "client.ini").write_text(
        f"[api]\napi_url = {hub.url}\nweb_url = {hub.url}\napi_token = {hub.token}\nverbose = no\n"
    )
    run(folder, python, str(Path(__file__).with_name("hub_client.py")), str(folder), OTHER)


def test_the_client_that_is_installed(hub: LocalHub, tmp_path: Path) -> None:
    run_script(hub, tmp_path, sys.executable)


@pytest.mark.slow
@pytest.mark.parametrize("version", ["0.30.0", "0.42.0", "0.50.0", "0.55.0"])
def test_an_older_client(hub: LocalHub, version: str, tmp_path: Path) -> None:
    """In an environment that pip makes for it."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "-q", f"qai-hub=={version}"], check=True)
    run_script(hub, tmp_path, python)


def test_the_commands(hub: LocalHub, tmp_path: Path) -> None:
    def qai_hub(*arguments: str) -> str:
        return run(
            tmp_path, sys.executable, "-c", "from qai_hub._cli import main; main()", *arguments
        )

    place = ["--api_url", hub.url, "--web_url", hub.url]
    qai_hub("configure", "--email", ME, "--password", hub.token, *place)
    assert hub.token in (tmp_path / ".qai_hub" / "client.ini").read_text()
    device = ["--device", "Samsung Galaxy S24"]
    listed = qai_hub("list-devices", *device)
    assert "Samsung Galaxy S24" in listed
    (tmp_path / "model.onnx").write_text("nothing special")
    qai_hub("upload-model", "--model", "model.onnx")
    model = hub.client.get_models(limit=1)[0]
    assert model.name == "model.onnx"
    compiling = ["submit-compile-job", "--wait"]
    options = f"--compile_options={DLC}"
    qai_hub(*compiling, "--model", model.model_id, *device, options, "--name", "first")
    first = hub.client.get_job_summaries(limit=1)[0]
    assert (first.name, first.status.success) == ("first", True)
    qai_hub(*compiling, "--clone", first.job_id, "--name", "second")
    second = hub.client.get_job(hub.client.get_job_summaries(limit=1)[0].job_id)
    assert (second.name, second.options, second.model.model_id) == ("second", DLC, model.model_id)
