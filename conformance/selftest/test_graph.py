"""Reading ONNX files: the facts are right, and no bytes make it stumble."""

import contextlib
from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from conformance.selftest.assess import assess
from conformance.selftest.facts import GRAPH, graph_of
from conformance.selftest.models import conforming
from conformance.submission.graph import Node, Value, megabytes, nbytes, read_graph
from conformance.submission.operators import npu_hazards
from reference.depth.contract import DEPTH_2025
from reference.errors import SubmissionError

pytestmark = pytest.mark.usefixtures("one_process")

REPEATABLE = settings(derandomize=True, deadline=None, database=None)
FLOAT = TensorProto.FLOAT


def save(path: Path, nodes: list, inputs: dict, outputs: dict, weights: list = ()) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, FLOAT, shape) for n, shape in inputs.items()],
        [helper.make_tensor_value_info(n, FLOAT, shape) for n, shape in outputs.items()],
        list(weights),
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def test_facts(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.ones((4, 3), np.float32), "w")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"], "product"),
        helper.make_node("Softmax", ["y"], ["z"], "soft", axis=-1),
    ]
    path = save(tmp_path / "m.onnx", nodes, {"x": ["n", 4]}, {"z": None}, [weight])
    graph = read_graph(path)
    assert (graph.ir_version, graph.opset, graph.file_bytes) == (8, 17, path.stat().st_size)
    assert graph.inputs == (Value("x", "float32", (None, 4)),)
    assert graph.outputs == (Value("z", "float32", (None, 3)),), "inferred where not declared"
    assert graph.value("y") == Value("y", "float32", (None, 3))
    assert [node.label for node in graph.nodes] == ["MatMul 'product'", "Softmax 'soft'"]
    assert graph.nodes[1].attributes == {"axis": -1}
    assert graph.weights == {"w": Value("w", "float32", (4, 3))}
    assert graph.constants["w"] == (1.0,) * 12


def test_shapes_are_inferred_through_constants_and_without_weights(tmp_path: Path) -> None:
    weights = [
        numpy_helper.from_array(np.zeros((64, 64), np.float32), "w"),
        numpy_helper.from_array(np.array([2, 3, 4, 8]), "shape"),
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("Reshape", ["y", "shape"], ["z"]),
    ]
    path = save(tmp_path / "m.onnx", nodes, {"x": [3, 64]}, {"z": None}, weights)
    assert read_graph(path).value("z").shape == (2, 3, 4, 8)


def test_nodes_of_subgraphs_and_functions_are_seen(tmp_path: Path) -> None:
    branch = helper.make_graph(
        [helper.make_node("NonZero", ["x"], ["hidden"])],
        "branch",
        [],
        [helper.make_tensor_value_info("hidden", TensorProto.INT64, None)],
    )
    call = helper.make_node("Twice", ["x"], ["y"], domain="local")
    chosen = helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch)
    function = helper.make_function(
        "local",
        "Twice",
        ["a"],
        ["b"],
        [helper.make_node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 17)],
    )
    graph = helper.make_graph(
        [call, chosen],
        "g",
        [
            helper.make_tensor_value_info("x", FLOAT, [2]),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("y", FLOAT, [2])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    model = helper.make_model(graph, opset_imports=opsets, functions=[function], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")
    read = read_graph(tmp_path / "m.onnx")
    assert [node.op for node in read.nodes] == ["Add", "If", "NonZero", "NonZero"]
    assert all(node.domain == "" for node in read.nodes)
    assert {hazard.node.op for hazard in npu_hazards(read)} == {"NonZero"}


@settings(REPEATABLE, max_examples=200)
@given(
    st.lists(st.tuples(st.lists(st.integers(0, 12), max_size=3), st.integers(0, 12)), max_size=15)
)
def test_indexes_are_what_a_search_of_all_nodes_finds(
    made: list[tuple[list[int], int]],
) -> None:
    """Of any nodes at all: out of order, with names written twice, and in circles."""
    nodes = tuple(
        Node(str(i), "Op", "", tuple(map(str, reads)), (str(writes),))
        for i, (reads, writes) in enumerate(made)
    )
    graph = replace(GRAPH, nodes=nodes)
    for name in map(str, range(13)):
        assert list(graph.consumers(name)) == [n for n in nodes if name in n.inputs]
        assert graph.producer(name) == next((n for n in nodes if name in n.outputs), None)
        reached, fresh = {name}, True
        while fresh:
            fresh = {n.outputs[0] for n in nodes if reached & {*n.inputs}} - reached
            reached |= fresh
        found = list(graph.reached(name, lambda node, at: True))
        assert sorted(found, key=nodes.index) == [n for n in nodes if reached & {*n.inputs}]
    assert graph.used() == {name for n in nodes for name in n.inputs} | {"depth"}


def test_a_walk_goes_on_where_the_tensor_at_hand_says_so() -> None:
    graph = graph_of("Gather x,ids -> a; Gather ids,x -> b; Cast b -> c; Cast a -> d")
    found = graph.reached("ids", lambda node, at: node.inputs[0] == at)
    assert {node.name for node in found} == {"a", "b", "c"}


def test_long_graphs_are_walked_once() -> None:
    """As many steps as nodes and edges: each is looked at once, however far the weights are."""
    steps = "; ".join(f"Add x{i},x{max(i - 1, 0)} -> x{i + 1}" for i in range(20_000))
    asked = 0

    def through(node: Node, at: str) -> bool:
        nonlocal asked
        asked += 1
        return True

    graph = graph_of(steps)
    assert sum(1 for _ in graph.reached("x0", through)) == 20_000
    assert asked <= 40_000


def test_nodes_have_what_their_operator_must_have(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x"], []),
        helper.make_node("Softmax", ["x"], ["y"], axis="last"),
        helper.make_node("Transpose", ["x"], ["z"], perm=1.5),
        helper.make_node("Cast", [], ["c"], to=[1]),
        helper.make_node("Gather", ["x", "x"], ["g"], axis=1),
        helper.make_node("Own", [], [], domain="own", axis="last"),
        helper.make_node("FusedThing", ["x"], [], axis="last"),
    ]
    read = read_graph(save(tmp_path / "m.onnx", nodes, {"x": [2, 2]}, {"y": None})).nodes
    assert [(n.inputs, n.outputs, n.attributes) for n in read] == [
        (("x", ""), ("",), {}),
        (("x",), ("y",), {}),
        (("x",), ("z",), {}),
        (("",), ("c",), {}),
        (("x", "x"), ("g",), {"axis": 1}),
        ((), (), {"axis": "last"}),
        (("x",), (), {"axis": "last"}),
    ]


@pytest.mark.parametrize(
    "dtype",
    ["float32", "float16", "float64", "int8", "uint8", "int32", "int64", "bool", "bfloat16"],
)
def test_bytes_are_those_of_numpy(dtype: str) -> None:
    array = np.zeros((3, 5), ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    assert nbytes(Value("w", dtype, array.shape)) == array.nbytes


def test_packed_types_take_half_a_byte() -> None:
    assert nbytes(Value("w", "int4", (3, 5))) == 8
    assert nbytes(Value("w", "uint4", (4,))) == 2


@pytest.mark.parametrize(
    ("op", "shapes", "attributes", "hazard"),
    [
        ("Einsum", [(1, 2, 3), (1, 3, 4, 4)], {"equation": "bqc,bchw->bqhw"}, True),
        ("Einsum", [(1, 2, 3, 4), (1, 2, 5, 4)], {"equation": "bhqd,bhkd->bhqk"}, False),
        ("Einsum", [(2, 3), (4, 3)], {"equation": "nc,mc->nm"}, False),
        ("Mul", [(1, 1, 2, 2, 2, 2), (1,)], {}, True),
        ("Mul", [(1, 1, 2, 2, 2), (1,)], {}, False),
        ("GridSample", [(1, 1, 4, 4), (1, 2, 2, 2)], {"mode": "bilinear"}, False),
    ],
)
def test_hazards_are_those_measured(
    op: str, shapes: list, attributes: dict, hazard: bool, tmp_path: Path
) -> None:
    inputs = {f"x{i}": shape for i, shape in enumerate(shapes)}
    node = helper.make_node(op, list(inputs), ["y"], **attributes)
    graph = read_graph(save(tmp_path / "m.onnx", [node], inputs, {"y": None}))
    assert bool(npu_hazards(graph)) is hazard


@settings(REPEATABLE, max_examples=150)
@given(data=st.data())
def test_damaged_files_are_read_or_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever bytes change, the answer is a graph or a SubmissionError, nothing else."""
    good = conforming("depth").SerializeToString()
    damaged = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4), label="changes")):
        damaged[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(good)), label="length")
    path = tmp_path_factory.mktemp("damaged") / "m.onnx"
    path.write_bytes(bytes(damaged[: max(cut, len(good) - 40)]))
    with contextlib.suppress(SubmissionError):
        graph = read_graph(path)
        assert len(npu_hazards(graph)) <= len(graph.nodes)


@settings(REPEATABLE, max_examples=25)
@given(data=st.data())
def test_damaged_files_are_judged_or_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The whole way: a verdict for each rule, or one line."""
    good = conforming("depth").SerializeToString()
    damaged = bytearray(good)
    damaged[data.draw(st.integers(0, len(good) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "m.onnx").write_bytes(damaged)
    with contextlib.suppress(SubmissionError):
        verdicts = assess(DEPTH_2025, [str(folder / "m.onnx")], folder / "work")
        assert {verdict.outcome for verdict in verdicts.values()} <= {"pass", "fail", "skip"}


def test_sizes_of_files_are_in_the_unit_that_suits_them() -> None:
    assert [megabytes(size) for size in (0, 99_949, 100_000, 98_760_000)] == [
        "0.0 kB",
        "99.9 kB",
        "0.1 MB",
        "98.8 MB",
    ]


def test_what_is_not_stated_is_zero_and_two_of_four_bits_are_a_byte() -> None:
    assert replace(GRAPH, opsets={"own": 3}).opset == 0
    for dtype in ("int4", "uint4"):
        assert [nbytes(Value("x", dtype, (n,))) for n in (1, 2, 3, 8)] == [1, 1, 2, 4]
