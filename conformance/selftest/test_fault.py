"""Whatever ends a command, the user sees one line; the trace of a fault goes to a file."""

import errno
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import onnx
import pytest

from conformance import ci, cli, fault
from conformance.selftest.gate import run_gate
from conformance.selftest.models import conforming
from conformance.verbs import rules as verbs
from reference.errors import SubmissionError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fault.tempfile, "tempdir", str(tmp_path / "temp"))
    (tmp_path / "temp").mkdir()
    return tmp_path


def raising(error: BaseException):
    def verb(*_: object) -> None:
        raise error

    return verb


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (SubmissionError("a", "b"), 2, "a; b"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (KeyboardInterrupt("again"), 130, "interrupted; again"),
        (
            OSError(errno.ENOSPC, "No space left on device", "a\x1bb"),
            2,
            "No space left on device: a\\x1bb; make room there",
        ),
        (OSError(errno.EMFILE, "Too many open files"), 2, "[Errno 24] Too many open files; allow"),
        (PermissionError(13, "Permission denied", "/x"), 2, "Permission denied: /x; check that"),
        (MemoryError(), 2, "there is not enough memory"),
        (
            ZeroDivisionError("by\n0"),
            3,
            "a fault of this program (ZeroDivisionError: by 0); please",
        ),
        (RecursionError("deep"), 3, "a fault of this program (RecursionError: deep)"),
    ],
)
def test_whatever_is_raised_is_one_line(
    error: BaseException,
    code: int,
    line: str,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(verbs, "rules_table", raising(error))
    assert cli.main(["rules"]) == code
    told = capsys.readouterr().err
    assert told.startswith(f"lpcvc: {line}")
    assert told.count("\n") == 1
    assert told.removesuffix("\n").isprintable()
    monkeypatch.setattr(ci, "requirement", raising(error))
    assert ci.main(["requirement", "."]) == code
    told = capsys.readouterr().err
    assert told.startswith("::error title=lpcvc::")
    assert told.count("\n") == 1
    kept = list((place / "temp").glob("lpcvc-fault-*.txt"))
    assert len(kept) == (2 if code == 3 else 0)
    for file in kept:
        text = file.read_text()
        assert f"{type(error).__name__}: " in text
        assert "in verb" in text, "the trace itself"
        assert "lpcvc-conformance " in text


def test_a_fault_where_no_file_can_be_written(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fault.tempfile, "tempdir", str(place / "nowhere"))
    monkeypatch.setattr(verbs, "rules_table", raising(ZeroDivisionError("x")))
    assert cli.main(["rules"]) == 3
    assert re.search(r"please report it with \S*test_fault\.py:\d+\n\Z", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["export", "--track", "depth", "file/folder"], "Not a directory: file/folder"),
        (["export", "--track", "depth", "/proc/none"], "No such file or directory: /proc/none"),
        (["hub", "add-user", "a@b.c", "--state", "file"], "the folder of a hub (File exists)"),
        (["hub", "add-user", "a@b.c", "--state", "/proc/hub"], "/proc/hub"),
        (["hub", "serve", "--port", "99999", "--state", "s"], "--port 99999 is no port; give 1 to"),
        (["hub", "serve", "--port", "-1", "--state", "s"], "--port -1 is no port"),
        (["hub", "serve", "--port", "TAKEN", "--state", "s"], "cannot be served (Address already"),
        (["check", "n" * 300 + ".onnx"], ""),
    ],
)
def test_what_the_system_refuses_is_the_users(
    arguments: list[str], told: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "file").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code = cli.main([port if word == "TAKEN" else word for word in arguments])
    assert code == (2 if told else 1)
    assert told in capsys.readouterr().err


def test_what_is_repeated_of_the_command_does_not_steer(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rules", "--\x1b[31m\nred"]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_export_without_its_extra(place: Path) -> None:
    for name in ("torch", "onnxscript"):
        (place / "poison").mkdir(exist_ok=True)
        (place / "poison" / f"{name}.py").write_text(
            f"raise ModuleNotFoundError('no', name={name!r})"
        )
        done = lpcvc(place, "export", "--track", "depth", "out", first=place / "poison")
        assert done.returncode == 2
        assert re.fullmatch(
            r"lpcvc: a reference model needs \w+, which is not installed; \S.*\[torch\]'?\n",
            done.stderr,
        )
        assert not (place / "out").exists()
        (place / "poison" / f"{name}.py").unlink()


def lpcvc(place: Path, *arguments: str, first: Path | None = None) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "conformance.cli", *arguments],
        cwd=place,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, filter(None, (first, ROOT))))},
        capture_output=True,
        text=True,
        check=False,
    )


SLEEPY = """
import os, time
from pathlib import Path
Path("pid").write_text(str(os.getpid()))
time.sleep(1000)
def build(): ...
"""


@pytest.mark.parametrize(
    "verb",
    [
        ["check", "sleepy:build"],
        pytest.param(["compile", "sleepy:build"], marks=pytest.mark.slow),
        pytest.param(["estimate", "sleepy:build"], marks=pytest.mark.slow),
        ["score", "--submission", "sleepy:build", "--runtime", "torch", "--data", "DATA"],
    ],
    ids=lambda verb: verb[0],
)
def test_ctrl_c_ends_a_verb_and_its_children(verb: list[str], place: Path) -> None:
    data = str(ROOT / "fixtures" / "samples" / "depth")
    (place / "sleepy.py").write_text(SLEEPY)
    words = [data if word == "DATA" else word for word in verb]
    with subprocess.Popen(
        [sys.executable, "-m", "conformance.cli", *words, "--track", "depth"],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # What runs in the background of a script inherits that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        while not (place / "pid").exists() or not (place / "pid").read_text():
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert out == ""
    told = [line for line in err.splitlines() if line.startswith("lpcvc:")]
    assert len(told) == 1
    assert told[0].startswith("lpcvc: interrupted")
    assert "Traceback" not in err
    child = int((place / "pid").read_text())
    for _ in range(200):
        if not alive(child):
            break
        time.sleep(0.05)
    assert not alive(child)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("arguments", [["gate"], ["key"], ["requirement", "."], ["none"], []])
def test_ci_without_its_variables(
    arguments: list[str], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = ci.main(arguments, {})
    told = capsys.readouterr()
    assert code == (2 if arguments in (["gate"], []) else 0)
    if arguments == ["gate"]:
        assert told.err == (
            "::error title=lpcvc::LPCVC_REPORT is not set; set it to the folder for the report\n"
        )


@pytest.mark.parametrize(
    "stage",
    [
        "opening",
        pytest.param("listing", marks=pytest.mark.slow),
        "judging",
        pytest.param("reporting", marks=pytest.mark.slow),
    ],
)
def test_a_fault_of_the_suite_is_one_line_too(stage: str, place: Path) -> None:
    """At each place where pytest calls the suite; the run has another exit code than a pass."""
    patches = {
        "opening": "import conformance.subject as m; m.open_submission = fail",
        "listing": "import conformance.contract.items as m; m.ContractWing.cases = fail",
        "judging": "import conformance.contract.assessment as m; m.Assessment._judge = fail",
        "reporting": "import conformance.report.session as m; m.write_report = fail",
    }
    (place / "faulty.py").write_text(
        textwrap.dedent(
            f"""
            def fail(*_, **__):
                raise ZeroDivisionError("a\\x1bb")

            {patches[stage]}
            """
        )
    )
    onnx.save(conforming("depth"), place / "my.onnx")
    gate = run_gate(
        place,
        *("-p", "faulty", "--track=depth", "--submission=my.onnx", "--report=out", "-k", "DEP-1"),
        PYTHONPATH=f"{place}{os.pathsep}{ROOT}",
        TMPDIR=str(place / "temp"),
    )
    said = gate.out + gate.err
    assert gate.code not in (0, 5)
    assert "a fault of this program (ZeroDivisionError: a\\x1bb); please report it with " in said
    assert "Traceback" not in said
    assert "INTERNALERROR" not in said
    assert "\x1bb" not in said
    kept = list((place / "temp").glob("lpcvc-fault-*.txt"))
    assert kept
    assert all(str(file) in said.replace("\n", "") for file in kept[:1])


@pytest.mark.parametrize("side", ["parent", "child"])
def test_a_full_disk_breaks_no_rule(side: str, place: Path) -> None:
    """Wherever it shows, the run ends in one line with the place."""
    (place / "sitecustomize.py").write_text(
        textwrap.dedent(
            f"""
            import shutil, sys
            from types import SimpleNamespace

            child = "reference.forks" in sys.orig_argv
            free = 1000 if child == {side == "child"} else 5 * 10**8
            shutil.disk_usage = lambda path: SimpleNamespace(free=free)
            """
        )
    )
    onnx.save(conforming("depth"), place / "my.onnx")
    gate = run_gate(
        place,
        *("--track=depth", "--submission=my.onnx"),
        PYTHONPATH=f"{place}{os.pathsep}{ROOT}",
        TMPDIR=str(place / "temp"),
    )
    assert gate.code == 4, gate.out
    file = "input_0.npy" if side == "parent" else "output_0.npy"
    line = f"ERROR: No space left on device: {place}/temp/lpcvc-.*/{file}; make room there, or set "
    assert re.search(line, gate.out + gate.err)
    assert "FAIL" not in gate.out
