"""`lpcvc doctor`: what it says of this machine, and of machines where something is wrong."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from conformance import cli
from conformance.verbs import doctor
from conformance.verbs.doctor import Finding, examine
from reference.cache import Cache
from reference.npu.devices import all_devices

TOKEN = "8b7c1d-secret"


@pytest.fixture(autouse=True)
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without a client of AI Hub, a cache of its own, and no imports of PyTorch."""
    monkeypatch.setenv("QAIHUB_CLIENT_INI", str(tmp_path / "client.ini"))
    monkeypatch.setenv("LPCVC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(doctor, "_RUNTIMES", {"onnxruntime": "print('CPUExecutionProvider')"})
    return tmp_path


def findings(*, online: bool = False) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for finding in examine(online=online, progress=lambda text: None):
        found.setdefault(finding.topic, []).append(finding)
    return found


def test_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    """It can run its own tests, so nothing of it is broken."""
    assert cli.main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert f"numpy {version('numpy')}" in text
    assert f"{len(all_devices())} devices known" in text or "is not installed" in text
    assert "-> qai-hub configure --api_token TOKEN" in text or "qai-hub is not" in text


def test_progress_says_how_far_it_is() -> None:
    told: list[str] = []
    examine(online=False, progress=told.append)
    assert told[0] == "looking at Python, 0 %"
    assert told[-1] == "looking at AI Hub, 87 %"
    assert "looking at onnxruntime, 37 %" in told


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {line["state"] for line in found} <= {"ok", "missing", "clash"}
    assert all(line["remedy"] for line in found if line["state"] != "ok")
    assert {"Python", "the suite itself", "versions", "onnxruntime", "NPU compiler", "machine"} <= {
        line["topic"] for line in found
    }


@pytest.mark.parametrize(
    ("content", "state", "broken"),
    [
        (f"[api]\napi_token = {TOKEN}\napi_url = https://hub.example\n", "ok", False),
        ("[api]\napi_token =\napi_url = https://hub.example\n", "missing", False),
        ("[api]\n", "clash", True),
        (TOKEN, "clash", True),
        (f"[api]\napi_token = %({TOKEN})s\napi_url = x\n", "ok", False),
    ],
)
def test_the_client_of_ai_hub(
    content: str, state: str, broken: bool, configured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its token is not shown, and nothing is asked of the network."""
    pytest.importorskip("qai_hub", reason="install the hub extra")
    (configured / "client.ini").write_text(content)
    assert cli.main(["doctor"]) == int(broken)
    (found,) = findings()["AI Hub"]
    assert (found.state, found.broken) == (state, broken)
    assert bool(found.remedy) == (state != "ok")
    assert TOKEN not in capsys.readouterr().out


def distribution(folder: Path, name: str, version: str, *requires: str) -> None:
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    (info / "METADATA").write_text("\n".join([*lines, ""]))


def test_versions_that_clash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A protobuf newer than AI Hub's client takes: as installed, pip would have refused."""
    site = tmp_path / "site"
    site.mkdir()
    distribution(site, "protobuf", "7.1.0")
    distribution(site, "qai-hub", "0.56.0", "protobuf<=6.31.1,>=3.20", 'x; extra == "onnx"')
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    clash = next(found for found in findings()["versions"] if "protobuf" in found.seen)
    assert (clash.state, clash.broken) == ("clash", True)
    assert clash.seen == "protobuf 7.1.0, and qai-hub needs <=6.31.1,>=3.20"
    assert clash.remedy == "pip install 'protobuf<=6.31.1,>=3.20'"
    assert cli.main(["doctor"]) == 1


def test_extras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing of an extra, and what would bring it; other platforms' packages count not."""
    site = tmp_path / "site"
    site.mkdir()
    distribution(
        site,
        "lpcvc-conformance",
        "9",
        "numpy>=1.26",
        "no-such-a ; extra == 'one'",
        "numpy ; extra == 'one'",
        "no-such-b ; sys_platform == 'amiga' and extra == 'two'",
        "pillow ; extra == 'two'",
        "no-such-c ; extra == 'dev'",
    )
    with (site / "lpcvc_conformance-9.dist-info" / "METADATA").open("a") as file:
        file.write("Provides-Extra: one\nProvides-Extra: two\nProvides-Extra: dev\n")
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    found = findings()
    (one,), (two,), (base,) = found["extra one"], found["extra two"], found["the suite itself"]
    assert base.seen == f"numpy {version('numpy')}"
    assert (one.state, one.remedy) == ("missing", "pip install 'lpcvc-conformance[one]'")
    assert one.seen == f"no-such-a missing, numpy {version('numpy')}"
    assert (two.state, two.seen) == ("ok", f"pillow {version('pillow')}")
    assert "extra dev" not in found, "it is for those who work on the suite"


@pytest.mark.parametrize(
    ("script", "seen"),
    [
        ("raise ImportError('libfoo.so: cannot open')", "ImportError: libfoo.so: cannot open"),
        ("import os; os.abort()", "exit code -6"),
    ],
)
def test_a_runtime_that_is_broken(script: str, seen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even one that ends the process that imports it."""
    monkeypatch.setattr(doctor, "_RUNTIMES", {"onnxruntime": script})
    (found,) = findings()["onnxruntime"]
    assert (found.state, found.broken) == ("clash", True)
    assert found.seen == f"{version('onnxruntime')}: {seen}"
    assert found.remedy.startswith("pip install --force-reinstall onnxruntime==")


def test_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_RUNTIMES", {"no-such-runtime": ""})
    assert findings()["no-such-runtime"][0].remedy == "pip install 'no-such-runtime'"


def test_the_cache(configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LPCVC_CACHE_LIMIT", "1500MB")
    (found,) = findings()["cache"]
    assert found.seen == f"{configured / 'cache'}: 0 models, 0.0 kB of 1.5 GB"
    with Cache().fill("key") as draft:
        (draft / "compiled.json").write_text("{}" * 1000)
    (found,) = findings()["cache"]
    assert found.seen.endswith("cache: 1 models, 2.1 kB of 1.5 GB")


def test_online_asks_the_hub(configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line for what the hub says, as for its refusal."""
    pytest.importorskip("qai_hub", reason="install the hub extra")
    from types import SimpleNamespace

    from qai_hub.client import UserError

    from conformance.device.hub import Hub

    content = f"[api]\napi_token = {TOKEN}\napi_url = https://hub.example\n"
    (configured / "client.ini").write_text(content)
    client = SimpleNamespace(get_devices=lambda: ["a", "b"])
    monkeypatch.setattr(Hub, "client", client)
    (found,) = findings(online=True)["AI Hub"]
    assert found.seen.endswith("a token is set; the AI Hub lists 2 devices")

    def refuse() -> None:
        raise UserError("API token is not valid")

    client.get_devices = refuse
    (found,) = findings(online=True)["AI Hub"]
    assert (found.state, found.broken) == ("clash", True)
    assert "API token is not valid" in found.seen
