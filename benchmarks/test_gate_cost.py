"""What the gate costs beside the forward passes that it cannot do without.

`pytest benchmarks --benchmark-only` prints both in one table; the ratio stands in brackets. The
target is 1.2 times the peer plus 2 seconds, for the reference depth model of 99 MB.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from conformance.contract.probes import probes_for
from conformance.selftest.models import conforming
from conformance.selftest.surgery import redeclare
from reference.depth.contract import DEPTH_2025
from reference.export import export_reference

ROUNDS = 3
# Of two things that take a second or two, on a machine with other work.
STARTS = 10


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_reference(DEPTH_2025, tmp_path_factory.mktemp("model"))["model"]


@pytest.fixture(scope="module")
def feeds() -> list[dict[str, np.ndarray]]:
    return [probe.feeds() for probe in probes_for(DEPTH_2025, DEPTH_2025.parts[0])]


def gate(path: Path, code: int, **environment: str) -> None:
    suite = ["--pyargs", "conformance", "-m", "contract", "--track=depth", f"--submission={path}"]
    session(path.parent, *suite, code=code, **environment)


def session(folder: Path, *options: str, code: int = 0, **environment: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
    )
    assert done.returncode == code, done.stdout.decode()


def cpu_seconds() -> float:
    """Of all processes that were started here and have ended, and of theirs."""
    spent = os.times()
    return spent.children_user + spent.children_system


@pytest.mark.benchmark(group="depth reference, 99 MB")
def test_peer_session_and_forward_passes(
    benchmark: BenchmarkFixture, model: Path, feeds: list[dict[str, np.ndarray]]
) -> None:
    """The peer: one onnxruntime session and one forward pass a probe, nothing else."""

    def run() -> int:
        session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
        return sum(len(session.run(None, feed)) for feed in feeds)

    assert benchmark.pedantic(run, rounds=ROUNDS) == len(feeds)


@pytest.mark.benchmark(group="depth reference, 99 MB")
def test_gate(benchmark: BenchmarkFixture, model: Path) -> None:
    """The whole command, from the start of Python to its end."""
    benchmark.pedantic(gate, (model, 0), rounds=ROUNDS)


@pytest.mark.benchmark(group="depth reference, 99 MB")
def test_gate_on_a_file_that_breaks_a_required_rule(
    benchmark: BenchmarkFixture, model: Path
) -> None:
    """The output is of another shape: reported before anything runs. The target is 3 seconds."""
    proto = onnx.load(model)
    redeclare(proto.graph.output[0].name, shape=(1, 480, 640, 1))(proto)
    broken = model.with_name("broken.onnx")
    onnx.save(proto, broken)
    benchmark.pedantic(gate, (broken, 1), rounds=ROUNDS)


@pytest.mark.benchmark(group="hand-built depth model, 3 kB, in CPU seconds", timer=cpu_seconds)
class TestStart:
    """What the gate costs when the model costs nothing. The target is a second above the peer.

    Without bytecode is a process that may read it and not write it, as in many a container. What
    pip has installed has its own.
    """

    OFF: ClassVar = {"PYTHONDONTWRITEBYTECODE": "1"}

    @pytest.mark.parametrize("environment", [{}, OFF], ids=["bytecode", "no bytecode"])
    def test_peer_bare_session(
        self, benchmark: BenchmarkFixture, tmp_path: Path, environment: dict[str, str]
    ) -> None:
        """The peer: the same pytest with the same plugins, and one empty test."""
        (tmp_path / "test_empty.py").write_text("def test_nothing():\n    pass\n")
        options = ("test_empty.py",)
        benchmark.pedantic(session, (tmp_path, *options), environment, rounds=STARTS)

    @pytest.mark.parametrize("environment", [{}, OFF], ids=["bytecode", "no bytecode"])
    def test_gate_on_a_tiny_model(
        self, benchmark: BenchmarkFixture, tmp_path: Path, environment: dict[str, str]
    ) -> None:
        onnx.save(conforming(DEPTH_2025), tmp_path / "model.onnx")
        benchmark.pedantic(gate, (tmp_path / "model.onnx", 0), environment, rounds=STARTS)
