"""Quantising small models: closeness, signature, bytes, the NPU's view, and failures."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from reference.cache import Cache
from reference.errors import SubmissionError
from reference.npu.compile import compile_model
from reference.npu.devices import find_device
from reference.npu.emulator import Emulator
from reference.npu.quantize import Feeds, Precision, Quantized, compare, quantize
from reference.process import Limits
from reference.tests import npu_models as models
from reference.tests.npu_models import FLOAT, INT64, PICTURE, needs_compiler, node, on_cpu, save

LIMITS = Limits(timeout=120.0)
BITS = {"w8a8": TensorProto.UINT8, "w8a16": TensorProto.UINT16}
PRECISIONS = ("w8a8", "w8a16")
# What is lost at most, in decibels below the signal: int8 weights bound both.
NOISE_DB = {"w8a8": 30, "w8a16": 40}


def pictures(count: int) -> Iterator[Feeds]:
    rng = np.random.default_rng(7)
    return ({"x": rng.random(PICTURE, dtype=np.float32)} for _ in range(count))


def traps() -> onnx.ModelProto:
    """What the tool alone leaves in float or in types that the NPU has not: an operator that only
    moves the input, a constant as a node, LayerNorm, and GELU by way of Erf.
    """
    rng = np.random.default_rng(3)
    nodes = [
        node("Gather", "x zero", "row", axis=1),
        node("Constant", "", "scales", value=onnx.numpy_helper.from_array(np.float32([1, 1, 2]))),
        node("Resize", "row", "u", mode="linear"),
        node("LayerNormalization", "u gain shift", "n", axis=-1),
        node("Div", "n root", "d"),
        node("Erf", "d", "e"),
        node("Add", "e one", "a"),
        node("Mul", "n a", "m"),
        node("Mul", "m half", "g"),
        node("MatMul", "g w", "y"),
    ]
    nodes[2].input[:] = ["row", "", "scales"]
    weights = {
        "zero": np.int64(0),
        "gain": rng.normal(1, 0.3, 64).astype(np.float32),
        "shift": rng.normal(0, 0.3, 64).astype(np.float32),
        "root": np.float32(2**0.5),
        "one": np.float32(1),
        "half": np.float32(0.5),
        "w": rng.normal(0, 0.2, (64, 16)).astype(np.float32),
    }
    return models.model(nodes, [("x", FLOAT, PICTURE)], [("y", FLOAT, (1, 32, 16))], weights)


def tokens() -> onnx.ModelProto:
    """An integer input beside a float one."""
    rng = np.random.default_rng(5)
    nodes = [node("Gather", "rows i", "r", axis=0), node("Mul", "r x", "m"), node("Tanh", "m", "y")]
    weights = {"rows": rng.normal(size=(9, 8)).astype(np.float32)}
    values = [("i", INT64, (1, 4)), ("x", FLOAT, (1, 4, 8))]
    return models.model(nodes, values, [("y", FLOAT, (1, 4, 8))], weights)


def constants() -> onnx.ModelProto:
    """A size as a constant node, and nothing that the tool's preparation would rewrite."""
    scales = onnx.numpy_helper.from_array(np.float32([1, 1, 2, 2]))
    nodes = [node("Constant", "", "scales", value=scales), node("Resize", "x", "y", mode="linear")]
    nodes[1].input.extend(["", "scales"])
    return models.model(nodes, [("x", FLOAT, PICTURE)], [("y", FLOAT, (1, 3, 64, 64))])


def half() -> onnx.ModelProto:
    nodes = [
        node("Cast", "x", "h", to=TensorProto.FLOAT16),
        node("Conv", "h kernel", "c"),
        node("Cast", "c", "y", to=FLOAT),
    ]
    values = ("x", FLOAT, PICTURE), ("y", FLOAT, (1, 8, 30, 30))
    weights = {"kernel": models.KERNEL.astype(np.float16)}
    return models.model(nodes, values[:1], values[1:], weights)


@pytest.fixture(scope="module", params=PRECISIONS)
def net(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Quantized:
    folder = tmp_path_factory.mktemp(request.param)
    path = save(models.net, folder)
    return quantize(path, folder / "int8.onnx", pictures(8), request.param, limits=LIMITS)


def noise_db(reference: np.ndarray, found: np.ndarray) -> float:
    return float(10 * np.log10(np.sum(reference**2) / np.sum((reference - found) ** 2)))


def test_close_to_the_float_model(net: Quantized) -> None:
    """On seen and unseen examples; what is reported is that of the unseen ones."""
    source = net.path.with_name("net.onnx")
    pairs = [(on_cpu(source, feed)[0], on_cpu(net.path, feed)[0]) for feed in pictures(8)]
    assert min(noise_db(a, b) for a, b in pairs) > NOISE_DB[net.precision]
    unseen = [pairs[3], pairs[7]]
    signal = sum(np.sum(a**2) for a, _ in unseen)
    noise = sum(np.sum((a - b) ** 2) for a, b in unseen)
    cosines = [np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b) for a, b in unseen]
    assert (net.calibrated, net.judged) == (6, 2)
    assert net.fidelity.keys() == {"y"}
    assert net.fidelity["y"].sqnr_db == pytest.approx(10 * np.log10(signal / noise), abs=0.01)
    assert net.fidelity["y"].cosine == pytest.approx(np.mean(cosines), abs=1e-6)


def test_weights_of_8_bits_and_standard_operators(net: Quantized) -> None:
    model = onnx.load(net.path)
    onnx.checker.check_model(model, full_check=True)
    assert {entry.domain for entry in model.opset_import} <= {"", "ai.onnx"}
    assert (net.operators, net.quantised) == (5, 5)
    assert net.size == net.path.stat().st_size
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    assert tensors["kernel_quantized"].data_type == TensorProto.INT8
    assert list(tensors["kernel_scale"].dims) == [8], "a scale a channel"
    assert tensors["x_zero_point"].data_type == BITS[net.precision]


@pytest.mark.parametrize("build", [constants, tokens])
def test_inputs_and_outputs_stay(build: Callable[[], onnx.ModelProto], tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    mixed = {"i": rng.integers(0, 9, (1, 4)), "x": rng.normal(size=(1, 4, 8)).astype(np.float32)}
    feeds = mixed if build is tokens else next(pictures(1))
    source = save(build, tmp_path)
    made = quantize(source, tmp_path / "q.onnx", [feeds], limits=LIMITS)
    assert (made.calibrated, made.judged) == (1, 1), "one example serves for both"
    before, after = onnx.load(source).graph, onnx.load(made.path).graph
    assert list(after.input) == list(before.input)
    assert list(after.output) == list(before.output)
    if build is tokens:
        assert [n.op_type for n in after.node if "i" in n.input] == ["Gather"]
        assert made.quantised == 3


def test_same_bytes_each_time(net: Quantized) -> None:
    again = net.path.with_name("again.onnx")
    source = net.path.with_name("net.onnx")
    quantize(source, again, pictures(8), net.precision, limits=LIMITS)
    assert again.read_bytes() == net.path.read_bytes()


@needs_compiler
@pytest.mark.parametrize("precision", PRECISIONS)
def test_whole_without_float16(precision: Precision, tmp_path: Path) -> None:
    """QCS6490 has no float16: one operator left in float and it would not be whole."""
    made = quantize(
        save(traps, tmp_path), tmp_path / "q.onnx", pictures(8), precision, limits=LIMITS
    )
    assert made.quantised == made.operators == 5
    assert made.fidelity["y"].sqnr_db > 25
    assert {node.domain for node in onnx.load(made.path).graph.node} == {""}
    device = find_device("QCS6490 (Proxy)")
    compiled = compile_model(made.path, device, limits=LIMITS, cache=Cache(tmp_path / "cache"))
    assert compiled.whole, compiled.placement.cpu


@needs_compiler
@pytest.mark.parametrize("name", ["Samsung Galaxy S24", "QCS6490 (Proxy)"])
def test_the_emulated_npu_agrees(net: Quantized, name: str, tmp_path: Path) -> None:
    compiled = compile_model(
        net.path, find_device(name), limits=LIMITS, cache=Cache(tmp_path / "cache")
    )
    assert compiled.whole, compiled.placement.cpu
    feeds = dict(next(pictures(1)))
    with Emulator(compiled, LIMITS) as emulator:
        answer = emulator.run(feeds)["y"]
    expected = on_cpu(net.path.with_name("net.onnx"), feeds)[0]
    assert noise_db(expected, answer) > NOISE_DB[net.precision]


def test_compare(tmp_path: Path) -> None:
    source = save(models.net, tmp_path)
    same = compare(source, source, pictures(2), limits=LIMITS)
    assert same["y"].cosine == pytest.approx(1)
    assert same["y"].sqnr_db == np.inf
    with pytest.raises(SubmissionError, match=r"tokens.onnx cannot be compared with net.onnx"):
        compare(source, save(tokens, tmp_path), pictures(1), limits=LIMITS)


REFUSALS = {
    "quantised": (models.quantised, "quantised.onnx is quantised already: QuantizeLinear '/xq/"),
    "dynamic": (models.dynamic, "dynamic.onnx has dynamic shapes: its input 'x'"),
    "float16": (half, "half.onnx computes in float16: its weight 'kernel'"),
    "other inputs": (tokens, "tokens.onnx cannot be quantised: ValueError: Required inputs"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_failure_leaves_what_was_there(case: str, tmp_path: Path) -> None:
    build, problem = REFUSALS[case]
    source, output = save(build, tmp_path), tmp_path / "out" / "q.onnx"
    output.parent.mkdir()
    output.write_bytes(b"of yesterday")
    with pytest.raises(SubmissionError) as raised:
        quantize(source, output, pictures(1), limits=LIMITS)
    assert raised.value.problem.startswith(problem)
    assert raised.value.remedy
    assert output.read_bytes() == b"of yesterday"
    assert [path.name for path in output.parent.iterdir()] == ["q.onnx"]


def test_no_examples_and_no_time_and_no_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reference.process._TICK_SECONDS", 0.01)
    source = save(models.net, tmp_path)
    with pytest.raises(SubmissionError, match="there is no example of the inputs"):
        quantize(source, tmp_path / "q.onnx", [])
    with pytest.raises(SubmissionError, match=r"quantising net.onnx gave no answer for 0 s"):
        quantize(source, tmp_path / "q.onnx", pictures(1), limits=Limits(timeout=0.0))
    with pytest.raises(SubmissionError, match=r"q.onnx cannot be written"):
        quantize(source, source / "q.onnx", pictures(1))
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


def test_a_model_cut_short(tmp_path: Path) -> None:
    whole = save(models.net, tmp_path)
    short = Path(shutil.copy(whole, tmp_path / "short.onnx"))
    short.write_bytes(whole.read_bytes()[:-50])
    with pytest.raises(SubmissionError, match=r"short.onnx cannot be quantised: DecodeError"):
        quantize(short, tmp_path / "q.onnx", pictures(1), limits=LIMITS)
