"""One corrupted node in a random graph is found, in few rounds and with few tensors a round."""

import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from conformance.parity import locate as locating
from conformance.parity.flow import Flow, spread
from conformance.parity.locate import TENSORS, Growth, Jump, locate
from conformance.selftest.surgery import constant
from reference.tests import npu_models

X = np.random.default_rng(0).normal(size=(1, 8)).astype(np.float32)
FLOOR = 1e-5


def graph_of(sources: Sequence[tuple[int, int]], path: Path) -> Path:
    """Node n adds two earlier tensors (0 is the input) and a bias of its own.

    All loose ends are added up into `y`.
    """
    nodes, weights = [], []
    for n, (one, other) in enumerate(sources, 1):
        names = [f"t{one}", f"t{other}", f"b{n}"]
        nodes.append(helper.make_node("Sum", names, [f"t{n}"], f"node {n}"))
        weights.append(numpy_helper.from_array(np.float32(n % 3), f"b{n}"))
    used = {f"t{source}" for pair in sources for source in pair}
    ends = [f"t{n}" for n in range(1, len(sources) + 1) if f"t{n}" not in used]
    nodes.append(helper.make_node("Sum", ends, ["y"], "end"))
    x = helper.make_tensor_value_info("t0", TensorProto.FLOAT, [1, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8])
    graph = helper.make_graph(nodes, "graph", [x], [y], weights)
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def changed(path: Path, change: Callable[[ModelProto], None]) -> Path:
    model = onnx.load(path)
    change(model)
    target = path.with_name("changed.onnx")
    onnx.save(model, target)
    return target


class OrtRunner:
    """A runner in this process that remembers how much it was asked."""

    def __init__(self, path: Path, **feeds: np.ndarray) -> None:
        self.asked: list[int] = []
        self._flow, self._feeds = Flow(path), feeds

    def __call__(self, tensors: Sequence[str]) -> dict[str, np.ndarray]:
        self.asked.append(len(tensors))
        with tempfile.TemporaryDirectory() as folder:
            part = Path(folder, "part.onnx")
            inputs = self._flow.expose(tensors, part)
            session = ort.InferenceSession(part, providers=["CPUExecutionProvider"])
        feeds = {name: self._feeds[name] for name in inputs}
        return dict(zip(tensors, session.run(None, feeds), strict=True))


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[tuple[int, int]], int]:
    """Up to 120 nodes, most near the one before, and the number of the one to corrupt."""
    size = draw(st.integers(1, 120))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    steps = np.minimum(rng.integers(1, (4, 40), (size, 2)), np.arange(1, size + 1)[:, None])
    sources = [(n - one, n - other) for n, (one, other) in enumerate(steps.tolist(), 1)]
    return sources, draw(st.integers(1, size))


class ErrorRunner:
    """What is computed from one corrupted tensor is wrong by far, all else by next to nothing."""

    def __init__(self, flow: Flow, corrupted: str, seed: int) -> None:
        self.asked: list[int] = []
        self._flow, self._corrupted = flow, corrupted
        self._rng = np.random.default_rng(seed)

    def __call__(self, tensors: Sequence[str]) -> dict[str, np.ndarray]:
        self.asked.append(len(tensors))
        return {name: X * (1 + self._error(name)) for name in tensors}

    def _error(self, name: str) -> float:
        wrong = self._corrupted in {name, *self._flow.ancestors(name)}
        return self._rng.uniform(0.3, 3) if wrong else self._rng.uniform(0, FLOOR / 2)


@settings(max_examples=100, deadline=None)
@given(graphs(), st.integers(0, 9))
def test_the_corrupted_node_is_found(drawn, seed: int) -> None:
    sources, corrupted = drawn
    with tempfile.TemporaryDirectory() as folder:
        flow = Flow(graph_of(sources, Path(folder, "model.onnx")))
    bad = ErrorRunner(flow, f"t{corrupted}", seed)
    found = locate(flow, lambda tensors: dict.fromkeys(tensors, X), bad, floor=FLOOR)
    assert isinstance(found, Jump)
    assert (found.node.name, found.tensor) == (f"node {corrupted}", f"t{corrupted}")
    assert found.before < FLOOR
    assert found.after > 0.2
    assert found.rounds == len(bad.asked) <= 5
    assert max(bad.asked) <= TENSORS + 1, "the output too, once"


@pytest.mark.parametrize("length", [16, 270, 1000])
def test_rounds_grow_with_the_logarithm(length: int, tmp_path: Path) -> None:
    """With sixteen tensors a round each of them leaves one part in sixteen."""
    path = graph_of([(n, 0) for n in range(length)], tmp_path / "model.onnx")
    wrong = changed(path, constant(f"b{length // 3}", lambda b: b + X))
    found = locate(Flow(path), OrtRunner(path, t0=X), OrtRunner(wrong, t0=X), floor=FLOOR)
    assert found.node.name == f"node {length // 3}"
    assert found.rounds <= math.ceil(math.log(length, TENSORS)) + 1


def test_a_defect_that_comes_to_nothing_is_passed_over(tmp_path: Path) -> None:
    """A wrong tensor times zero; the real defect is behind it."""
    nodes = [
        npu_models.node("Add", "x one", "wrong"),
        npu_models.node("Mul", "wrong zero", "nothing"),
        npu_models.node("Add", "x nothing", "joined"),
        npu_models.node("Add", "joined two", "defect"),
        npu_models.node("Tanh", "defect", "y"),
    ]
    weights = {name: np.float32(value) for name, value in (("one", 1), ("zero", 0), ("two", 0.1))}
    value = npu_models.FLOAT, (1, 8)
    path = tmp_path / "model.onnx"
    onnx.save(npu_models.model(nodes, [("x", *value)], [("y", *value)], weights), path)
    both = changed(path, lambda m: [constant(n, lambda b: b + 1)(m) for n in ("one", "two")])
    found = locate(Flow(path), OrtRunner(path, x=X), OrtRunner(both, x=X), floor=FLOOR)
    assert found.tensor == "defect"


def test_an_error_that_grows_evenly_has_no_node(tmp_path: Path) -> None:
    path = graph_of([(n, n) for n in range(60)], tmp_path / "model.onnx")

    def drift(model: ModelProto) -> None:
        for n in range(1, 61):
            constant(f"b{n}", lambda b, n=n: b + X[:, ::-1] * 1e-3 * 2.0**n)(model)

    found = locate(
        Flow(path), OrtRunner(path, t0=X), OrtRunner(changed(path, drift), t0=X), floor=1e-2
    )
    assert isinstance(found, Growth)
    assert found.rounds == 1
    assert 0.01 < found.after < 1


def test_quantised_against_float(tmp_path: Path) -> None:
    """Two graphs of other nodes, by the tensors that both have: the output's scale is too small."""
    path, float_path = tmp_path / "model.onnx", tmp_path / "float.onnx"
    onnx.save(npu_models.quantised(), path)
    kernel = (np.round(npu_models.KERNEL * 100) * 0.01).astype(np.float32)
    values = ("x", npu_models.FLOAT, npu_models.PICTURE), ("y", npu_models.FLOAT, (1, 8, 32, 32))
    nodes = [npu_models.conv("x kernel"), npu_models.node("Identity", "c", "y")]
    onnx.save(npu_models.model(nodes, values[:1], values[1:], {"kernel": kernel}), float_path)
    clipped = changed(path, constant("sy", lambda scale: scale / 20))
    runners = [OrtRunner(p, x=npu_models.PHOTO) for p in (float_path, clipped)]
    found = locate(Flow(clipped), *runners, floor=0.1, tensors=["c", "y"])
    assert (found.node.op, found.tensor) == ("DequantizeLinear", "y")
    assert found.before < 0.1 < found.after


def test_a_round_stays_within_its_bytes(tmp_path: Path, monkeypatch) -> None:
    path = graph_of([(n, 0) for n in range(64)], tmp_path / "model.onnx")
    monkeypatch.setattr(locating, "MOST_BYTES", 4 * X.nbytes)
    wrong = changed(path, constant("b20", lambda b: b + X))
    good = OrtRunner(path, t0=X)
    found = locate(Flow(path), good, OrtRunner(wrong, t0=X), floor=FLOOR)
    assert found.node.name == "node 20"
    assert max(good.asked) <= 5


def test_tensors_that_can_be_looked_at() -> None:
    """Not what depends on weights alone; what a branch reads is an ancestor."""
    inner = helper.make_graph(
        [helper.make_node("Relu", ["outer"], ["inner"])],
        "branch",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, [1, 8])],
    )
    nodes = [
        npu_models.node("Add", "one one", "two"),
        npu_models.node("Mul", "x two", "outer"),
        helper.make_node("If", ["flag"], ["y"], then_branch=inner, else_branch=inner),
    ]
    value = npu_models.FLOAT, (1, 8)
    weights = {"one": np.float32(1), "flag": np.array(True)}
    model = npu_models.model(nodes, [("x", *value)], [("y", *value)], weights)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        onnx.save(model, path)
        flow = Flow(path)
    assert flow.tensors == ("outer", "y")
    assert flow.ancestors("y") == {"flag", "outer", "x", "two", "one"}
    assert flow.producer("y").op == "If"
    assert flow.producer("x") is None


def test_the_data_path(tmp_path: Path) -> None:
    """Sizes, what is computed of them, indices and truth values are none of it; 8-bit integers are
    the quantised form of what is.
    """
    nodes = [
        npu_models.node("Shape", "x", "size"),
        npu_models.node("Cast", "size", "float", to=npu_models.FLOAT),
        npu_models.node("ReduceMax", "float", "largest", keepdims=0),
        npu_models.node("Size", "x", "count"),
        npu_models.node("Div", "x largest", "scaled"),
        npu_models.node("QuantizeLinear", "scaled s z", "integer"),
        npu_models.node("DequantizeLinear", "integer s z", "back"),
        npu_models.node("ArgMax", "back", "index", axis=1),
        npu_models.node("Cast", "index", "place", to=npu_models.FLOAT),
        npu_models.node("Greater", "back place", "flag"),
        npu_models.node("Where", "flag back place", "y"),
    ]
    value = npu_models.FLOAT, (1, 8)
    weights = {"s": np.float32(0.1), "z": np.uint8(128)}
    path = tmp_path / "model.onnx"
    onnx.save(npu_models.model(nodes, [("x", *value)], [("y", *value)], weights), path)
    assert Flow(path).tensors == ("scaled", "integer", "back", "place", "y")


def test_modules_by_the_names_of_their_nodes(tmp_path: Path) -> None:
    """As the exporter writes them; a module that leaves two tensors behind is left out."""
    names = {
        "/net/net.0/conv/Conv": ("x", "a"),
        "/net/net.0/act/Relu": ("a", "b"),
        "/net/net.1/Sigmoid": ("b", "c"),
        "/net/net.1/Mul": ("c b", "d"),
        "/two/Relu": ("d", "e"),
        "/two/Tanh": ("d", "f"),
        "/Add": ("e f", "y"),
    }
    nodes = [
        helper.make_node(name.split("/")[-1], reads.split(), [out], name)
        for name, (reads, out) in names.items()
    ]
    nodes[0].op_type = "Neg"
    value = npu_models.FLOAT, (1, 8)
    onnx.save(npu_models.model(nodes, [("x", *value)], [("y", *value)]), tmp_path / "m.onnx")
    found = Flow(tmp_path / "m.onnx").modules()
    assert found == {"a": "net.0.conv", "b": "net.0.act", "d": "net.1"}


@given(st.integers(0, 200), st.integers(1, 20))
def test_spread(size: int, count: int) -> None:
    tensors = [str(n) for n in range(size)]
    chosen = spread(tensors, count)
    places = [tensors.index(name) for name in chosen]
    assert len(chosen) == min(size, count)
    assert places == sorted(set(places))
    gaps = np.diff([-1, *places, size])
    assert gaps.max() <= math.ceil(size / count) + 1
