"""The plugin in other projects' runs: it is not there, whatever they call their options."""

import os
import shutil
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from types import SimpleNamespace

import pytest

import lpcvc_pytest
from conformance import plugin

ROOT = Path(__file__).parents[2]
MARKERS = ("contract", "npu", "parity", "device", "regression")
# Other plugins of this environment, which take seconds to start.
PLAIN = [f"-pno:{name}" for name in ("cacheprovider", "benchmark", "hypothesispytest", "anyio")]


class _Options(list[str]):
    """Takes the place of pytest's parser and keeps the names of the options."""

    def getgroup(self, *_: str) -> "_Options":
        return self

    def addoption(self, *names: str, **_: object) -> None:
        self.extend(names)


def option_names() -> list[str]:
    options = _Options()
    plugin.pytest_addoption(options)  # type: ignore[arg-type]
    return options


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """A project with every option, marker and fixture of the suite, and a package of its name."""
    folder = tmp_path / "project"
    (folder / "conformance").mkdir(parents=True)
    (folder / "conformance" / "__init__.py").write_text("")
    (folder / "conftest.py").write_text(
        f"import pytest\n\nNAMES = {option_names()}\n\n\n"
        "def pytest_addoption(parser):\n"
        "    for name in NAMES:\n"
        "        parser.addoption(name, default='theirs', help='theirs')\n\n\n"
        "def pytest_configure(config):\n"
        f"    for name in {MARKERS}:\n"
        "        config.addinivalue_line('markers', f'{name}: theirs')\n\n\n"
        "@pytest.fixture(params=[1, 2])\n"
        "def contract_case(request):\n"
        "    return request.param\n"
    )
    (folder / "conformance" / "test_theirs.py").write_text(
        "import sys\n\nimport conformance\nimport pytest\n\n"
        "OURS = {'reference', 'numpy', 'onnx', 'onnxruntime', 'conformance.plugin'}\n\n\n"
        "def test_light():\n"
        "    assert 'lpcvc_pytest' in sys.modules\n"
        "    assert not OURS & set(sys.modules)\n"
        "    assert len(conformance.__file__) and conformance.__file__.startswith(\n"
        f"        {str(folder)!r}\n"
        "    )\n\n\n"
        + "".join(
            f"@pytest.mark.{name}\ndef test_{name}(contract_case, pytestconfig):\n"
            "    assert pytestconfig.getoption('--device') in ('theirs', 'cpu')\n\n\n"
            for name in MARKERS
        )
    )
    return folder


def run_pytest(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", *PLAIN, *options],
        cwd=folder,
        env={**own, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.parametrize(
    "options",
    ["", "-n 2", "conformance", "--device cpu", "--pyargs conformance", "-p lpcvc"],
)
def test_a_project_with_our_options_is_left_alone(options: str, stranger: Path) -> None:
    done = run_pytest(stranger, "--strict-markers", *options.split(), "-m", "not npu")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "9 passed" in done.stdout
    assert "conformance ===" not in done.stdout, "no table"


def test_it_is_left_alone_when_run_from_our_checkout(stranger: Path) -> None:
    done = run_pytest(ROOT, str(stranger))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "11 passed" in done.stdout


@pytest.mark.parametrize("option", ["--markers", "--help"])
def test_nothing_of_it_shows_elsewhere(option: str, tmp_path: Path) -> None:
    done = run_pytest(tmp_path, option)
    assert done.returncode == 0, done.stderr
    for name in MARKERS:
        assert f"@pytest.mark.{name}:" not in done.stdout
    assert "LPCVC" not in done.stdout
    shown = run_pytest(tmp_path, "--pyargs", "conformance", option).stdout
    for name in MARKERS if option == "--markers" else option_names():
        assert name in shown


def test_a_checkout_below_another_project_is_passed_by(stranger: Path) -> None:
    """A submodule, say: the other project's run neither collects it nor stumbles over it."""
    below = stranger / "third_party" / "lpcvc"
    (below / "conformance").mkdir(parents=True)
    shutil.copy(ROOT / "conftest.py", below)
    shutil.copy(ROOT / "conformance" / "contract" / "test_contract.py", below / "conformance")
    done = run_pytest(stranger, "--import-mode=importlib")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "11 passed" in done.stdout


@pytest.mark.parametrize(
    ("ini", "options", "environment"),
    [
        ("addopts = --pyargs conformance", [], ""),
        ("addopts = --pyargs\ntestpaths = conformance", [], ""),
        ("", [], "--pyargs conformance"),
        ("", ["--pyargs", "conformance.contract.test_contract"], ""),
        ("", [str(ROOT / "conformance" / "contract" / "test_contract.py")], ""),
        ("", ["-p", "conformance.plugin"], ""),
    ],
)
def test_a_run_may_be_about_the_suite_in_other_ways(
    ini: str, options: list[str], environment: str, tmp_path: Path
) -> None:
    (tmp_path / "pytest.ini").write_text(f"[pytest]\n{ini}\n")
    done = run_pytest(tmp_path, "--markers", *options, PYTEST_ADDOPTS=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "@pytest.mark.contract:" in done.stdout


def test_it_is_in_the_workers_of_xdist(tmp_path: Path) -> None:
    """The items of the tokenizer need no model."""
    suite = ["--pyargs", "conformance.contract.test_tokenizer", "--track", "retrieval"]
    done = run_pytest(tmp_path, *suite, "-n", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_a_conftest_with_our_options_is_one_line_in_a_run_of_the_suite(stranger: Path) -> None:
    shutil.rmtree(stranger / "conformance")
    done = run_pytest(stranger, "--pyargs", "conformance", "--track=depth")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    (line,) = (line for line in (done.stdout + done.stderr).splitlines() if line)
    assert line.startswith(f"ERROR: a conftest.py of {stranger} has an option that the suite has")
    assert "--track" in line or "'track'" in line
    assert line.endswith("; run the suite from another folder")


# What pytest knows when it loads the entry point, and whether the run is about the suite.
ASKED = [
    ("here", ["-m", "contract"], True),
    ("here", ["-m", "device", "--device", "Samsung Galaxy S24"], True),
    ("here", ["--submission", "/"], True),
    ("here", ["--submission", "{elsewhere}", "--report", "{elsewhere}"], True),
    ("here", ["conformance/selftest"], True),
    ("here", ["conformance/contract/test_contract.py::test_contract"], True),
    ("here", ["{elsewhere}"], False),
    ("here", ["-q", "{elsewhere}"], False),
    ("here", ["--strict-markers", "{elsewhere}"], False),
    ("here", ["{elsewhere}", "conformance"], True),
    ("docs", [], True),
    ("elsewhere", [], False),
    ("elsewhere", ["--pyargs", "conformance"], True),
    ("elsewhere", ["--pyargs", "conformance.npu.test_npu::test_npu"], True),
    ("elsewhere", ["--pyargs", "os", "conformance"], True),
    ("elsewhere", ["--pyargs", "conformances", "conform"], False),
    ("elsewhere", ["conformance"], False),
    ("elsewhere", ["{here}/reference/tests"], True),
    ("elsewhere", ["--data", "{here}/reference/tests"], False),
    ("elsewhere", ["x" * 5000], False),
]


@pytest.mark.parametrize(("place", "arguments", "expected"), ASKED)
def test_what_a_run_is_about(
    place: str, arguments: list[str], expected: bool, tmp_path: Path
) -> None:
    places = {"here": ROOT, "docs": ROOT / "docs", "elsewhere": tmp_path}
    filled = [word.format(**places) for word in arguments]
    parser = ArgumentParser()
    parser.add_argument("file_or_dir", nargs="*")
    parser.add_argument("-m")
    for flag in ("-q", "--pyargs", "--strict-markers"):
        parser.add_argument(flag, action="store_true")
    config = SimpleNamespace(
        known_args_namespace=parser.parse_known_args(filled)[0],
        invocation_params=SimpleNamespace(args=tuple(filled), dir=places[place]),
        getini=lambda name: [],
    )
    assert lpcvc_pytest.is_about_the_suite(config) is expected  # type: ignore[arg-type]
