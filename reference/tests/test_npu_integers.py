"""Which quantised graphs have an estimate, and what is said of the others."""

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from reference.npu.integers import find_uncovered, is_quantised
from reference.tests import npu_models as models
from reference.tests.npu_models import FLOAT, PICTURE, conv, model, node


def weights_alone() -> onnx.ModelProto:
    """A float convolution with a kernel in integers."""
    nodes = [node("DequantizeLinear", "kernel sk zk", "kd"), conv("x kd", "y")]
    weights = {"kernel": np.ones((8, 3, 3, 3), np.int8), "sk": np.float32(1), "zk": np.int8(0)}
    return model(nodes, [("x", FLOAT, PICTURE)], [("y", FLOAT, (1, 8, 32, 32))], weights)


def four_bits() -> onnx.ModelProto:
    made = models.quantised()
    for tensor in made.graph.initializer:
        if tensor.name in ("kernel", "zk"):
            tensor.data_type = TensorProto.INT4
    return made


def float8() -> onnx.ModelProto:
    made = models.quantised()
    for tensor in made.graph.initializer:
        if tensor.name in ("zx", "zy"):
            tensor.data_type = TensorProto.FLOAT8E4M3FN
    return made


def followed_by(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    made = models.quantised()
    made.graph.node.extend(nodes)
    return made


def softmax(count: int) -> Sequence[onnx.NodeProto]:
    return [node("Softmax", "y", f"s{index}") for index in range(count)]


def test_what_is_covered() -> None:
    for made in (models.quantised(), followed_by(*softmax(3))):
        assert is_quantised(made)
        assert find_uncovered(made) == ""
    assert not is_quantised(models.net())


def test_activations_without_a_zero_point_have_8_bits() -> None:
    """The operator's own default, unless it names another type."""
    made = models.quantised()
    for quantize in (n for n in made.graph.node if n.op_type == "QuantizeLinear"):
        del quantize.input[2:]
    assert find_uncovered(made) == ""
    quantize.attribute.append(helper.make_attribute("output_dtype", TensorProto.UINT16))
    assert find_uncovered(made) == "it is w8a16"


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (models.quantised_16(), "it is w8a16"),
        (four_bits(), "it is w4a8"),
        (float8(), "it is quantised to floats of 8 bits"),
        (weights_alone(), "its weights alone are quantised"),
        (followed_by(*softmax(4)), "it is attention (4 Softmax)"),
        (followed_by(conv("y kd", "z")), ""),
        (followed_by(conv("r kd", "z")), "Conv '/z/Conv' computes in float"),
        (
            followed_by(node("QLinearConv", "xq sx zx kernel sk zk sy zy", "q")),
            "it has QLinearConv in place of QuantizeLinear and DequantizeLinear",
        ),
        (
            followed_by(node("DynamicQuantizeLinear", "y", "a b c")),
            "it has DynamicQuantizeLinear in place of QuantizeLinear and DequantizeLinear",
        ),
    ],
)
def test_what_is_not(made: onnx.ModelProto, reason: str) -> None:
    assert is_quantised(made)
    assert find_uncovered(made) == reason
