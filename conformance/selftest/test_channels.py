"""The walk of the colour channels, against what a runtime makes of the same operators."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from conformance.rulebook import Verdict, failed, passed
from conformance.selftest.facts import graph_of, judge
from conformance.selftest.surgery import Step, after, step
from conformance.submission.channels import arrivals
from conformance.submission.graph import Graph, Value, read_graph
from reference.pidnet.contract import PIDNET

REPEATABLE = settings(derandomize=True, deadline=None, database=None, max_examples=150)
KEPT = passed("RGB to the first weights")


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def permutation(*order: int) -> np.ndarray:
    """A 1x1 kernel that gives channel order[i] to output i, scaled."""
    kernel = np.zeros((3, 3, 1, 1), np.float32)
    kernel[range(3), order, 0, 0] = (2, 3, 0.5)
    return kernel


# Of N, 3, H, W in and out; each keeps the channels apart.
STEPS: dict[str, list[Step]] = {
    "index": [step("Gather", ints(2, 0, 1), axis=1)],
    "flip": [step("Slice", ints(-1), ints(-(2**63)), ints(1), ints(-1))],
    "swap": [step("Gather", ints(2, 1, 0), axis=-3)],
    "kernel": [step("Conv", permutation(1, 2, 0))],
    "depthwise": [step("Conv", np.full((3, 1, 3, 3), 0.2, np.float32), group=3, pads=[1] * 4)],
    "last and back": [
        step("Transpose", perm=[0, 2, 3, 1]),
        step("MatMul", permutation(0, 2, 1)[..., 0, 0]),
        step("Transpose", perm=[0, 3, 1, 2]),
    ],
    "first and back": [
        step("Transpose", perm=[1, 0, 2, 3]),
        step("GatherND", ints(1, 0, 2).reshape(3, 1)),
        step("Transpose", perm=[1, 0, 2, 3]),
    ],
    "flat and back": [
        step("Reshape", ints(3, 80)),
        step("Gather", ints(0, 2, 1)),
        step("Unsqueeze", ints(0)),
        step("Reshape", ints(1, 3, 8, 10)),
    ],
    "without a batch": [
        step("Squeeze", ints(0)),
        step("Slice", ints(2), ints(-4), ints(0), ints(-1)),
        step("Unsqueeze", ints(0)),
    ],
    "scaled": [step("Mul", np.float32([2, 3, 4]).reshape(3, 1, 1)), step("Add", 0.5)],
    "bounded": [step("Relu"), step("Sqrt")],
}


def model_of(names: list[str]) -> onnx.ModelProto:
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Identity", ["image"], ["out"], "out")],
        "steps",
        [info("image", TensorProto.FLOAT, [1, 3, 8, 10])],
        [info("out", TensorProto.FLOAT, [1, 3, 8, 10])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    after("out", *(each for name in names for each in STEPS[name]))(model)
    return model


@REPEATABLE
@given(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=6))
def test_the_walk_agrees_with_a_runtime(names: list[str]) -> None:
    """Which channel of the input moves which of the output is asked of onnx's own evaluator."""
    model = model_of(names)
    evaluator = ReferenceEvaluator(model)
    image = np.random.default_rng(0).uniform(1, 2, (1, 3, 8, 10)).astype(np.float32)
    base = evaluator.run(None, {"image": image})[0]
    order = [-1, -1, -1]
    for channel in range(3):
        moved = image.copy()
        moved[:, channel] += 1
        change = np.abs(evaluator.run(None, {"image": moved})[0] - base).max(axis=(0, 2, 3))
        order[int(np.argmax(change))] = channel
        assert np.count_nonzero(change > 1e-6) == 1
    (found,) = {channels for channels, _ in arrivals(graph_of_model(model), "image")}
    assert (found.axis, found.order) == (1, tuple(order))


def test_channels_of_a_clip() -> None:
    """They come last, are moved ahead of the frames, and a kernel of one pixel turns them round."""
    nodes = [
        helper.make_node("Transpose", ["image"], ["first"], "first", perm=[0, 4, 1, 2, 3]),
        helper.make_node("Conv", ["first", "swap"], ["out"], "swap"),
    ]
    swap = np.eye(3, dtype=np.float32)[::-1].reshape(3, 3, 1, 1, 1)
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("image", (1, 4, 8, 8, 3)), ("out", (1, 3, 4, 8, 8)))
    ]
    weights = [onnx.numpy_helper.from_array(swap, "swap")]
    graph = helper.make_graph(nodes, "clip", ends[:1], ends[1:], weights)
    ((found, taker),) = arrivals(graph_of_model(helper.make_model(graph)), "image", rank=5, axis=4)
    assert taker is None
    assert (found.name, found.by, found.axis) == ("BGR", "Conv 'swap'", 1)


def graph_of_model(model: onnx.ModelProto) -> Graph:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "steps.onnx"
        onnx.save(model, path)
        return read_graph(path)


CONSTANTS = {
    "bgr": (2, 1, 0),
    "rgb": (0, 1, 2),
    "bgg": (2, 1, 1),
    "column": (2, 1, 0),
    "row": (2, 1, 0),
    "none": (-1,),
    "zero": (0,),
    "one": (1,),
    "two": (2,),
    "three": (3,),
    "far": (-(2**63),),
    "r": (0,),
    "g": (1,),
    "b": (2,),
    "swap": (0, 0, 5, 0, 1, 0, 2, 0, 0),
    "mix": (0, 0, 5, 0, 1, 0, 2, 0.1, 0),
    "sizes": (1, 2),
}
SHAPES = {
    "image": (1, 3, 480, 640),
    "column": (3, 1),
    "rgb": (3, 1),
    "bgg": (3, 1),
    "row": (1, 3),
    "swap": (3, 3, 1, 1),
    "mix": (3, 3, 1, 1),
    "r": (),
    "g": (),
    "b": (),
    "ramp": (1, 2, 480, 640),
    "rows": (3, 480, 640),
}
PLANES = "; ".join(f"Gather image,{c} -> p{c} axis=1; Unsqueeze p{c},one -> x{c}" for c in "rgb")
CUTS = (
    "Slice image,zero,one,one -> r1; Slice image,one,two,one -> g1;"
    " Slice image,two,three,one -> b1; "
)
OTHER_ORDERS = {
    "Gather image,bgr -> x axis=1": "Gather 'x' makes it BGR",
    "Gather image,bgr -> x axis=-3": "Gather 'x' makes it BGR",
    "Squeeze image,zero -> rows; Gather rows,bgr -> x": "Gather 'x' makes it BGR",
    "Squeeze image,zero -> rows; GatherND rows,column -> x": "GatherND 'x' makes it BGR",
    "Slice image,none,far,one,none -> x": "Slice 'x' makes it BGR",
    "Split image -> r1,g1,b1 axis=1; Concat b1,g1,r1 -> x axis=1": "Concat 'x' makes it BGR",
    f"{CUTS}Concat b1,g1,r1 -> x axis=1": "Concat 'x' makes it BGR",
    f"{CUTS}Concat g1,b1,r1 -> x axis=1": "Concat 'x' makes it GBR",
    f"{PLANES}; Concat xb,xg,xr -> x axis=1": "Concat 'x' makes it BGR",
    "Gather image,bgr -> x axis=1; Concat x,ramp -> y axis=1": "Gather 'x' makes it BGR",
    "Gather image,bgr -> x axis=1; Relu x -> y; Conv y,w -> z": "Gather 'x' makes it BGR",
    "Conv image,swap -> x": "Conv 'x' makes it BGR",
    "Split image,sizes -> r1,gb axis=1; Split gb -> g1,b1 axis=1; Concat b1,r1,g1 -> x axis=1": (
        "Concat 'x' makes it BRG"
    ),
}
AS_FED = [
    "Gather image,rgb -> x axis=1",
    "Gather image,bgg -> x axis=1",
    "Gather image,bgr -> x axis=2",
    "Gather image,bgr -> x",
    "Gather image,bgr -> y axis=1; Slice y,none,far,one,none -> x",
    "Gather image,bgr -> y axis=1; Conv y,swap -> x",
    f"{PLANES}; Concat xr,xg,xb -> x axis=1",
    "Squeeze image,zero -> rows; GatherND rows,row -> x",
    "Squeeze image,zero -> rows; GatherND rows,bgg -> x",
    "GatherND image,column -> x",
    "Slice image,none,far,zero,none -> x",
    "Slice image,none,far,two,none -> x",
    "Slice image,zero,three,one,two -> x",
    "Slice image,none,far,axis,none -> x",
    "Split image -> r1,g1,b1 axis=1; Concat r1,g1,b1 -> x axis=1",
    "Split image -> r1,gb axis=1; Concat gb,r1 -> x axis=1",
    "Conv image,mix -> x",
    "Conv image,w -> y; Gather y,bgr -> x axis=1",
    "Abs image -> rows; Gather rows,bgr -> x",
]


def judge_channels(text: str) -> Verdict:
    values = {name: Value(name, "float32", shape) for name, shape in SHAPES.items()}
    return judge("IMG-4", replace(graph_of(text, **CONSTANTS), values=values), PIDNET)


@pytest.mark.parametrize("text", OTHER_ORDERS)
def test_another_order_is_told_with_the_node_that_makes_it(text: str) -> None:
    assert judge_channels(text) == failed("RGB, as it is fed", OTHER_ORDERS[text])


@pytest.mark.parametrize("text", AS_FED)
def test_what_comes_as_it_is_fed_or_is_not_followed(text: str) -> None:
    assert judge_channels(text) == KEPT
