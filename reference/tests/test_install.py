"""The remedy for what is missing is the command that the user would have typed."""

import json
import os
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from reference.install import PROJECT, install_command

ROOT = Path(__file__).parents[2]
GIT = {"url": "https://example.org/me/suite.git", "vcs_info": {"vcs": "git", "commit_id": "1f"}}


def installed(site: Path, origin: object, installer: str = "pip") -> None:
    """The metadata of this project as pip leaves it; `origin` None for one from an index."""
    info = site / "lpcvc_conformance-9.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PROJECT}\nVersion: 9\n")
    (info / "INSTALLER").write_text(f"{installer}\n")
    if origin is not None:
        (info / "direct_url.json").write_text(json.dumps(origin))


@pytest.mark.parametrize(
    ("origin", "extra", "told"),
    [
        (None, "npu", "pip install 'lpcvc-conformance[npu]'"),
        (None, "", "pip install lpcvc-conformance"),
        (GIT, "npu", "pip install '{p}[npu] @ git+https://example.org/me/suite.git'"),
        (
            {**GIT, "vcs_info": {**GIT["vcs_info"], "requested_revision": "v1"}},
            "score,ray",
            "pip install '{p}[score,ray] @ git+https://example.org/me/suite.git@v1'",
        ),
        (
            {**GIT, "subdirectory": "below"},
            "",
            "pip install '{p} @ git+https://example.org/me/suite.git#subdirectory=below'",
        ),
        (
            {"url": "https://example.org/a-1.whl", "archive_info": {}},
            "hub",
            "pip install '{p}[hub] @ https://example.org/a-1.whl'",
        ),
        (
            {"url": "file:///my%20wheels/a-1-py3-none-any.whl", "archive_info": {}},
            "hub",
            "pip install '/my wheels/a-1-py3-none-any.whl[hub]'",
        ),
        ({"url": "file:///src/suite", "dir_info": {}}, "hub", "pip install '/src/suite[hub]'"),
        (
            {"url": "file:///src/suite", "dir_info": {"editable": True}},
            "torch",
            "pip install -e '/src/suite[torch]'",
        ),
    ],
)
def test_as_it_was_installed(
    origin: object, extra: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, origin)
    monkeypatch.syspath_prepend(tmp_path)
    assert install_command(extra) == told.format(p=PROJECT)


@pytest.mark.parametrize("inside", [True, False])
def test_in_a_checkout_it_is_what_the_documents_say(
    inside: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, checkout = tmp_path / "site", tmp_path / "checkout"
    installed(site, {"url": checkout.as_uri(), "dir_info": {"editable": True}})
    checkout.mkdir()
    (checkout / "constraints.txt").touch()
    monkeypatch.syspath_prepend(site)
    monkeypatch.chdir(checkout if inside else tmp_path)
    assert install_command("torch") == (
        "pip install -c constraints.txt -e '.[torch]'"
        if inside
        else f"pip install -c {checkout}/constraints.txt -e '{checkout}[torch]'"
    )
    assert install_command("torch") in (ROOT / "README.md").read_text("utf-8") or not inside


def test_with_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its environments have no pip."""
    installed(tmp_path, None, "uv")
    monkeypatch.syspath_prepend(tmp_path)
    assert install_command("npu") == "uv pip install 'lpcvc-conformance[npu]'"


def test_without_an_installation_it_is_the_checkout_on_the_path() -> None:
    script = "from reference.install import install_command; print(install_command('npu'))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", script],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "pip install -c constraints.txt -e '.[npu]'\n"


@pytest.mark.slow
def test_pip_takes_what_it_says(tmp_path: Path) -> None:
    """From a wheel, with an extra of nothing, by pip itself and without a network."""
    wheel = tmp_path / "lpcvc_conformance-9-py3-none-any.whl"
    info = "lpcvc_conformance-9.dist-info"
    with zipfile.ZipFile(wheel, "w") as file:
        head = "Metadata-Version: 2.1\nName: lpcvc-conformance\nVersion: 9\nProvides-Extra: npu\n"
        file.writestr(f"{info}/METADATA", head)
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")
        file.writestr("reference/__init__.py", "")
        file.write(ROOT / "reference" / "install.py", "reference/install.py")
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    own = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    words = ["install", "--no-index", str(wheel)]
    script = "from reference.install import install_command; print(install_command('npu'))"
    for _ in range(2):
        subprocess.run([python, "-m", "pip", *words], env=own, check=True, capture_output=True)
        done = subprocess.run(
            [python, "-c", script], env=own, cwd="/", capture_output=True, text=True, check=True
        )
        program, *words = shlex.split(done.stdout)
        assert (program, words) == ("pip", ["install", f"{wheel}[npu]"])
        words.insert(1, "--force-reinstall")
        words.insert(1, "--no-index")
