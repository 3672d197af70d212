"""Which operators compute in integers, in every form that quantised graphs have."""

import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper

from conformance.submission.graph import read_graph
from conformance.submission.quantised import Operators, operators
from reference.cache import Cache
from reference.npu.compile import compile_model
from reference.npu.devices import find_device
from reference.npu.quantize import quantize
from reference.process import Limits
from reference.tests import npu_models as models
from reference.tests.npu_models import FLOAT, KERNEL, PHOTO, PICTURE, needs_compiler, node

WIDE = (1, 8, 32, 32)
SCALES = {
    "s": np.float32(0.02),
    "z": np.uint8(128),
    "sk": np.full(8, 0.01, np.float32),
    "zk": np.zeros(8, np.int8),
    "k8": np.round(KERNEL * 100).astype(np.int8),
    "bias": np.zeros(8, np.float32),
    "two": np.float32(2),
}


def of(*nodes: onnx.NodeProto, output: str = "y") -> Operators:
    """The operators of nodes from `x`, a picture, to `output`."""
    made = models.model(nodes, [("x", FLOAT, PICTURE)], [(output, FLOAT, None)], SCALES)
    return operators(written(made))


def written(model: ModelProto):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        onnx.save(model, path)
        return read_graph(path)


def q(source: str, made: str) -> list[onnx.NodeProto]:
    """Quantised and dequantised again."""
    return [
        node("QuantizeLinear", f"{source} s z", f"{made}_q"),
        node("DequantizeLinear", f"{made}_q s z", made),
    ]


def kernel() -> onnx.NodeProto:
    return node("DequantizeLinear", "k8 sk zk", "kd", axis=0)


def names(found: Operators) -> tuple[list[str], list[str], list[str]]:
    kinds = (found.quantised, found.floating, found.moving)
    return tuple([each.op for each in kind] for kind in kinds)  # type: ignore[return-value]


def test_a_chain_of_which_three_are_quantised() -> None:
    nodes = [*q("x", "t0"), node("Abs", "t0", "a"), *q("a", "t1"), node("Neg", "t1", "b")]
    nodes += [*q("b", "t2"), node("Tanh", "t2", "c"), *q("c", "f0")]
    nodes += [node("Relu", f"f{n}", f"f{n + 1}") for n in range(13)]
    nodes.append(node("Sigmoid", "f13", "y"))
    found = of(*nodes)
    assert found.label == "3 of 17 operators are quantised"
    assert [each.op for each in found.quantised] == ["Abs", "Neg", "Tanh"]
    assert found.floating[0].label == "Relu '/f1/Relu'"


def test_convolutions_with_their_activation() -> None:
    conv = models.conv("xd kd")
    assert names(of(*q("x", "xd"), kernel(), conv, *q("c", "y"))) == (["Conv"], [], [])
    active = node("Relu", "c", "r")
    assert names(of(*q("x", "xd"), kernel(), conv, active, *q("r", "y")))[0] == ["Conv", "Relu"]
    assert names(of(*q("x", "xd"), kernel(), conv, active, output="r"))[1] == ["Conv", "Relu"]


def test_weights_alone_do_not_quantise_an_operator() -> None:
    assert names(of(kernel(), models.conv("x kd"), output="c")) == ([], ["Conv"], [])
    assert names(of(kernel(), models.conv("x kd"), *q("c", "y"))) == ([], ["Conv"], [])


def test_a_float_constant_does_not_belong_to_a_quantised_operator() -> None:
    assert names(of(*q("x", "t"), node("Mul", "t two", "m"), *q("m", "y"))) == ([], ["Mul"], [])


def test_a_tensor_that_a_float_operator_reads_too() -> None:
    nodes = [*q("x", "t"), node("Abs", "t", "a"), *q("a", "b"), node("Add", "a b", "y")]
    assert names(of(*nodes)) == ([], ["Abs", "Add"], [])


def test_integers_that_are_moved_and_arithmetic_on_shapes() -> None:
    nodes = [
        node("QuantizeLinear", "x s z", "i"),
        node("Transpose", "i", "j", perm=[0, 2, 3, 1]),
        node("DequantizeLinear", "j s z", "t"),
        node("Shape", "t", "size"),
        node("Concat", "size", "sizes", axis=0),
        node("Reshape", "t sizes", "y"),
    ]
    assert names(of(*nodes)) == (["Transpose"], [], ["Reshape"])


def test_operators_of_the_other_form() -> None:
    nodes = [
        node("QuantizeLinear", "x s z", "i"),
        node("QLinearConv", "i s z k8 sk zk s z", "j", pads=[1, 1, 1, 1]),
        helper.make_node(
            "QLinearAdd", ["j", "s", "z", "j", "s", "z", "s", "z"], ["k"], domain="com.microsoft"
        ),
        node("DequantizeLinear", "k s z", "d"),
        node("Sigmoid", "d", "y"),
    ]
    made = models.model(nodes, [("x", FLOAT, PICTURE)], [("y", FLOAT, WIDE)], SCALES)
    made.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    found = operators(written(made))
    assert names(found) == (["QLinearConv", "QLinearAdd"], ["Sigmoid"], [])
    assert found.label == "2 of 3 operators are quantised"


def test_a_float_model() -> None:
    found = operators(written(models.net()))
    assert (len(found.quantised), len(found.floating)) == (0, 6)


def test_a_long_chain_of_activations() -> None:
    """No recursion: a graph may be as deep as it likes."""
    nodes = [*q("x", "t0"), *(node("Relu", f"t{n}", f"t{n + 1}") for n in range(3000))]
    assert len(of(*nodes, *q("t3000", "y")).quantised) == 3000


@needs_compiler
@pytest.mark.parametrize("build", [models.net, models.elementwise])
def test_what_computes_in_float_leaves_a_chip_without_float16(build, tmp_path: Path) -> None:
    """As the compiler says of what the tool makes: it leaves an operator on an input as it is."""
    path, made = models.save(build, tmp_path), tmp_path / "quantised.onnx"
    x = PHOTO if build is models.net else PHOTO.reshape(-1)[:8].reshape(1, 8)
    quantize(path, made, ({"x": x} for _ in range(2)), "w8a8", limits=Limits(timeout=120))
    found = operators(read_graph(made))
    chip = find_device("QCS6490 (Proxy)")
    compiled = compile_model(made, chip, cache=Cache(tmp_path / "cache"))
    left = [each.name for each in compiled.placement.cpu]
    assert [each.name for each in found.floating] == left
    assert left == ([] if build is models.net else ["/r/Relu"])
    assert found.quantised
