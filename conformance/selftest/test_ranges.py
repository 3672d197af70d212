"""The range of every tensor, as onnxruntime's outputs have it, and what float16 does not hold."""

import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, helper

from conformance.runtimes.range_child import RangeChild
from conformance.runtimes.ranges import (
    HIGHEST,
    LOWEST,
    Range,
    Ranges,
    find_offences,
    measure_ranges,
)
from conformance.selftest.models import conforming
from conformance.selftest.surgery import loop, only_if, step
from conformance.submission.graph import read_graph
from conformance.submission.order import in_order
from reference.depth.contract import DEPTH_2025
from reference.errors import SubmissionError
from reference.process import Limits
from reference.retrieval.contract import RETRIEVAL_2026
from reference.tests import npu_models
from reference.tests.npu_models import FLOAT, INT64, node
from reference.tracks import Track

ROW = (1, 8)
X = np.linspace(-1, 2, 8, dtype=np.float32).reshape(ROW)


def row(*nodes: onnx.NodeProto, inputs: tuple = (), **weights: object) -> ModelProto:
    """Nodes from `x` to `y`, rows of eight."""
    arrays = {
        name: np.asarray(w, np.float32) if isinstance(w, float) else np.asarray(w)
        for name, w in weights.items()
    }
    values = [("x", FLOAT, ROW), *inputs]
    return npu_models.model(nodes, values, [("y", FLOAT, None)], arrays)


def offences(model: ModelProto, feeds: dict[str, np.ndarray] | None = None) -> list[str]:
    """The nodes at fault, seen in this process: a child takes longer to start than to look."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        onnx.save(model, path)
        inputs = {}
        for name, array in (feeds or {"x": X}).items():
            inputs[name] = str(Path(folder, f"{name}.npy"))
            np.save(inputs[name], array)
        answer = RangeChild().measure(str(path), inputs)
        tensors, weights = (
            tuple(Range(**each) for each in answer[kind]) for kind in ("tensors", "weights")
        )
        found = find_offences(read_graph(path), Ranges(tensors, weights))
        return [each.node for each, _ in found]


def chain(*steps: tuple[str, float]) -> ModelProto:
    """Arithmetic with constants, one after the other, `y` last."""
    nodes, weights, tensor = [], {}, "x"
    for index, (op, value) in enumerate(steps):
        name = "y" if index == len(steps) - 1 else f"t{index}"
        nodes.append(node(op, f"{tensor} w{index}", name))
        weights[f"w{index}"] = value
        tensor = name
    return row(*nodes, **weights)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (chain(("Mul", 1e-9)), ["Mul '/y/Mul'"]),
        (chain(("Add", 1.0), ("Mul", 3e-9), ("Mul", 1e4)), ["Mul '/t1/Mul'"]),
        (chain(("Add", 1e5), ("Sub", 1e5)), ["Add '/t0/Add'", "Sub '/y/Sub', its weight 'w1',"]),
        (chain(("Sub", 1e5), ("Add", 1e5)), ["Sub '/t0/Sub'", "Add '/y/Add', its weight 'w1',"]),
        (chain(("Mul", -4e4), ("Mul", 0.1)), ["Mul '/t0/Mul'"]),
        (chain(("Mul", 2e4), ("Mul", 2.0), ("Mul", 3.0)), ["Mul '/t1/Mul'"]),
        (chain(("Mul", 1e5), ("Mul", 1e5)), ["Mul '/t0/Mul'"]),
        (chain(("Mul", 1.0), ("Mul", 100.0)), []),
        (chain(("Mul", 0.0), ("Add", 0.0)), []),
    ],
    ids=["1e-9", "and back", "sum", "below", "negative", "product", "root", "within", "zeros"],
)
def test_the_first_nodes_are_named(model: ModelProto, expected: list[str]) -> None:
    assert offences(model) == expected


MASKS = (-np.inf, float(np.finfo(np.float32).min), -1e9, -1e5)


def masked(value: float, how: str) -> ModelProto:
    """Attention scores `x` with a mask, as exporters write it."""
    soft = node("Softmax", "masked", "y", axis=-1)
    hidden = np.where(np.arange(8) < 5, 0, value).astype(np.float32).reshape(ROW)
    match how:
        case "added":
            return row(node("Add", "x mask", "masked"), soft, mask=hidden)
        case "chosen":
            chosen = node("Where", "seen x low", "masked")
            return row(chosen, soft, seen=np.arange(8).reshape(ROW) < 5, low=value)
        case "computed":  # 1 for what is seen, as Hugging Face's models take it
            nodes = [
                node("Sub", "one seen", "hidden"),
                node("Mul", "hidden low", "mask"),
                node("Unsqueeze", "mask axis", "wide"),
                node("Squeeze", "wide axis", "narrow"),
                node("Add", "x narrow", "masked"),
            ]
            values = {"one": 1.0, "low": value, "axis": np.array([0])}
            return row(*nodes, soft, inputs=(("seen", FLOAT, ROW),), **values)
    raise ValueError(how)


@pytest.mark.parametrize("value", MASKS)
@pytest.mark.parametrize("how", ["added", "chosen", "computed"])
def test_a_mask_of_attention_is_no_offence(value: float, how: str) -> None:
    """Measured: a Softmax over -65504 and over -inf is the same on the emulated NPU."""
    for seen in (np.ones(ROW, np.float32), (np.arange(8) < 5).astype(np.float32).reshape(ROW)):
        if how == "computed" and np.isinf(value):
            continue  # 0 times -inf is no number, on the host too
        feeds = {"x": X, "seen": seen} if how == "computed" else {"x": X}
        assert offences(masked(value, how), feeds) == []


def test_a_mask_that_ends_elsewhere_is_one() -> None:
    """Returned, squared or brought back, -65504 is another number."""
    returned = row(node("Where", "seen x low", "y"), seen=X > 0, low=-1e9)
    assert offences(returned) == ["Where '/y/Where'"]
    brought_back = row(
        node("Where", "seen x low", "m"), node("Mul", "m f", "y"), seen=X > 0, low=-1e9, f=1e-9
    )
    assert offences(brought_back) == ["Where '/m/Where'"]


def test_what_is_quantised_has_no_float16(tmp_path: Path) -> None:
    """Between the integers a large scale is a number of the host alone."""
    model = npu_models.quantised()
    for tensor in model.graph.initializer:
        if tensor.name in ("sx", "sy"):
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.float32(3000), tensor.name))
    onnx.save(model, tmp_path / "model.onnx")
    feeds = {"x": npu_models.PHOTO * np.float32(1e6)}
    ranges = measure_ranges(tmp_path / "model.onnx", [feeds])
    assert any(each.overflows for each in ranges.tensors)
    assert find_offences(read_graph(tmp_path / "model.onnx"), ranges) == []


def test_shapes_are_not_data() -> None:
    """A float that says how large a picture is, and a constant that nothing reads."""
    nodes = [
        node("Shape", "x", "size"),
        node("Cast", "size", "float", to=FLOAT),
        node("Mul", "float large", "product"),
        node("Mul", "product small", "scale"),
        node("ReduceMax", "scale", "one", keepdims=0),
        node("Mul", "x one", "y"),
    ]
    model = row(*nodes, large=1e4, small=1e-4, unread=1e9)
    assert offences(model) == []


def test_nodes_in_any_order() -> None:
    """As quantising tools leave them."""
    model = chain(("Add", 1e5), ("Sub", 1.0), ("Mul", 0.5), ("Mul", 0.1))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))
    assert offences(model) == ["Add '/t0/Add'"]


@given(st.permutations(range(8)), st.lists(st.integers(0, 7), min_size=8, max_size=8))
def test_order_puts_what_is_read_first(places: list[int], sources: list[int]) -> None:
    """Each node reads an earlier one; whatever the order of the file, that one comes first."""
    nodes = [(n, min(source, n - 1)) for n, source in zip(range(1, 9), sources, strict=True)]
    shuffled = [nodes[place] for place in places]
    found = in_order(shuffled, lambda n: [str(n[1])], lambda n: [str(n[0])])
    assert sorted(found) == nodes
    seen = {"0"}
    for made, read in found:
        assert str(read) in seen
        seen.add(str(made))
    assert in_order(nodes, lambda n: [str(n[1])], lambda n: [str(n[0])]) == nodes


def test_inside_branches_nothing_is_seen() -> None:
    """A node inside If or Loop is part of that node, which is seen."""
    model = conforming("depth")
    high = [step("ReduceMax", keepdims=0), step("Greater", -1e3)]
    only_if("centred", "image", high, step("Mul", 1e4), step("Mul", 1e4))(model)
    loop("image", 3, step("Mul", 60.0))(model)
    found = offences(model, {"image": np.full((1, 3, 480, 640), 255, np.float32)})
    assert found[0].startswith("Loop ")
    assert not any("then" in name or "image_loop_step" in name for name in found)


def exposed(model: ModelProto) -> ModelProto:
    """All float tensors of the main graph, as outputs."""
    inferred = onnx.shape_inference.infer_shapes(model)
    floats = [v for v in inferred.graph.value_info if v.type.tensor_type.elem_type == FLOAT]
    model.graph.output.extend(floats)
    return model


@pytest.mark.parametrize(("track", "part"), [(DEPTH_2025, "model"), (RETRIEVAL_2026, "text")])
def test_as_onnxruntime_has_them(track: Track, part: str, tmp_path: Path) -> None:
    """Against one session with every tensor as an output."""
    own = track.part(part)
    model = conforming(track, part)
    rng = np.random.default_rng(0)
    tensor = own.inputs[0]
    shape = tuple(size or 1 for size in tensor.shape)
    feeds = {str(tensor.name): rng.integers(0, 255, shape).astype(tensor.dtypes[0])}
    onnx.save(model, tmp_path / "model.onnx")
    ranges = measure_ranges(tmp_path / "model.onnx", [feeds])
    session = onnxruntime.InferenceSession(
        exposed(model).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    values = dict(zip(names, session.run(names, feeds), strict=True))
    assert ranges.unseen == 0
    assert {each.tensor for each in ranges.tensors} <= values.keys()
    assert len(ranges.tensors) >= 8
    for each in ranges.tensors:
        expected = (values[each.tensor].min(), values[each.tensor].max())
        assert (each.low, each.high) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_passes_are_joined_and_weights_beside_the_file_read(tmp_path: Path) -> None:
    model = chain(("Mul", 2.0), ("Add", 1e6))
    onnx.save(
        model, tmp_path / "m.onnx", save_as_external_data=True, location="w", size_threshold=0
    )
    ranges = measure_ranges(tmp_path / "m.onnx", [{"x": X}, {"x": X * np.float32(10)}])
    assert (ranges.tensors[0].low, ranges.tensors[0].high) == (-20, 40)
    assert {each.tensor: each.high for each in ranges.weights} == {"w0": 2, "w1": 1e6}


def test_sequences_are_left_out(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("SequenceConstruct", ["x"], ["sequence"]),
        helper.make_node("SequenceAt", ["sequence", "first"], ["taken"]),
        node("Mul", "x large", "far"),
        node("Add", "taken far", "y"),
    ]
    onnx.save(row(*nodes, first=np.int64(0), large=1e6), tmp_path / "model.onnx")
    ranges = measure_ranges(tmp_path / "model.onnx", [{"x": X}])
    assert [each.tensor for each in ranges.tensors] == ["far"]
    assert ranges.unseen == 3


def test_a_model_that_dies_is_one_line(tmp_path: Path) -> None:
    model = row(node("Gather", "x places", "y", axis=1), inputs=(("places", INT64, (1,)),))
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(
        SubmissionError, match=r"^the ranges in model.onnx cannot be seen: .*Gather"
    ):
        measure_ranges(tmp_path / "model.onnx", [{"x": X, "places": np.array([99])}])


def test_memory_is_that_of_the_largest_tensors(tmp_path: Path) -> None:
    """Sixty tensors of 16 MB each do not fit the limit together, and need not."""
    nodes = [node("Add", f"t{n} one", f"t{n + 1}") for n in range(60)]
    size = (1, 4, 1024, 1024)
    model = npu_models.model(
        nodes, [("t0", FLOAT, size)], [("t60", FLOAT, size)], {"one": np.float32(1)}
    )
    onnx.save(model, tmp_path / "model.onnx")
    feeds = {"t0": np.zeros(size, np.float32)}
    ranges = measure_ranges(tmp_path / "model.onnx", [feeds], Limits(60, 500 * 2**20))
    assert [each.high for each in ranges.tensors] == list(range(1, 61))


@settings(max_examples=200)
@given(st.floats(width=32, allow_nan=False), st.floats(width=32, allow_nan=False))
def test_what_a_range_says_is_what_float16_does(a: float, b: float) -> None:
    values = np.array([a, b], np.float32)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    own = Range(
        "n", "t", low, high, bool((values == -np.inf).any()), bool((values == np.inf).any())
    )
    assert own.overflows == bool((np.abs(values) > HIGHEST).any())
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if own.vanishes:
        assert np.abs(half).max() <= np.float16(2**-24)
    elif not own.overflows:
        assert np.abs(values).max() == 0 or np.abs(values).max() >= LOWEST
