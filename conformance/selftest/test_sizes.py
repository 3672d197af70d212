"""Open and fixed sizes: what the graph fixes, whatever the file declares."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from conformance.selftest.facts import DEPTH, GRAPH, IMAGE, judge
from conformance.submission.fold import infer_shapes
from conformance.submission.graph import Node, Value, read_graph

FLOAT = TensorProto.FLOAT
N = helper.make_node


def exported(nodes: list, size: list, declared: list | None, path: Path, kind: int = FLOAT) -> Path:
    """As exporters write it: sizes are arithmetic on the shape of the input."""
    numbers = {"zero": 0, "two": 2, "three": 3, "seven": 7, "sixteen": 16}
    lists = {"at0": [0], "from2": [2], "end": [9], "bc": [1, 3]}
    weights = [numpy_helper.from_array(np.array(v), k) for k, v in {**numbers, **lists}.items()]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, size)],
        [helper.make_tensor_value_info("y", kind, declared)],
        weights,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(made.SerializeToString())
    return path


HEIGHT = [N("Shape", ["x"], ["s"]), N("Gather", ["s", "two"], ["h"])]
ARITHMETIC = {
    "nothing": [N("Identity", ["h"], ["n"])],
    "division": [N("Div", ["h", "sixteen"], ["d"]), N("Mul", ["d", "sixteen"], ["n"])],
    "rounding up": [
        N("Cast", ["h"], ["f"], to=FLOAT),
        N("Constant", [], ["k"], value_float=16.0),
        N("Div", ["f", "k"], ["q"]),
        N("Ceil", ["q"], ["r"]),
        N("Mul", ["r", "k"], ["m"]),
        N("Cast", ["m"], ["n"], to=TensorProto.INT64),
    ],
    "a condition": [
        N("Greater", ["h", "seven"], ["c"]),
        N("Where", ["c", "h", "seven"], ["n"]),
    ],
    "the remainder": [
        N("Mod", ["h", "sixteen"], ["m"]),
        N("Sub", ["h", "m"], ["n"]),
    ],
}
RESIZE = [
    N("Unsqueeze", ["n", "at0"], ["u"]),
    N("Concat", ["bc", "u", "u"], ["sizes"], axis=0),
    N("Resize", ["x", "", "", "sizes"], ["y"], mode="nearest"),
]


@pytest.mark.parametrize("name", ARITHMETIC)
@pytest.mark.parametrize("declared", [None, ["b", 3, "Divy_dim_0", "Divy_dim_1"]])
def test_arithmetic_on_fixed_sizes_is_fixed(
    name: str, declared: list | None, tmp_path: Path
) -> None:
    nodes = [*HEIGHT, *ARITHMETIC[name], *RESIZE]
    graph = read_graph(exported(nodes, [1, 3, 64, 64], declared, tmp_path / "m.onnx"))
    assert graph.outputs == (Value("y", "float32", (1, 3, 64, 64)),)
    assert graph.declared[0].shape == (None if declared is None else (None, 3, None, None))
    verdict = judge("COM-2", graph)
    assert verdict.outcome == "pass"
    shown = "unknown" if declared is None else "?x3x?x?"
    assert verdict.seen == (
        f"2 tensors, all fixed; y is declared {shown}, the graph gives it 1x3x64x64"
    )
    open_input = read_graph(exported(nodes, [1, 3, "h", 64], declared, tmp_path / "m.onnx"))
    verdict = judge("COM-2", open_input)
    assert verdict.outcome == "fail"
    assert "x float32 1x3x?x64" in verdict.seen
    assert "dynamic_axes" in verdict.remedy


def test_one_size_may_hang_on_another(tmp_path: Path) -> None:
    """A Resize to a half, then one to a half of that: the second is known after the first."""
    nodes = []
    for i, source in enumerate("xab"):
        made = "aby"[i]
        nodes += [
            N("Shape", [source], [f"s{i}"]),
            N("Slice", [f"s{i}", "from2", "end"], [f"hw{i}"]),
            N("Div", [f"hw{i}", "two"], [f"half{i}"]),
            N("Concat", ["bc", f"half{i}"], [f"to{i}"], axis=0),
            N("Resize", [source, "", "", f"to{i}"], [made], mode="nearest"),
        ]
    graph = read_graph(exported(nodes, [1, 3, 64, 48], None, tmp_path / "m.onnx"))
    assert graph.outputs[0].shape == (1, 3, 8, 6)


def test_what_hangs_on_the_data_stays_open_and_is_named(tmp_path: Path) -> None:
    nodes = [N("Relu", ["x"], ["r"]), N("NonZero", ["r"], ["y"], "where")]
    path = exported(nodes, [1, 4], ["a", "b"], tmp_path / "m.onnx", TensorProto.INT64)
    verdict = judge("COM-2", read_graph(path))
    assert verdict.outcome == "fail"
    assert verdict.seen == "y int64 2x?, open from NonZero 'where' on"
    assert verdict.remedy == (
        "the inputs are fixed: give the result of NonZero a fixed size inside forward()"
    )


def test_declared_sizes_stay_where_they_say_more(tmp_path: Path) -> None:
    nodes = [N("Custom", ["x"], ["y"], domain="own")]
    graph = read_graph(exported(nodes, [1, 4], [1, 7], tmp_path / "m.onnx"))
    assert graph.outputs[0].shape == (1, 7)
    other = read_graph(exported([N("Relu", ["x"], ["y"])], [1, 4], [1, 7], tmp_path / "m.onnx"))
    assert other.outputs[0].shape == (1, 7), "COM-9 is about what comes out"


def test_every_open_tensor_is_named() -> None:
    loose = replace(IMAGE, shape=(1, 3, None, 640)), Value("mask", "float32", None)
    verdict = judge("COM-2", replace(GRAPH, inputs=loose, outputs=(DEPTH,)))
    assert verdict.seen == "image float32 1x3x?x640; mask float32 unknown"
    outputs = tuple(Value(k[:3], "unknown", None, k) for k in ("sequence", "optional", "map"))
    verdict = judge("COM-2", replace(GRAPH, outputs=(*outputs, DEPTH)))
    assert verdict.seen == (
        "seq, of type sequence and not a tensor; opt, of type optional and not a tensor;"
        " map, of type map and not a tensor"
    )
    assert verdict.remedy == (
        "take and return the tensor itself: no list, tuple, dict or None in forward()"
    )


def test_an_output_that_nothing_computes_has_no_operator_to_name() -> None:
    lost = replace(GRAPH, nodes=(), outputs=(replace(DEPTH, shape=None),))
    assert judge("COM-2", lost).remedy == "declare the sizes that it has, all of them fixed"
    node = Node("net", "Conv", "", ("image",), ("inner",))
    assert "open from Conv 'net' on" in judge("COM-2", replace(lost, nodes=(node,))).seen


@pytest.mark.parametrize("op", ["ConstantOfShape", "Expand", "Range", "Tile"])
def test_no_large_tensor_is_folded(op: str) -> None:
    """A gigabyte in a line of arithmetic stays arithmetic."""
    huge = numpy_helper.from_array(np.array([2**28]), "huge")
    one = numpy_helper.from_array(np.array(1), "one")
    nodes = {
        "ConstantOfShape": N(op, ["huge"], ["z"]),
        "Expand": N(op, ["one", "huge"], ["z"]),
        "Range": N(op, ["one", "one", "one"], ["z"]),
        "Tile": N(op, ["huge", "huge"], ["z"]),
    }
    graph = helper.make_graph(
        [nodes[op], N("NonZero", ["z"], ["y"])],
        "g",
        [],
        [helper.make_tensor_value_info("y", TensorProto.INT64, None)],
        [huge, one],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    infer_shapes(made)
    assert [node.op_type for node in made.graph.node] == [op, "NonZero"]
