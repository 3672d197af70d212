"""`lpcvc gate`: what pytest says of the same, and settings that stand in a file."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import pytest

from conformance import plugin
from conformance.cli import main
from conformance.selftest.gate import run_gate
from conformance.selftest.models import write
from conformance.selftest.test_gate import save_mutant
from conformance.selftest.test_report import SCHEMA
from conformance.settings import Settings, find_settings
from conformance.verbs import gate
from reference.depth.contract import DEPTH_2025
from reference.errors import SubmissionError


def run_verb(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "conformance.cli", "gate", *arguments],
        cwd=folder,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def untimed(text: str) -> str:
    """What stands below the title of the suite; above it a slow machine tells of its progress."""
    return re.sub(r"\d+\.\d+ ?s\b|=+", "", text.partition("= conformance =")[2])


@pytest.mark.parametrize(
    ("model", "options", "code"),
    [
        (None, [], 0),
        ("depth up to 1.001", ["--strict", "-v"], 1),
        ("", [], 4),
    ],
)
def test_it_says_what_pytest_says(
    model: str | None, options: list[str], code: int, tmp_path: Path
) -> None:
    """To the letter, but for the time that it takes; the exit code too."""
    if model:
        save_mutant(model, tmp_path / "my.onnx")
    elif model is None:
        write(DEPTH_2025, tmp_path)["model"].rename(tmp_path / "my.onnx")
    told = run_verb(tmp_path, "my.onnx", "--track", "depth", *options)
    expected = run_gate(tmp_path, "--track=depth", "--submission=my.onnx", *options)
    assert told.returncode == expected.code == code, told.stdout + told.stderr
    assert untimed(told.stdout) == untimed(expected.out)
    assert ("depth-2025, my.onnx: " in untimed(told.stdout)) == (code != 4)
    assert told.stderr == expected.err


def test_json_is_the_report(tmp_path: Path) -> None:
    save_mutant("depth up to 1.001", tmp_path / "my.onnx")
    told = run_verb(tmp_path, "my.onnx", "--track=depth", "--json", "--report=out")
    assert told.returncode == 1
    document = json.loads(told.stdout)
    jsonschema.validate(document, SCHEMA)
    kept = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert document["subjects"] == kept["subjects"]
    assert document["verdict"] == "failing"
    assert "DEP-7" in told.stderr, "what pytest shows is there"


def test_a_report_may_be_one_file(tmp_path: Path) -> None:
    write(DEPTH_2025, tmp_path)
    options = ["--report=a.json", "--report=pages/b.html", "--rule=com-1"]
    told = run_verb(tmp_path, "model.onnx", "--track=depth", *options)
    assert told.returncode == 0, told.stdout + told.stderr
    assert json.loads((tmp_path / "a.json").read_text())["counts"]["pass"] == 1
    assert [path.name for path in (tmp_path / "pages").iterdir()] == ["b.html"]
    assert "report: pages/b.html" in told.stdout


def test_a_rule_that_is_not_there(tmp_path: Path) -> None:
    write(DEPTH_2025, tmp_path)
    told = run_verb(tmp_path, "model.onnx", "--track=depth", "--rule=DEB-7")
    assert told.returncode == 2
    assert told.stderr.startswith("lpcvc: no item is called DEB-7 in these suites; did you mean DE")


@pytest.mark.skipif(sys.platform == "win32", reason="its Ctrl-C is another")
def test_ctrl_c_ends_it_with_its_report(tmp_path: Path) -> None:
    write(DEPTH_2025, tmp_path)
    (tmp_path / "slow.py").write_text(
        "import time\n\n\ndef pytest_runtest_call(item):\n"
        "    open('started', 'w').close()\n    time.sleep(60)\n"
    )
    verb = [sys.executable, "-m", "conformance.cli", "gate"]
    process = subprocess.Popen(
        [*verb, "model.onnx", "--track=depth", "--report=out.json"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTEST_ADDOPTS": "-p lpcvc -p slow",
            "PYTHONPATH": f"{tmp_path}:{os.getcwd()}",
        },
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # What runs in the background of a script inherits that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not (tmp_path / "started").exists() and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out
    assert json.loads((tmp_path / "out.json").read_text())["ended"] == "interrupted"


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Those that pytest would get, in a folder of its own."""
    given: list[str] = []

    def keep(words: list[str], *, aside: bool) -> int:
        given.extend(words)
        return 0

    monkeypatch.setattr(gate, "_pytest", keep)
    monkeypatch.chdir(tmp_path)
    return given


@pytest.mark.parametrize(
    ("options", "suites"),
    [
        ("", "contract"),
        ("--npu", "contract or npu"),
        ("--parity --device X", "contract or parity"),
        ("--device X", "contract or npu"),
        ("--hub local --device X", "contract or device"),
        ("--npu --parity --baseline b.json", "contract or npu or parity or regression"),
    ],
)
def test_suites(options: str, suites: str, arguments: list[str]) -> None:
    assert main(["gate", "my.onnx", "--track=depth", *options.split()]) == 0
    assert arguments[:4] == ["--pyargs", "conformance", "-m", suites]
    rest = {"--submission=my.onnx", "--track=depth"}
    assert rest <= set(arguments)
    assert ("--device=X" in arguments) == ("X" in options)


def test_limits_are_handed_on_where_they_are_given(arguments: list[str]) -> None:
    assert main(["gate", "a.onnx", "--track=depth", "--timeout=9", "--memory=0.5"]) == 0
    assert {"--timeout=9", "--memory=0.5"} <= set(arguments)
    arguments.clear()
    assert main(["gate", "a.onnx", "--track=depth"]) == 0
    assert not [word for word in arguments if word.startswith(("--timeout", "--memory", "--hub"))]


def test_a_baseline_that_stands_there_is_compared_with(arguments: list[str]) -> None:
    Path("lpcvc.toml").write_text('track = "depth"\nbaseline = "kept.json"\n')
    assert main(["gate"]) == 0
    assert arguments[3] == "contract or regression"


def test_nothing_given_is_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gate"]) == 2
    assert "lpcvc gate my.onnx --track depth" in capsys.readouterr().err
    assert arguments == []


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What breaks one documented rule, with the settings in its pyproject.toml."""
    folder = tmp_path / "project"
    (folder / "models" / "deep").mkdir(parents=True)
    save_mutant("depth up to 1.001", folder / "models" / "my.onnx")
    (folder / "pyproject.toml").write_text(
        '[tool.other]\nx = 1\n\n[tool.lpcvc]\ntrack = "depth"\nsubmission = "models/my.onnx"\n'
        'report = "out"\n'
    )
    return folder


def test_settings_are_enough(project: Path) -> None:
    """For both, from a folder below too."""
    place = project / "models" / "deep"
    told = run_verb(place)
    assert told.returncode == 1, told.stdout + told.stderr
    assert (project / "out" / "report.json").exists()
    by_pytest = run_gate(place)
    assert by_pytest.code == 1
    assert untimed(told.stdout) == untimed(by_pytest.out)


def filled_in(folder: Path, **given: object) -> SimpleNamespace:
    """The options of pytest in `folder`, of which the command line gave these."""
    nothing = dict.fromkeys(("track", "submission", "device", "report", "weights", "baseline"))
    nothing |= {"save_baseline": None, "as_evaluated": False, "strict": False, "markexpr": ""}
    option = SimpleNamespace(**{**nothing, **given})
    config = SimpleNamespace(option=option, invocation_params=SimpleNamespace(dir=folder))
    plugin._fill_in(config)  # type: ignore[arg-type]
    return option


def test_an_option_wins(tmp_path: Path) -> None:
    (tmp_path / "lpcvc.toml").write_text(
        'track = "depth"\nsubmission = ["a.onnx"]\nstrict = true\nbaseline = "kept.json"\n'
    )
    alone = filled_in(tmp_path)
    assert (alone.track, alone.submission, alone.device) == (["depth"], ["a.onnx"], [])
    assert alone.strict
    assert alone.baseline is None, "it is not for -m contract"
    other = filled_in(tmp_path, track=["pidnet"], submission=["b.onnx"], as_evaluated=True)
    assert (other.track, other.submission, other.strict) == (["pidnet"], ["b.onnx"], False)
    assert not filled_in(tmp_path, weights="w.pth").submission
    regression = {"markexpr": "contract or regression"}
    assert filled_in(tmp_path, **regression).baseline == Path("kept.json")
    assert filled_in(tmp_path, **regression, baseline=Path("x")).baseline == Path("x")
    assert filled_in(tmp_path, **regression, save_baseline=Path("kept.json")).baseline is None


def test_where_settings_are_from(tmp_path: Path) -> None:
    """The nearest file that has any, lpcvc.toml first."""
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / "lpcvc.toml").write_text(
        'track = ["mine.toml", "depth"]\n'
        'submission = ["image=x.onnx", "module:build", "/a/b.onnx", "gone.onnx"]\n'
        'baseline = "kept.json"\ndevice = "XR2 Gen 2 (Proxy)"\nreport = "out"\n'
    )
    (tmp_path / "a" / "pyproject.toml").write_text("[project]\nname = 'lpcvc-mine'\n")
    assert find_settings(deep) == Settings(
        tmp_path / "lpcvc.toml",
        track=("../../mine.toml", "depth"),
        submission=("image=../../x.onnx", "module:build", "/a/b.onnx", "../../gone.onnx"),
        device=("XR2 Gen 2 (Proxy)",),
        baseline="../../kept.json",
        report=("../../out",),
    )
    (deep / "pyproject.toml").write_text("[tool.lpcvc]\nstrict = true\n")
    assert find_settings(deep) == Settings(deep / "pyproject.toml", strict=True)
    (deep / "lpcvc.toml").write_text("")
    assert find_settings(deep) == Settings(deep / "lpcvc.toml")
    (deep / "lpcvc.toml").write_text("[tool.lpcvc]\ndevice = 'S25'\n")  # the other's heading
    assert find_settings(deep) == Settings(deep / "lpcvc.toml", device=("S25",))
    assert find_settings(Path("/")) == Settings()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("trak = 'depth'", "no setting is called 'trak'; did you mean track?"),
        ("strict = true\n[tool.lpcvc]\ntrack = 'depth'", "no setting is called 'tool'; there are "),
        ("tool = 3", "no setting is called 'tool'; there are track, "),
        ("zzz = 1", "no setting is called 'zzz'; there are track, submission, device, baseline,"),
        ("strict = 'yes'", "strict is 'yes'; write true or false, without quotes"),
        ("track = 1", "track is 1; write a string, or a list of strings"),
        ("device = ['a', 2]", "device is ['a', 2]; write a string, or a list of strings"),
        ("baseline = ['a']", "baseline is ['a']; write a string"),
        ("track =", "is no TOML: Invalid value (at end of document); mend that line"),
    ],
)
def test_a_mistake_in_settings_is_one_line(
    text: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lpcvc.toml").write_text(text)
    with pytest.raises(SubmissionError) as caught:
        find_settings(tmp_path)
    assert str(caught.value).startswith(str(tmp_path / "lpcvc.toml"))
    assert told in str(caught.value)
    (tmp_path / "lpcvc.toml").unlink()
    (tmp_path / "pyproject.toml").write_text("tool.lpcvc = 3")
    with pytest.raises(SubmissionError, match=r"tool\.lpcvc is no table; write \[tool\.lpcvc\]"):
        find_settings(tmp_path)


def test_pytest_tells_of_it_too(tmp_path: Path) -> None:
    (tmp_path / "lpcvc.toml").write_text("trak = 'depth'")
    told = run_gate(tmp_path)
    assert told.code == pytest.ExitCode.USAGE_ERROR
    (line,) = told.lines
    assert line == (
        f"ERROR: {tmp_path / 'lpcvc.toml'}: no setting is called 'trak'; did you mean track?"
    )
