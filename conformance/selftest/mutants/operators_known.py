"""Operators that ONNX does not have at the opset, and those that Qualcomm's compiler refuses."""

import numpy as np
from onnx import ModelProto, TensorProto, helper

from conformance.selftest.mutants.mutant import (
    DEP,
    FLOAT,
    PID,
    RET,
    SEG,
    cast,
    ints,
    mutant,
    nothing,
)
from conformance.selftest.surgery import (
    Change,
    Step,
    add_node,
    add_weight,
    after,
    both,
    side,
    step,
    versions,
)

MICROSOFT = "com.microsoft"


def _beside(tensor: str, source: str, *steps: Step) -> Change:
    """Operators that run and change nothing: their result is added as zero."""
    return side(tensor, source, *steps, cast(FLOAT), step("ReduceMax", keepdims=0), nothing())


def _no_opset(model: ModelProto) -> None:
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))


def _all_axes(op: str, tensor: str, source: str) -> Change:
    """A reduction with an empty list of axes, as PyTorch's older exporter writes `y.amin()`."""

    def change(model: ModelProto) -> None:
        side(tensor, source, step(op, keepdims=0), nothing())(model)
        name = f"{tensor}_side_step_0"
        node = next(node for node in model.graph.node if node.name == name)
        node.attribute.append(helper.make_attribute("axes", [], attr_type=7))

    return change


def _dynamic(tensor: str, source: str) -> Change:
    """A tensor is quantised by its own range, and added as zero."""

    def change(model: ModelProto) -> None:
        quantised = ("dynamic", "dynamic_scale", "dynamic_zero")
        side(tensor, source, step("DequantizeLinear", *quantised[1:]), nothing())(model)
        node = next(n for n in model.graph.node if n.op_type == "DequantizeLinear")
        place = list(model.graph.node).index(node)
        dynamic = helper.make_node("DynamicQuantizeLinear", [node.input[0]], quantised, "dynamic")
        node.input[0] = "dynamic"
        model.graph.node.insert(place, dynamic)

    return change


def _scales(rows: int, axis: int, tensor: str) -> Change:
    """A weight of zeros with a scale for each row, added to a tensor of floats."""
    shape = [1, 1, 1, 1]
    shape[axis] = rows
    return both(
        add_weight("rows", np.zeros(shape, np.int8)),
        add_weight("scales", np.full(rows, 0.01, np.float32)),
        add_weight("zeros", np.zeros(rows, np.int8)),
        add_node("DequantizeLinear", ["rows", "scales", "zeros"], "offsets", axis=axis),
        after(tensor, step("Add", "offsets")),
    )


def _product(width: int) -> tuple[Step, ...]:
    """A quantised product in QOperator form."""
    scale, zero = np.float32(0.1), np.uint8(0)
    weights = np.ones((width, 1), np.uint8), scale, zero
    quantised = (scale, zero, *weights, scale, zero)
    return (
        step("QuantizeLinear", *map(np.asarray, (scale, zero))),
        step("QLinearMatMul", *map(np.asarray, quantised)),
    )


def _axes_as_input(tensor: str) -> Change:
    return after(tensor, step("ReduceMax", ints(1), keepdims=1))


MUTANTS = [
    # not ONNX's
    mutant("no such operator", DEP, after("depth", step("FusedThing")), "COM-4"),
    mutant("no such operator", PID, after("mask", step("relu")), "COM-4"),
    mutant("Gelu before opset 20", RET, after("embedding", step("Gelu")), "COM-4", part="text"),
    mutant("Upsample at opset 17", PID, after("mask", step("Upsample", [1, 1, 1, 1])), "COM-4"),
    mutant("axes as input at opset 17", DEP, _axes_as_input("depth"), "COM-4"),
    mutant(
        "antialias at opset 17",
        DEP,
        after("depth", step("Resize", "", [1, 1, 1, 1], mode="linear", antialias=1)),
        "COM-4",
    ),
    mutant("three operands", SEG, after("logits", step("Add", 0.0, 0.0)), "COM-4"),
    mutant("float times int64", DEP, after("depth", step("Mul", ints(1))), "COM-4"),
    mutant("no opset", DEP, _no_opset, "COM-4"),
    mutant("ATen", SEG, after("logits", step("ATen", domain="org.pytorch.aten")), "COM-4"),
    mutant("classic", DEP, after("depth", step("Scaler", domain="ai.onnx.ml")), "COM-4"),
    mutant(
        "QOperator",
        RET,
        after("embedding", step("QLinearSigmoid", domain=MICROSOFT)),
        "COM-4",
        part="image",
    ),
    # not the NPU's
    mutant(
        "antialias",
        DEP,
        both(
            versions(ir=9, opset=18),
            after("depth", step("Resize", "", [1, 1, 1, 1], mode="linear", antialias=1)),
        ),
        "COM-5",
    ),
    mutant("scales of rows", DEP, _scales(480, 2, "depth"), "COM-5"),
    mutant("scales of channels", PID, _scales(19, 1, "mask"), "COM-5"),
    mutant(
        "bfloat16 inside",
        DEP,
        _beside("depth", "depth_inner", cast(TensorProto.BFLOAT16)),
        "COM-5",
    ),
    mutant(
        "bfloat16 inside",
        RET,
        _beside("embedding", "embedding_inner", cast(TensorProto.BFLOAT16)),
        "COM-5",
        part="image",
    ),
    mutant("dynamic quantisation", DEP, _dynamic("depth", "depth_inner"), "COM-5"),
    mutant("QOperator", DEP, _beside("depth", "depth_inner", *_product(640)), "COM-5"),
    mutant("amin of all axes", DEP, _all_axes("ReduceMin", "depth", "image"), "COM-5"),
    mutant("mean of all axes", SEG, _all_axes("ReduceMean", "logits", "normalised"), "COM-5"),
    mutant("Celu", DEP, after("depth", step("Celu")), "COM-5"),
    mutant(
        "dilated pooling",
        PID,
        after("mask", step("MaxPool", kernel_shape=[1, 1], dilations=[2, 2])),
        "COM-5",
    ),
    mutant(
        "limits that are computed",
        DEP,
        both(
            add_node("ReduceMin", ["image"], "floor", keepdims=0),
            _beside("depth", "depth_inner", step("Clip", "floor")),
        ),
        "COM-5",
    ),
    mutant(
        "sum from the end",
        RET,
        _beside("embedding", "live", step("CumSum", np.array(1), reverse=1)),
        "COM-5",
        part="text",
    ),
    mutant("triangle", DEP, _beside("depth", "depth_inner", step("Trilu")), "COM-5"),
    mutant(
        "last of equals",
        PID,
        _beside("mask", "mask_inner", step("ArgMax", axis=1, select_last_index=1)),
        "COM-5",
    ),
]
