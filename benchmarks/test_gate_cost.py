"""What the gate costs beside the forward passes that it cannot do without.

`pytest benchmarks --benchmark-only` prints both in one table; the ratio stands in brackets. The
target is 1.2 times the peer plus 2 seconds, for the reference depth model of 99 MB.
"""

import subprocess
import sys
from pathlib import Path

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


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_reference(DEPTH_2025, tmp_path_factory.mktemp("model"))["model"]


@pytest.fixture(scope="module")
def feeds() -> list[dict[str, np.ndarray]]:
    return [probe.feeds() for probe in probes_for(DEPTH_2025, DEPTH_2025.parts[0])]


def gate(path: Path, code: int) -> None:
    command = [sys.executable, "-m", "pytest", "--pyargs", "conformance", "-m", "contract"]
    options = ["--track=depth", f"--submission={path}", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, *options], cwd=path.parent, capture_output=True, check=False)
    assert done.returncode == code, done.stdout.decode()


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


@pytest.mark.benchmark(group="hand-built depth model, 3 kB")
def test_gate_on_a_tiny_model(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """What the gate costs when the model costs nothing."""
    onnx.save(conforming(DEPTH_2025), tmp_path / "model.onnx")
    benchmark.pedantic(gate, (tmp_path / "model.onnx", 0), rounds=ROUNDS)
