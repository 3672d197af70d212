"""Channel-last images, and normalisations folded into convolutions: the same function as before."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference.errors import SubmissionError
from reference.npu.fold import find_normalisation, fold_normalisation
from reference.npu.layout import make_channel_last, save_model
from reference.tests.npu_models import FLOAT, INT64, model, net, node

RNG = np.random.default_rng(3)
IMAGE = RNG.random((1, 3, 9, 8), dtype=np.float32)
MEAN = np.array([0.485, 0.456, 0.406], np.float32).reshape(1, 3, 1, 1)
STD = np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1)
KERNEL = RNG.normal(size=(4, 3, 3, 3)).astype(np.float32)
BIAS = RNG.normal(size=4).astype(np.float32)


def run(made: onnx.ModelProto, **feeds: np.ndarray) -> list[np.ndarray]:
    onnx.checker.check_model(made, full_check=True)
    session = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def test_channel_last_ends() -> None:
    made, feed = net(), RNG.random((1, 3, 32, 32), dtype=np.float32)
    (before,) = run(made, x=feed)
    assert make_channel_last(made) == 2
    (image,), (output,) = made.graph.input, made.graph.output
    assert [d.dim_value for d in image.type.tensor_type.shape.dim] == [1, 32, 32, 3]
    assert [d.dim_value for d in output.type.tensor_type.shape.dim] == [1, 32, 32, 8]
    (after,) = run(made, **{image.name: feed.transpose(0, 2, 3, 1)})
    np.testing.assert_array_equal(after, before.transpose(0, 2, 3, 1))


def test_what_is_no_image_stays() -> None:
    """Features, ids and vectors keep their layout; so do maps of a model without an image."""
    values = [("f", FLOAT, (1, 16, 4, 4)), ("i", INT64, (1, 2)), ("e", FLOAT, (1, 4, 4, 3))]
    nodes = [node("Relu", "f", "y"), node("Cast", "i", "z", to=FLOAT), node("Abs", "e", "w")]
    outputs = [("y", FLOAT, (1, 16, 4, 4)), ("z", FLOAT, (1, 2)), ("w", FLOAT, (1, 4, 4, 3))]
    made = model(nodes[:2], values[:2], outputs[:2])
    before = made.SerializeToString()
    assert make_channel_last(made) == 0
    assert made.SerializeToString() == before


def test_names_that_are_taken() -> None:
    nodes = [node("Relu", "x", "x_channel_last"), node("Abs", "x_channel_last", "y")]
    made = model(nodes, [("x", FLOAT, IMAGE.shape)], [("y", FLOAT, IMAGE.shape)])
    make_channel_last(made)
    (after,) = run(made, x_channel_last1=IMAGE.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(after, IMAGE.transpose(0, 2, 3, 1))


def test_the_same_bytes_each_time(tmp_path: Path) -> None:
    """The cache goes by them."""
    files = []
    for name in ("a.onnx", "b.onnx"):
        made = net()
        make_channel_last(made)
        files.append(save_model(made, tmp_path / name).read_bytes())
    assert files[0] == files[1]


def normalised(
    *steps: onnx.NodeProto, bias: bool = True, weights: dict | None = None, **attributes: object
) -> onnx.ModelProto:
    """`steps` from x to n, and a convolution behind them."""
    inputs = "n kernel bias" if bias else "n kernel"
    known = {"mean": MEAN, "std": STD, "kernel": KERNEL, "bias": BIAS, **(weights or {})}
    if not bias:
        del known["bias"]
    nodes = [*steps, node("Conv", inputs, "y", **attributes)]
    return model(nodes, [("x", FLOAT, IMAGE.shape)], [("y", FLOAT, (1, 4, None, None))], known)


USUAL = (node("Sub", "x mean", "s"), node("Div", "s std", "n"))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("attributes", "ones"),
    [
        ({}, False),
        ({"pads": [0, 0, 0, 0]}, False),
        ({"pads": [1, 1, 1, 1]}, True),
        ({"pads": [2, 0, 1, 1], "strides": [2, 2]}, True),
        ({"auto_pad": "SAME_UPPER", "strides": [2, 2]}, True),
        ({"auto_pad": "VALID"}, False),
        ({"pads": [2, 2, 2, 2], "dilations": [2, 2]}, True),
    ],
    ids=str,
)
def test_the_same_answers_at_the_border_too(attributes: dict, ones: bool, bias: bool) -> None:
    made = normalised(*USUAL, bias=bias, **attributes)
    (before,) = run(made, x=IMAGE)
    assert find_normalisation(made) == ("/s/Sub", "/n/Div")
    fold = fold_normalisation(made)
    assert (fold.nodes, fold.convolution, fold.ones) == (("/s/Sub", "/n/Div"), "/y/Conv", ones)
    assert {n.op_type for n in made.graph.node} <= {"Conv", "Concat"}
    (after,) = run(made, x=IMAGE)
    assert after.shape == before.shape
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4)
    assert find_normalisation(made) == ()


def test_padding_with_the_mean_would_be_another_function() -> None:
    """The shortcut, a bias alone, is right inside and wrong at the border."""
    made = normalised(*USUAL, pads=[1, 1, 1, 1])
    (before,) = run(made, x=IMAGE)
    shortcut = normalised(*USUAL)
    fold_normalisation(shortcut)
    shortcut.graph.node[0].attribute.append(onnx.helper.make_attribute("pads", [1, 1, 1, 1]))
    (after,) = run(shortcut, x=IMAGE)
    off = np.abs(after - before)[0].max(axis=0)
    assert off[1:-1, 1:-1].max() < 1e-4
    assert off[0].min() > 1e-2


STEPS = st.tuples(
    st.sampled_from(["Add", "Sub", "Mul", "Div"]),
    st.booleans(),  # whether the image comes first
    st.booleans(),  # whether the constant is one for all channels
    st.integers(0, 2**16),
)


@given(st.lists(STEPS, min_size=1, max_size=4), st.booleans())
def test_any_chain_of_constants(steps: list, pads: bool) -> None:
    nodes, weights, name = [], {}, "x"
    for index, (op, first, scalar, seed) in enumerate(steps):
        first = first or op == "Div"  # a quotient of the image is no line
        shape = () if scalar else (1, 3, 1, 1)
        values = np.random.default_rng(seed).uniform(0.5, 2, shape)
        weights[f"c{index}"] = np.asarray(values, np.float32)
        out = "n" if index == len(steps) - 1 else f"s{index}"
        names = [name, f"c{index}"] if first else [f"c{index}", name]
        nodes.append(node(op, " ".join(names), out))
        name = out
    made = normalised(*nodes, weights=weights, pads=[int(pads)] * 4)
    (before,) = run(made, x=IMAGE)
    assert fold_normalisation(made).nodes == tuple(n.name for n in nodes)
    (after,) = run(made, x=IMAGE)
    np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-3 * np.abs(before).max())


def two_readers() -> onnx.ModelProto:
    made = normalised(*USUAL)
    made.graph.node.append(node("Relu", "n", "r"))
    made.graph.output.append(onnx.helper.make_tensor_value_info("r", FLOAT, IMAGE.shape))
    return made


def an_output_too() -> onnx.ModelProto:
    made = normalised(*USUAL)
    made.graph.output.append(onnx.helper.make_tensor_value_info("n", FLOAT, IMAGE.shape))
    return made


def depthwise() -> onnx.ModelProto:
    kernel = RNG.normal(size=(3, 1, 3, 3)).astype(np.float32)
    return normalised(*USUAL, weights={"kernel": kernel}, bias=False, group=3)


def plain() -> onnx.ModelProto:
    return normalised(node("Relu", "x", "n"))


def an_image_as_constant() -> onnx.ModelProto:
    return normalised(node("Sub", "x mean", "n"), weights={"mean": IMAGE * 0.5})


def a_quotient() -> onnx.ModelProto:
    return normalised(node("Div", "mean x", "n"))


@pytest.mark.parametrize(
    "build",
    [two_readers, an_output_too, depthwise, plain, an_image_as_constant, a_quotient],
    ids=lambda build: build.__name__,
)
def test_what_cannot_be_folded_is_left_alone(build) -> None:
    made = build()
    before = made.SerializeToString()
    assert find_normalisation(made) == ()
    with pytest.raises(SubmissionError, match="no normalisation"):
        fold_normalisation(made)
    assert made.SerializeToString() == before


def test_weights_of_two_readers_stay_for_the_other() -> None:
    """The folded kernel is a new one: another convolution may share the old."""
    made = normalised(*USUAL)
    made.graph.input.append(onnx.helper.make_tensor_value_info("v", FLOAT, IMAGE.shape))
    made.graph.node.append(node("Conv", "v kernel", "w"))
    made.graph.output.append(onnx.helper.make_tensor_value_info("w", FLOAT, (1, 4, 7, 6)))
    before = run(made, x=IMAGE, v=IMAGE)
    fold_normalisation(made)
    for a, b in zip(run(made, x=IMAGE, v=IMAGE), before, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
