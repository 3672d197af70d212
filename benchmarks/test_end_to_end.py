"""Whole commands beside what they cannot do without: scores, compilation, a job, a report.

`pytest benchmarks/test_end_to_end.py --benchmark-only` prints each pair in one table; the ratio
stands in brackets.
"""

import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from pytest_benchmark.fixture import BenchmarkFixture

from conformance.cli import main
from conformance.runtimes.npu import compile_file
from conformance.scoring.datasets import open_dataset
from conformance.selftest import models
from conformance.selftest.samples import grey_depth
from reference.aihub.local import local_hub
from reference.cache import Cache
from reference.depth.contract import DEPTH_2025
from reference.depth.metric import METRIC
from reference.npu.devices import find_device

ROUNDS = 3
ITEMS = 40
LAYERS, CHANNELS, SIDE = 24, 64, 96

# Onnxruntime's own way to a context binary, without a check of anything.
BARE = """
import sys
import onnxruntime as ort, onnxruntime_qnn as qnn
ort.register_execution_provider_library(qnn.get_ep_name(), qnn.get_library_path())
model, context, soc_model = sys.argv[1:]
options = ort.SessionOptions()
for key, value in {"enable": "1", "embed_mode": "0", "file_path": context}.items():
    options.add_session_config_entry(f"ep.context_{key}", value)
own = [device for device in ort.get_ep_devices() if device.ep_name == qnn.get_ep_name()]
options.add_provider_for_devices(own, {
    "backend_path": qnn.get_qnn_htp_path(), "soc_model": soc_model,
    "enable_htp_fp16_precision": "1", "htp_graph_finalization_optimization_mode": "3"})
ort.InferenceSession(model, options)
"""


@pytest.fixture(scope="module")
def convolutions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 convolutions of 64 channels at 96x96: seconds of compilation."""
    random = np.random.default_rng(0)
    shape = [1, CHANNELS, SIDE, SIDE]
    nodes, weights = [], []
    for number in range(LAYERS):
        kernel = random.normal(0, 0.04, (CHANNELS, CHANNELS, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"w{number}"))
        pads = {"pads": [1, 1, 1, 1]}
        nodes.append(helper.make_node("Conv", [f"x{number}", f"w{number}"], [f"c{number}"], **pads))
        nodes.append(helper.make_node("Relu", [f"c{number}"], [f"x{number + 1}"]))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name in ("x0", f"x{LAYERS}")
    ]
    graph = helper.make_graph(nodes, "convolutions", ends[:1], ends[1:], weights)
    opset = [helper.make_opsetid("", 17)]
    path = tmp_path_factory.mktemp("convolutions") / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


@pytest.mark.benchmark(group="compiling 24 convolutions for the NPU")
def test_peer_bare_session(benchmark: BenchmarkFixture, convolutions: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime_qnn")
    soc = str(find_device(DEPTH_2025.device).soc_model)

    def run() -> None:
        context = tmp_path / f"{uuid.uuid4().hex}.onnx"
        command = [sys.executable, "-c", BARE, str(convolutions), str(context), soc]
        subprocess.run(command, check=True, capture_output=True)
        assert context.exists()

    benchmark.pedantic(run, rounds=ROUNDS)


@pytest.mark.benchmark(group="compiling 24 convolutions for the NPU")
def test_compile(benchmark: BenchmarkFixture, convolutions: Path, tmp_path: Path) -> None:
    """With the trace, the nodes' places and the cache's entry, into an empty cache."""
    pytest.importorskip("onnxruntime_qnn")
    device = find_device(DEPTH_2025.device)
    made = benchmark.pedantic(
        lambda: compile_file(convolutions, device, cache=Cache(tmp_path / uuid.uuid4().hex)),
        rounds=ROUNDS,
    )
    assert not made.failure


@pytest.mark.benchmark(group="compiling 24 convolutions for the NPU")
def test_hub_from_submission_to_result(
    benchmark: BenchmarkFixture, convolutions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Upload, compile job and download on a local hub that runs, into an empty cache."""
    pytest.importorskip("onnxruntime_qnn")
    pytest.importorskip("qai_hub")
    monkeypatch.setenv("LPCVC_CACHE", str(tmp_path / "cache"))
    with local_hub() as hub:
        (device,) = hub.client.get_devices(name=DEPTH_2025.device)
        rounds = iter(range(ROUNDS))

        def run() -> Path:
            model = onnx.load(convolutions)
            model.doc_string = str(next(rounds))  # another file each time: nothing is kept of it
            path = tmp_path / "model.onnx"
            onnx.save(model, path)
            options = "--target_runtime qnn_context_binary"
            job = hub.client.submit_compile_job(str(path), device, options=options)
            return Path(job.get_target_model().download(str(tmp_path / "target")))

        assert benchmark.pedantic(run, rounds=ROUNDS).exists()


@pytest.fixture(scope="module")
def depths(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A set of 40 pictures, and the small conforming model."""
    folder = tmp_path_factory.mktemp("depths")
    data = grey_depth(folder / "data", list(range(10, 10 + ITEMS)))
    return data, models.write(DEPTH_2025, folder)["model"]


@pytest.mark.benchmark(group="scoring 40 depth maps")
def test_peer_session_and_metric(benchmark: BenchmarkFixture, depths: tuple[Path, Path]) -> None:
    """The same pictures, passes and scores in a loop in this process, and nothing kept."""
    data, model = depths

    def run() -> int:
        session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
        dataset, part = open_dataset(DEPTH_2025, data), DEPTH_2025.parts[0]
        scored = [
            METRIC.measure.score(
                session.run(None, dataset.feeds(part, item))[0], dataset.truth(item)
            )
            for item in dataset.items
        ]
        return len(scored)

    assert benchmark.pedantic(run, rounds=ROUNDS, warmup_rounds=1) == ITEMS


@pytest.mark.benchmark(group="scoring 40 depth maps")
def test_score(benchmark: BenchmarkFixture, depths: tuple[Path, Path], tmp_path: Path) -> None:
    """`lpcvc score` in this process: one worker, results in an empty file, the interval."""
    data, model = depths

    def run() -> int:
        results = tmp_path / f"{uuid.uuid4().hex}.sqlite"
        words = ["--track", "depth", "--data", str(data), "--submission", str(model)]
        return main(["score", *words, "--results", str(results)])

    assert benchmark.pedantic(run, rounds=ROUNDS, warmup_rounds=1) == 0


def gate(folder: Path, *more: str) -> None:
    models.write(DEPTH_2025, folder)
    command = [sys.executable, "-m", "pytest", "--pyargs", "conformance", "-m", "contract"]
    options = ["--track=depth", "--submission=model.onnx", "-p", "no:cacheprovider", *more]
    subprocess.run([*command, *options], cwd=folder, capture_output=True, check=True)


@pytest.mark.benchmark(group="the gate on a tiny model, and its report")
def test_peer_gate_without_a_report(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    benchmark.pedantic(gate, (tmp_path,), rounds=ROUNDS)


@pytest.mark.benchmark(group="the gate on a tiny model, and its report")
def test_gate_with_a_report(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    benchmark.pedantic(gate, (tmp_path, "--report=page.html"), rounds=ROUNDS)
    assert (tmp_path / "page.html").stat().st_size > 10_000
