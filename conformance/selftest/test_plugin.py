"""The plugin in other projects' runs: it is not there, whatever they call their options."""

import os
import shutil
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace

import pytest

import lpcvc_pytest
from conformance import plugin
from conformance.selftest.gate import outside_xdist
from conformance.selftest.models import write
from reference.depth.contract import DEPTH_2025

ROOT = Path(__file__).parents[2]
MARKERS = ("contract", "npu", "parity", "device", "regression")
# What a wing looks at of others, beside the contract.
NEEDS = {"device": {"device", "npu"}, "regression": set(MARKERS)}
# Other plugins of this environment, which take seconds to start.
PLAIN = [
    f"-pno:{name}"
    for name in ("cacheprovider", "benchmark", "hypothesispytest", "anyio", "jaxtyping")
]
# As for a user: pip's entry point is what takes the plugin in.
LOADED = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "", "PYTEST_ADDOPTS": ""}


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
    alone = [] if "-n" in options else ["-pno:xdist", "-pno:xdist.looponfail"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *PLAIN, *alone, *options],
        cwd=folder,
        env={**outside_xdist(), **LOADED, **environment},
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


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["-m", "contact"], "no suite or marker is called 'contact'; did you mean contract?"),
        (["-m", "npu or partiy"], "no suite or marker is called 'partiy'; did you mean parity?"),
        (["--trak=depth"], "no option is called --trak; did you mean --track?"),
        (["--as-evaluatd"], "no option is called --as-evaluatd; did you mean --as-evaluated?"),
        (["--timeout=-1"], "--timeout -1 allows nothing; give a number above 0"),
        (["--timeout=0"], "--timeout 0 allows nothing; give a number above 0"),
        (["--memory=nan"], "--memory nan allows nothing; give a number above 0"),
        (
            ["-m", "device", "--track=depth", "--profile-runs=0"],
            "--profile-runs 0 measures nothing; give 1 or more",
        ),
    ],
)
def test_a_slip_is_one_line(options: list[str], told: str, tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "--pyargs", "conformance", *options)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert (done.stdout + done.stderr).strip() == f"ERROR: {told}"


def test_the_markers_of_others_are_no_slips(stranger: Path) -> None:
    """A run of both: theirs has a name that is like one of ours."""
    shutil.rmtree(stranger / "conformance")
    (stranger / "conftest.py").unlink()
    (stranger / "pytest.ini").write_text("[pytest]\nmarkers =\n    contact: theirs\n")
    options = ["--pyargs", "conformance.contract.test_tokenizer", "-m", "contact and not xyz"]
    done = run_pytest(stranger, *options)
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, done.stdout + done.stderr


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
    ("elsewhere", ["contract/test_contract.py::test_contract[depth-2025::IMG-2]"], True),
    ("elsewhere", ["contract/test_contract.py"], False),
    ("elsewhere", ["contract/test_other.py::test_contract"], False),
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


# A wing as CONTRIBUTING describes one: is the file no larger than asked for?
SIXTH = {
    "__init__": "",
    "marker": """
        from conformance.marker import Marker

        MARKER = Marker("is it small?", {"--most": {"type": int, "metavar": "BYTES"}})
    """,
    "items": """
        from dataclasses import dataclass

        from conformance.report.document import Section
        from conformance.report.terminal import Row
        from conformance.subject import Subject
        from conformance.wing import Case, Judged, Wing


        @dataclass(frozen=True)
        class SizeCase(Case):
            subject: Subject
            most: int
            seen: list

            @property
            def id(self):
                return f"{self.subject.track.id}::TOY-1"

            def follow(self, progress):
                pass

            def judged(self):
                models = self.subject.opener(print).models.values()
                size = sum(model.path.stat().st_size for model in models)
                self.seen.append(size)
                status = "FAIL" if size > self.most else "pass"
                row = Row(self.subject.label, "TOY-1", "toy", status, f"{size} bytes", "cut")
                return Judged(row, f"TOY-1: {size} bytes, at most {self.most}")


        class ToyWing(Wing):
            def __init__(self, suite, most):
                super().__init__(suite)
                self.most, self.seen = most, []

            @classmethod
            def of(cls, suite, option):
                return cls(suite, option("--most"))

            def cases(self):
                return [SizeCase(subject, self.most, self.seen) for subject in self.suite.subjects]

            def save(self):
                return [f"{len(self.seen)} weighed"]

            def sections(self):
                yield Section("toy", "Weighed on a toy balance", "mine", (f"{self.seen} bytes",))


        WING = ToyWing
    """,
    "test_toy": """
        import pytest

        from conformance.items import judge


        @pytest.mark.toy
        def test_toy(toy_case, request):
            judge(toy_case, request.node)
    """,
}


def test_a_sixth_wing_is_a_folder_and_a_name(tmp_path: Path) -> None:
    """It has its marker, its option, items with a verdict, lines and a section of the report."""
    pytest.importorskip("jinja2", reason="install the report extra")
    (tmp_path / "added" / "toy").mkdir(parents=True)
    for name, source in SIXTH.items():
        (tmp_path / "added" / "toy" / f"{name}.py").write_text(dedent(source))
    (tmp_path / "sixth.py").write_text(
        "import conformance.marker\n\n"
        f"conformance.__path__.append({str(tmp_path / 'added')!r})\n"
        "conformance.marker.WINGS += ('toy',)\n"
    )
    size = write(DEPTH_2025, tmp_path)["model"].stat().st_size
    path = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    common = ["-p", "sixth", "--pyargs", "conformance.toy", "--strict-markers"]
    assert (
        "@pytest.mark.toy: is it small?"
        in run_pytest(tmp_path, *common, "--markers", **path).stdout
    )
    common += ["--track=depth", "--submission=model.onnx"]
    done = run_pytest(
        tmp_path, *common, "-m", "toy", "-v", f"--most={size - 1}", "--report=out", **path
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "test_toy[depth-2025::TOY-1]" in done.stdout
    assert f"TOY-1: {size} bytes, at most {size - 1}" in done.stdout
    assert "\n1 weighed\n" in done.stdout
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Weighed on a toy balance" in page
    assert "TOY-1" in page
    large = run_pytest(tmp_path, *common, "-m", "toy", f"--most={size}", **path)
    assert large.returncode == 0, large.stdout + large.stderr
    assert f"  pass  TOY-1 (toy): {size} bytes" in large.stdout
    unasked = run_pytest(tmp_path, *common, f"--most={size - 1}", **path)
    assert unasked.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, unasked.stdout


@pytest.mark.parametrize("name", MARKERS)
def test_a_wing_is_imported_when_it_is_asked_for(name: str, tmp_path: Path) -> None:
    """Of the others no more than what asks for them; and no library that nothing ran of: a whole
    gate on an ONNX file leaves ONNX to its children.
    """
    (tmp_path / "look.py").write_text(
        "import sys\n\n\ndef pytest_sessionfinish():\n    print('LOADED', *sys.modules)\n"
    )
    write(DEPTH_2025, tmp_path)
    options = ["--track=depth", "--submission=model.onnx", "-p", "look"]
    suite = ["--pyargs", "conformance", "-m", name, *options]
    suite += ["--collect-only"] if name != "contract" else []
    done = run_pytest(tmp_path, *suite, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    # Ahead of the summary, for which hypothesis imports itself.
    loaded = set(done.stdout.partition("LOADED")[2].partition("\n")[0].split())
    assert "conformance.contract.evidence" in loaded, done.stdout + done.stderr
    assert f"conformance.{name}.items" in loaded
    for other in set(MARKERS) - {"contract", *NEEDS.get(name, {name})}:
        light = {f"conformance.{other}{room}" for room in ("", ".marker")}
        assert {m for m in loaded if f"{m}.".startswith(f"conformance.{other}.")} <= light
    if name == "contract":
        assert "conformance.submission.standard" in loaded, "COM-4 was judged"
        heavy = {"cv2", "google.protobuf", "jinja2", "numba", "numpy.ma", "onnx", "onnxruntime"}
        heavy |= {"conformance.report.charts", "hypothesis", "ml_dtypes", "torch"}
        assert not heavy & loaded


def test_what_is_collected_and_what_is_deselected_adds_up(tmp_path: Path) -> None:
    """In the checkout too, where pytest takes the folder of a submission elsewhere for its root."""
    model = write(DEPTH_2025, tmp_path)["model"]
    suite = ["--track", "depth", "--submission", str(model), "--collect-only", "-q"]
    done = run_pytest(ROOT, "-m", "contract", *suite)
    *ids, _, count = done.stdout.splitlines()
    assert f"{len(ids)}/{len(ids) + 2} tests collected (2 deselected)" in count, "no text in depth"
    # As pytest shows it of an installed copy; it is found again.
    shown = ids[-1].removeprefix("conformance/")
    again = run_pytest(tmp_path, shown, *suite, PYTHONPATH=str(ROOT))
    assert "1 test collected" in again.stdout, again.stdout + again.stderr
