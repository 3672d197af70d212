"""A crash of a tool is told as the tool's, wherever it happens, and no model is judged by it."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from conformance.cli import main
from conformance.fault import FAULT as EXIT_FAULT
from conformance.fault import guarded
from conformance.rulebook import all_rules
from conformance.runtimes.ranges import measure_ranges
from conformance.selftest.gate import counts, run_gate
from conformance.selftest.models import write
from conformance.selftest.scripted_hub import Script
from conformance.selftest.test_device_rules import prepare
from conformance.submission.graph import read_graph
from reference.aihub.listed import FAULT
from reference.aihub.tasks import InferenceTask, Model, ModelKind
from reference.aihub.work import run
from reference.cache import Cache
from reference.depth.contract import DEPTH_2025
from reference.errors import ToolError
from reference.npu.compile import compile_model
from reference.npu.devices import find_device
from reference.npu.emulator import Context, Emulator
from reference.npu.link import link_models
from reference.npu.quantize import quantize
from reference.process import Limits
from reference.tests.npu_models import elementwise, needs_compiler, save

S24 = find_device("Samsung Galaxy S24")
LIMITS = Limits(60.0)
# Python reads it as it starts: the child of this name dies as a library of C would.
SABOTAGE = """
import os, runpy, signal, sys

def run(module, **how):
    if module == {module!r}:
        print("Segmentation fault in native code", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)
    return plain(module, **how)

plain, runpy.run_module = runpy.run_module, run  # what a fork begins with
if {module!r} in sys.orig_argv:
    run({module!r})
"""


@pytest.fixture
def crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets every child that runs a module crash."""

    def sabotage(module: str) -> None:
        folder = tmp_path / "sabotage"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(SABOTAGE.format(module=module))
        monkeypatch.setenv("PYTHONPATH", f"{folder}:{Path(__file__).parents[2]}")

    return sabotage


def _compile(model: Path, folder: Path) -> None:
    compile_model(model, S24, limits=LIMITS, cache=Cache(folder / "cache"))


def _emulate(model: Path, folder: Path) -> None:
    with Emulator(Context(model, S24), LIMITS):
        pass


def _quantise(model: Path, folder: Path) -> None:
    examples = [{"x": np.ones((1, 8), np.float32)}]
    quantize(model, folder / "out.onnx", examples, limits=LIMITS)


TOOLS: dict[str, tuple[str, Callable[[Path, Path], object], str]] = {
    "compiler": (
        "reference.npu.worker",
        _compile,
        "QAIRT crashed while compiling elementwise.onnx",
    ),
    "emulator": ("reference.npu.worker", _emulate, "QAIRT crashed while emulating the model"),
    "linker": (
        "reference.npu.worker",
        lambda model, folder: link_models([model], S24, folder / "it.bin", limits=LIMITS),
        "QAIRT crashed while linking",
    ),
    "quantiser": (
        "reference.npu.quantize_worker",
        _quantise,
        "our own reference.npu.quantize_worker crashed while quantising elementwise.onnx",
    ),
    "reader": (
        "conformance.submission.onnx_file",
        lambda model, folder: read_graph(model, Limits(59.0)),
        "our own reader of ONNX files crashed while reading elementwise.onnx",
    ),
    "ranges": (
        "conformance.runtimes.range_child",
        lambda model, folder: measure_ranges(model, [{"x": np.ones((1, 8), np.float32)}], LIMITS),
        "onnxruntime crashed while looking at the ranges in elementwise.onnx",
    ),
}


@needs_compiler
@pytest.mark.parametrize("tool", TOOLS)
def test_the_tool_is_named(tool: str, tmp_path: Path, crash: Callable[[str], None]) -> None:
    module, use, said = TOOLS[tool]
    crash(module)
    with pytest.raises(ToolError) as raised:
        use(save(elementwise, tmp_path), tmp_path)
    assert raised.value.problem == f"{said} (SIGSEGV): Segmentation fault in native code"
    assert raised.value.remedy.startswith("that is the tool's fault and no verdict on the model")
    told: list[str] = []

    def again() -> int:
        raise raised.value

    assert guarded(again, told.append) == EXIT_FAULT
    assert told == [str(raised.value)]


@needs_compiler
@pytest.mark.parametrize("suite", ["npu", "parity"])
def test_nothing_fails_for_a_compiler_that_crashed(
    suite: str, tmp_path: Path, crash: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate is not passed either: one item says what happened, in one line, and has no row."""
    monkeypatch.setenv("LPCVC_CACHE", str(tmp_path / "cache"))
    model = write(DEPTH_2025, tmp_path)["model"]
    crash("reference.npu.worker")
    gate = run_gate(tmp_path, f"--submission={model}", "--track=depth", suite=suite)
    assert not re.search(r"\bFAIL\b", gate.out)
    assert "QAIRT crashed while compiling" in gate.out
    assert "could not be run" not in gate.out
    assert "Traceback" not in gate.out + gate.err
    assert (gate.code, counts(gate)["failed"]) == (1, 1)


def test_no_file_fails_for_a_reader_that_crashed(
    tmp_path: Path, crash: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    model = write(DEPTH_2025, tmp_path)["model"]
    crash("conformance.submission.onnx_file")
    assert main(["check", "--track=depth", "--timeout=58", str(model)]) == EXIT_FAULT
    said = capsys.readouterr()
    assert said.err.startswith(
        "lpcvc: our own reader of ONNX files crashed while reading model.onnx"
    )
    assert "FAIL" not in said.out


@pytest.mark.parametrize(("kind", "rule"), [("compile", 1), ("profile", 3), ("inference", 7)])
def test_a_fault_of_the_hub_breaks_no_rule(kind: str, rule: int, tmp_path: Path) -> None:
    """A job that failed of itself, beside it, does."""
    fault = f"{FAULT}: QAIRT crashed while reading the context binary (SIGSEGV): nothing"
    chosen = all_rules()[f"DEV-{rule}"]
    own = prepare(DEPTH_2025, tmp_path, Script(fails={kind: fault}))
    with pytest.raises(ToolError, match="a fault of this hub, not of the job: QAIRT crashed"):
        own.verdict(chosen)
    other = prepare(DEPTH_2025, tmp_path, Script(fails={kind: "no such operator"}))
    assert other.verdict(chosen).outcome == "fail"


@needs_compiler
def test_where_nodes_run_is_not_guessed_of_a_compiler_that_crashed(
    tmp_path: Path, crash: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be told as a model of which nothing runs on the NPU."""
    monkeypatch.setenv("LPCVC_CACHE", str(tmp_path / "cache"))
    model = Model(save(elementwise, tmp_path), ModelKind.ONNX)
    crash("reference.npu.worker")
    with pytest.raises(ToolError, match="QAIRT crashed while compiling"):
        run(InferenceTask(model, S24, "", None, True), tmp_path / "job", LIMITS)
