"""A submission may be an attack: whatever it does, there is a verdict and nothing is left."""

import gc
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from conformance.contract.assessment import Assessment
from conformance.rulebook import Verdict, rules_for
from conformance.runtimes.process import ModelProcess
from conformance.selftest.assess import broken
from conformance.selftest.gate import run_gate
from conformance.selftest.models import conforming, write
from conformance.selftest.surgery import rename_input
from conformance.subject import opened
from conformance.submission.opening import open_submission
from reference.depth.contract import DEPTH_2025
from reference.export import export_onnx
from reference.process import Limits
from reference.tracks import Track

FORWARD = """
import os, signal, sys, time
import numpy as np
import torch

FORGED = b'{"outputs": 1, "seconds": 0}\\n'


class Model(torch.nn.Module):
    def forward(self, image):
        if torch.jit.is_tracing():
            return image.mean(1, keepdim=True) / 255
        {attack}
        return image.mean(1, keepdim=True) / 255
"""

ATTACKS = {
    "segmentation fault": ("os.kill(os.getpid(), signal.SIGSEGV)", "crashed its runtime (SIGSEGV)"),
    "abort": ("os.abort()", "crashed its runtime (SIGABRT)"),
    "kill": ("os.kill(os.getpid(), signal.SIGKILL)", "needs more memory than its limit"),
    "exit": ("os._exit(0)", "crashed its runtime (exit code 0)"),
    "sys.exit": ("sys.exit('bye')", "SystemExit: bye"),
    "memory": ("x = bytearray(6 * 2**30)", "needs more memory than its limit of 3.0 GiB"),
    "garbage on every pipe": (
        "[os.write(fd, b'garbage\\n') for fd in range(1, 30) if fd_open(fd)]",
        "gave an answer that cannot be read",
    ),
    "forged answer": (
        "[os.write(fd, FORGED) for fd in range(3, 30) if fd_open(fd)]; time.sleep(2)",
        "gave an answer that cannot be read",
    ),
    "recursion": ("self.forward(image)", "RecursionError"),
    "an object instead of a tensor": ("return object()", "the model returned a object"),
}


def assess_hostile(track: Track, spec: str, folder: Path, limits: Limits) -> dict[str, Verdict]:
    scratch = folder / "scratch"
    scratch.mkdir(parents=True)
    submission = open_submission(track, [spec], scratch)
    own = Assessment(opened(track, submission), scratch, limits=limits)
    return {rule.id: own.verdict(rule) for rule in own.rules}


# Each imports PyTorch; the others end a process as these do.
BY_DEFAULT = {"segmentation fault", "kill", "memory", "forged answer"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is traced of each attack is one and the same harmless model."""
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    names: dict[str, Any] = {}
    exec(FORWARD.replace("{attack}", "pass"), names)
    export_onnx(names["Model"](), DEPTH_2025.part("model"), path)
    return path


def verdicts_on(
    attack: str, folder: Path, limits: Limits, exported: Path, patch: pytest.MonkeyPatch
) -> dict[str, Verdict]:
    """What comes of a module whose forward pass does `attack`, in a child of its own."""
    patch.chdir(folder)
    patch.setattr(ModelProcess, "export", lambda *given: shutil.copy(exported, given[-1]))
    source = FORWARD.replace("{attack}", attack)
    source += "\ndef fd_open(fd):\n    return os.path.exists(f'/proc/self/fd/{fd}')\n"
    (folder / "hostile.py").write_text(source)
    verdicts = assess_hostile(DEPTH_2025, "hostile:Model", folder, limits)
    assert broken(verdicts) == {"COM-8"}
    assert verdicts["DEP-1"].outcome == "pass", "the rules of the file have their verdicts"
    assert verdicts["DEP-7"].outcome == "skip"
    return verdicts


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(name, marks=[] if name in BY_DEFAULT else [pytest.mark.slow])
        for name in ATTACKS
    ],
)
def test_an_attack_ends_in_a_verdict(
    attack: str, tmp_path: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, expected = ATTACKS[attack]
    limits = Limits(timeout=120.0, memory=3 * 2**30)
    verdicts = verdicts_on(code, tmp_path, limits, exported, monkeypatch)
    assert expected in verdicts["COM-8"].seen


def test_a_hang_leaves_no_process_behind(
    tmp_path: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = tmp_path / "pid"
    attack = (
        "import subprocess; p = subprocess.Popen(['sleep', '1000']); "
        f"open({str(note)!r}, 'w').write(str(p.pid)); time.sleep(1000)"
    )
    verdicts = verdicts_on(attack, tmp_path, Limits(timeout=15.0), exported, monkeypatch)
    assert "gave no answer for 15 s and was stopped" in verdicts["COM-8"].seen
    state = Path(f"/proc/{note.read_text()}/stat")
    deadline = time.monotonic() + 10
    while state.exists() and state.read_text().split()[2] != "Z" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not state.exists() or state.read_text().split()[2] == "Z"


def slow_model(path: Path) -> None:
    """Hours of work in a few bytes: a convolution of a broadcast picture with a huge kernel."""
    model = conforming("depth")
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array([1, 64, 4096, 4096]), "wide"))
    graph.initializer.append(numpy_helper.from_array(np.array([64, 64, 31, 31]), "kernel"))
    extra = [
        helper.make_node("ReduceMean", ["image"], ["level"], keepdims=1),
        helper.make_node("Expand", ["level", "wide"], ["canvas"]),
        helper.make_node("ConstantOfShape", ["kernel"], ["filter"]),
        helper.make_node("Conv", ["canvas", "filter"], ["slow"]),
        helper.make_node("ReduceMax", ["slow"], ["peak"], keepdims=0),
        helper.make_node("Mul", ["image", "peak"], ["picture"]),
    ]
    for index, node in enumerate(extra):
        graph.node.insert(index, node)
    next(n for n in graph.node if n.name == "centred").input[0] = "picture"
    onnx.save(model, path)


def test_timeout_and_the_next_rules(tmp_path: Path) -> None:
    slow_model(tmp_path / "my.onnx")
    gate = run_gate(tmp_path, "--track=depth", "--submission=my.onnx", "--timeout=4")
    assert gate.code == 1, gate.out
    assert "COM-8: could not be run: my.onnx gave no answer for 4 s and was stopped" in gate.out
    assert "probe 1/11, astronaut" in gate.out, "what is known of where"
    static = sum(rule.needs == "graph" for rule in rules_for(DEPTH_2025))
    rest = len(rules_for(DEPTH_2025)) - static - 1
    assert f"1 failed, {static} passed, {rest} skipped" in gate.out.splitlines()[-1]


def test_memory_option(tmp_path: Path) -> None:
    """Expands to 16 GiB, which is within reach of some machines and not of this limit."""
    model = conforming("depth")
    model.graph.initializer.append(numpy_helper.from_array(np.array([2**32]), "huge"))
    model.graph.node.insert(0, helper.make_node("ConstantOfShape", ["huge"], ["zeros"]))
    model.graph.node.insert(1, helper.make_node("ReduceMax", ["zeros"], ["peak"], keepdims=0))
    model.graph.node.insert(2, helper.make_node("Add", ["image", "peak"], ["picture"]))
    next(n for n in model.graph.node if n.name == "centred").input[0] = "picture"
    onnx.save(model, tmp_path / "my.onnx")
    gate = run_gate(tmp_path, "--track=depth", "--submission=my.onnx", "--memory=2")
    assert gate.code == 1
    assert "needs more memory than its limit of 2.0 GiB" in gate.out


def test_names_do_not_steer_the_terminal(tmp_path: Path) -> None:
    model = conforming("depth")
    rename_input("image", "\x1b[2J\x1b]0;owned\x07\nPASSED \u202egnp.x")(model)
    onnx.save(model, tmp_path / "my.onnx")
    gate = run_gate(tmp_path, "--track=depth", "--submission=my.onnx", "--color=no")
    assert gate.code == 1
    assert "  seen     \\x1b[2J\\x1b]0;owned\\x07 PASSED \\u202egnp.x" in gate.out
    assert not {"\x1b", "\x07", "\u202e"} & set(gate.out)


def test_nothing_outside_the_temporary_folder(tmp_path: Path) -> None:
    """Not in the working directory, not in the home, and the temporary folder is gone after."""
    write(DEPTH_2025, tmp_path)
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    before = sorted(tmp_path.rglob("*"))
    places = {"HOME": str(home), "TMPDIR": str(temporary), "PYTHONDONTWRITEBYTECODE": "1"}
    gate = run_gate(tmp_path, "--track=depth", "--submission=model.onnx", **places)
    assert gate.code == 0, gate.out
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs /proc and signals of a POSIX system")
def test_the_parent_holds_no_open_files_after(tmp_path: Path) -> None:
    """After the first submission, from which the process that reads files is kept."""
    write(DEPTH_2025, tmp_path)
    handles = []
    for turn in ("first", "second"):
        folder = tmp_path / turn
        verdicts = assess_hostile(DEPTH_2025, str(tmp_path / "model.onnx"), folder, Limits())
        assert broken(verdicts) == set()
        gc.collect()
        handles.append(len(os.listdir("/proc/self/fd")))
    assert handles[1] <= handles[0] + 1
