"""External weights: what COM-1 says is what onnxruntime does with the same file."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, SparseTensorProto, TensorProto, helper, numpy_helper

from conformance.rules.external import SHAPE_INPUTS, misplaced
from conformance.selftest.facts import GRAPH, judge
from conformance.submission.graph import External, read_graph

FLOAT = TensorProto.FLOAT
N = helper.make_node


def outside(tensor: TensorProto, folder: Path, **entries: str) -> TensorProto:
    """The tensor with its bytes, and some more, in a file."""
    data = tensor.raw_data
    known = {"location": "w.bin", "length": str(len(data)), **entries}
    (folder / "w.bin").write_bytes(data + bytes(64))
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in known.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def model(nodes: list[NodeProto], tensor: TensorProto, opset: int = 18) -> ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.UNDEFINED, None)],
        [tensor] if isinstance(tensor, TensorProto) else [],
        sparse_initializer=[tensor] if isinstance(tensor, SparseTensorProto) else [],
    )
    graph.output[0].ClearField("type")
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def save(made: ModelProto, folder: Path) -> Path:
    path = folder / "m.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def loads(path: Path) -> bool:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception:
        return False
    return True


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def one(value: int) -> np.ndarray:
    return np.array(value, np.int64)


# An operator that takes `c` at the given input, and a value for it with which it runs.
SLOTS = {
    ("CenterCropPad", 1): (ints(2, 2), [N("CenterCropPad", ["x", "c"], ["y"], axes=[2, 3])]),
    ("ConstantOfShape", 0): (ints(2, 2), [N("ConstantOfShape", ["c"], ["y"])]),
    ("Expand", 1): (ints(2, 3, 4, 4), [N("Expand", ["x", "c"], ["y"])]),
    ("OneHot", 1): (
        ints(3),
        [
            N("Cast", ["x"], ["i"], to=TensorProto.INT64),
            N("Constant", [], ["v"], value=numpy_helper.from_array(np.float32([0, 1]))),
            N("OneHot", ["i", "c", "v"], ["y"]),
        ],
    ),
    ("Pad", 1): (ints(0, 0, 1, 1, 0, 0, 1, 1), [N("Pad", ["x", "c"], ["y"])]),
    ("Pad", 3): (
        ints(2),
        [N("Constant", [], ["p"], value_ints=[1, 1]), N("Pad", ["x", "p", "", "c"], ["y"])],
    ),
    ("Range", 0): (one(3), [N("Range", ["c", "c", "c"], ["y"])]),
    ("Reshape", 1): (ints(3, 16), [N("Reshape", ["x", "c"], ["y"])]),
    ("Resize", 2): (np.float32([1, 1, 2, 2]), [N("Resize", ["x", "", "c"], ["y"])]),
    ("Resize", 3): (ints(1, 3, 8, 8), [N("Resize", ["x", "", "", "c"], ["y"])]),
    ("Split", 1): (ints(1, 2), [N("Split", ["x", "c"], ["y", "z"], axis=1)]),
    ("Squeeze", 1): (ints(0), [N("Squeeze", ["x", "c"], ["y"])]),
    ("Tile", 1): (ints(1, 1, 2, 2), [N("Tile", ["x", "c"], ["y"])]),
    ("TopK", 1): (ints(2), [N("TopK", ["x", "c"], ["y", "z"])]),
    ("Unsqueeze", 1): (ints(0), [N("Unsqueeze", ["x", "c"], ["y"])]),
    ("ReduceSum", 1): (ints(1), [N("ReduceSum", ["x", "c"], ["y"])]),
    ("ReduceMean", 1): (ints(1), [N("ReduceMean", ["x", "c"], ["y"])]),
    ("ReduceMax", 1): (ints(1), [N("ReduceMax", ["x", "c"], ["y"])]),
    ("ReduceL2", 1): (ints(1), [N("ReduceL2", ["x", "c"], ["y"])]),
    **{
        ("Slice", i): (
            ints(1),
            [
                N("Constant", [], ["k"], value_ints=[1]),
                N("Slice", ["x", *("c" if i == j else "k" for j in range(1, 5))], ["y"]),
            ],
        )
        for i in range(1, 5)
    },
    # What onnxruntime takes from another file: it is computed with, and no shape.
    ("Gather", 1): (ints(0, 1), [N("Gather", ["x", "c"], ["y"], axis=1)]),
    ("Add", 1): (np.float32([1]), [N("Add", ["x", "c"], ["y"])]),
    ("Clip", 1): (np.array(1, np.float32), [N("Clip", ["x", "c"], ["y"])]),
    ("Pad", 2): (
        np.array(1, np.float32),
        [
            N("Constant", [], ["p"], value_ints=[0, 0, 1, 1, 0, 0, 1, 1]),
            N("Pad", ["x", "p", "c"], ["y"]),
        ],
    ),
    ("CumSum", 1): (one(1), [N("CumSum", ["x", "c"], ["y"])]),
    ("Trilu", 1): (one(1), [N("Trilu", ["x", "c"], ["y"])]),
    ("Concat", 1): (
        ints(16),
        [
            N("Constant", [], ["k"], value_ints=[3]),
            N("Concat", ["k", "c"], ["s"], axis=0),
            N("Reshape", ["x", "s"], ["y"]),
        ],
    ),
    ("Identity", 0): (
        ints(3, 16),
        [N("Identity", ["c"], ["s"]), N("Reshape", ["x", "s"], ["y"])],
    ),
}


@pytest.mark.parametrize(("op", "index"), SLOTS)
def test_shapes_in_another_file_are_what_onnxruntime_refuses(
    op: str, index: int, tmp_path: Path
) -> None:
    array, nodes = SLOTS[op, index]
    inside = save(model(nodes, numpy_helper.from_array(array, "c")), tmp_path)
    assert loads(inside), "the model itself is sound"
    assert not list(misplaced(read_graph(inside)))
    path = save(model(nodes, outside(numpy_helper.from_array(array, "c"), tmp_path)), tmp_path)
    offences = list(misplaced(read_graph(path)))
    assert loads(path) is not bool(offences)
    assert bool(offences) is (index in SHAPE_INPUTS.get(op, {}) or op == "Identity")
    for offence in offences:
        assert "is in another file" in offence.seen
        assert "size_threshold=1024" in offence.remedy


def test_a_constant_node_in_another_file(tmp_path: Path) -> None:
    value = outside(numpy_helper.from_array(ints(3, 16), "far"), tmp_path)
    nodes = [N("Constant", [], ["c"], value=value), N("Reshape", ["x", "c"], ["y"])]
    path = save(model(nodes, None), tmp_path)
    assert not loads(path)
    assert [o.seen for o in misplaced(read_graph(path))] == [
        "tensor 'c', shape of Reshape 'y', is in another file"
    ]


WEIGHT = np.float32([[1], [2], [3], [4]])


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ({}, ""),
        ({"length": "0"}, ""),
        ({"offset": "4"}, ""),
        ({"offset": "04"}, ""),
        ({"offset": "64"}, ""),
        ({"offset": "65"}, "has 80 bytes: cut short"),
        ({"offset": "-4096"}, "has offset '-4096'"),
        ({"offset": "abc"}, "has offset 'abc'"),
        ({"offset": ""}, "has offset ''"),
        ({"offset": " 4"}, "has offset ' 4'"),
        ({"offset": "+4"}, "has offset '+4'"),
        ({"offset": "4.0"}, "has offset '4.0'"),
        ({"offset": "1_0"}, "has offset '1_0'"),
        ({"offset": "\u0664"}, "has offset '\u0664'"),
        ({"offset": "9" * 30}, "has offset '999"),
        ({"length": "12"}, "has length 12 and is of 16 bytes"),
        ({"length": "20"}, "has length 20 and is of 16 bytes"),
        ({"length": "-1"}, "has length '-1'"),
        ({"length": "16.0"}, "has length '16.0'"),
        ({"location": ""}, "is no name"),
        ({"location": "v.bin"}, "is missing"),
        ({"location": "./w.bin"}, ""),
        ({"location": "sub/w.bin"}, "is missing"),
        ({"location": "../w.bin"}, "leads outside the folder"),
        ({"location": "/w.bin"}, "leads outside the folder"),
        ({"location": "w" * 300}, "cannot be a file: "),
    ],
)
def test_entries_are_sound_where_onnxruntime_takes_them(
    entries: dict[str, str], told: str, tmp_path: Path
) -> None:
    weight = outside(numpy_helper.from_array(WEIGHT, "w"), tmp_path, **entries)
    path = save(model([N("MatMul", ["x", "w"], ["y"])], weight), tmp_path)
    graph = read_graph(path)
    seen = [offence.seen for offence in misplaced(graph)]
    assert loads(path) is not bool(told)
    assert len(seen) == bool(told)
    assert all(told in each for each in seen)
    assert judge("COM-1", graph).outcome == ("fail" if told else "pass")


def test_a_place_inside_by_its_whole_path_moves_with_nothing(tmp_path: Path) -> None:
    whole = {"location": str(tmp_path / "w.bin")}
    weight = outside(numpy_helper.from_array(WEIGHT, "w"), tmp_path, **whole)
    path = save(model([N("MatMul", ["x", "w"], ["y"])], weight), tmp_path)
    assert not loads(path)
    assert "leads outside" in judge("COM-1", read_graph(path)).seen


@pytest.mark.parametrize("part", ["values", "indices"])
@pytest.mark.parametrize("missing", [False, True])
def test_sparse_weights(part: str, missing: bool, tmp_path: Path) -> None:
    sparse = SparseTensorProto(
        values=numpy_helper.from_array(np.float32([1, 2]), "w"),
        indices=numpy_helper.from_array(ints(0, 2), "i"),
        dims=[4],
    )
    outside(getattr(sparse, part), tmp_path)
    if missing:
        (tmp_path / "w.bin").unlink()
    path = save(model([N("Add", ["x", "w"], ["y"])], sparse), tmp_path)
    assert loads(path) is not missing
    assert (judge("COM-1", read_graph(path)).outcome == "fail") is missing


@settings(derandomize=True, deadline=None, database=None, max_examples=100)
@given(
    places=st.lists(
        st.tuples(st.integers(-2, 120), st.sampled_from([0, 16, 24]), st.sampled_from("vw")),
        min_size=1,
        max_size=5,
    )
)
def test_every_tensor_is_held_to_its_own_place(
    places: list[tuple[int, int, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Tensors of 16 bytes in a file of 100, or in one that is not there."""
    folder = tmp_path_factory.mktemp("places")
    (folder / "w.bin").write_bytes(bytes(100))
    external = tuple(
        External(str(i), f"{file}.bin", 16, str(offset), str(length))
        for i, (offset, length, file) in enumerate(places)
    )
    seen = [o.seen for o in misplaced(replace(GRAPH, path=folder / "m.onnx", external=external))]
    here = [(i, offset, length) for i, (offset, length, file) in enumerate(places) if file == "w"]
    odd = [i for i, offset, length in here if offset < 0 or length == 24]
    beyond = any(offset > 84 for i, offset, _ in here if i not in odd)
    assert sum("is missing" in each for each in seen) == any(file == "v" for *_, file in places)
    assert sum("cut short" in each for each in seen) == beyond
    named = [each for each in seen if each.startswith("tensor ")]
    assert [each.split("'")[1] for each in named] == list(map(str, odd))
