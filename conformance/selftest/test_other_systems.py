"""The way of the gate on a system without POSIX: its modules and functions are hidden from the
session and from its children.
"""

from pathlib import Path

import pytest

from conformance.selftest.gate import counts, run_gate
from conformance.selftest.models import write
from conformance.selftest.test_gate import save_mutant
from reference.depth.contract import DEPTH_2025

ROOT = Path(__file__).parents[2]
HIDDEN = """
import os, signal, subprocess, sys
import psutil  # which has its own way on each system, and on this one takes what is hidden here
for name in ("fcntl", "resource", "termios"):
    sys.modules[name] = None
for name in ("fork", "getpgid", "killpg", "setpgid", "setsid"):
    delattr(os, name)
for name in ("SIGHUP", "SIGXCPU", "SIGXFSZ"):
    delattr(signal, name)
"""


@pytest.fixture
def elsewhere(tmp_path: Path) -> str:
    """PYTHONPATH with a start-up file that hides them."""
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "sitecustomize.py").write_text(HIDDEN)
    return f"{tmp_path / 'hidden'}:{ROOT}"


def test_a_model_that_passes_and_one_that_fails(tmp_path: Path, elsewhere: str) -> None:
    write(DEPTH_2025, tmp_path)
    save_mutant("depth up to 1.001", tmp_path / "broken.onnx")
    for name, failed in (("model", 0), ("broken", 1)):
        options = ["--track=depth", f"--submission={name}.onnx", f"--report={name}"]
        gate = run_gate(tmp_path, *options, PYTHONPATH=elsewhere)
        assert gate.code == failed, gate.out + gate.err
        assert counts(gate).get("failed", 0) == failed
        assert (tmp_path / name / "report.html").is_file()


@pytest.mark.slow
def test_a_model_that_hangs_is_stopped(tmp_path: Path, elsewhere: str) -> None:
    (tmp_path / "slow.py").write_text(
        "import time, torch\n"
        "class Slow(torch.nn.Module):\n"
        "    def forward(self, image):\n"
        "        time.sleep(600)\n"
    )
    options = ["--track=depth", "--submission=slow:Slow", "--timeout=5"]
    gate = run_gate(tmp_path, *options, PYTHONPATH=f"{elsewhere}:{tmp_path}")
    assert gate.code == 1, gate.out + gate.err
    assert "was stopped" in gate.out
