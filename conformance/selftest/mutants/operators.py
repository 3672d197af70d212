"""Operators that are random, not standard, or not the NPU's."""

import numpy as np
from onnx import TensorProto

from conformance.selftest.mutants.mutant import (
    DEP,
    DOUBLE,
    DRAFT,
    FLOAT,
    INT64,
    PID,
    RET,
    SEG,
    cast,
    ints,
    mutant,
    nothing,
    reshape,
)
from conformance.selftest.surgery import (
    Change,
    Step,
    add_node,
    after,
    both,
    loop,
    side,
    step,
    versions,
)

BACK = reshape(1, 1, 480, 640)


def _seen_by(tensor: str, source: str, *steps: Step) -> Change:
    """Operators that run and change nothing: their result is added as zero."""
    return side(tensor, source, *steps, cast(FLOAT), step("ReduceMax", keepdims=0), nothing())


def _random(tensor: str, op: str) -> Change:
    return both(after(tensor, step("Add", "noise")), add_node(op, [], "noise", shape=[1]))


def _grid() -> np.ndarray:
    """The 5-D sampling grid that leaves a 480x640 map where it is."""
    y, x = np.meshgrid(np.linspace(-1, 1, 480), np.linspace(-1, 1, 640), indexing="ij")
    return np.stack([x, y, np.zeros_like(x)], axis=-1)[None, None].astype(np.float32)


MUTANTS = [
    # not standard
    mutant("custom operator", DEP, after("depth", step("Warp", domain="my.ops")), "COM-4"),
    mutant(
        "custom attention", SEG, after("logits", step("MSDeformAttn", domain="mmdeploy")), "COM-4"
    ),
    mutant(
        "fused Gelu",
        RET,
        after("embedding", step("FastGelu", domain="com.microsoft")),
        "COM-4",
        part="text",
    ),
    mutant(
        "plugin of another runtime",
        PID,
        after("mask", step("ScatterND", domain="trt.plugins")),
        "COM-4",
    ),
    # random
    mutant("noise is added", DEP, after("image", step("RandomNormalLike")), "COM-6"),
    mutant(
        "jitter is added",
        PID,
        side("image", "image", step("RandomUniformLike", high=0.01)),
        "COM-6",
    ),
    mutant("one random number", RET, _random("embedding", "RandomNormal"), "COM-6", part="image"),
    mutant("random position", RET, _random("position", "RandomUniform"), "COM-6", part="text"),
    mutant("sampled mask", SEG, after("bright", step("Bernoulli")), "COM-6"),
    mutant(
        "sampled word",
        DRAFT,
        side("embedding", "embedding", step("Multinomial", dtype=TensorProto.INT32), cast(FLOAT)),
        *("COM-5", "COM-6"),
        part="text",
    ),
    mutant(
        "Dropout in training mode",
        DEP,
        after("depth", step("Dropout", 0.1, np.array(True))),
        *("COM-5", "COM-6"),
    ),
    mutant(
        "Dropout in training mode",
        RET,
        after("embedding", step("Dropout", 0.1, np.array(True))),
        *("COM-5", "COM-6"),
        part="text",
    ),
    # not the NPU's
    mutant("float64 inside", DEP, after("depth", cast(DOUBLE), cast(FLOAT)), "COM-5"),
    mutant(
        "float64 inside", RET, after("embedding", cast(DOUBLE), cast(FLOAT)), "COM-5", part="text"
    ),
    mutant(
        "6-D arithmetic",
        DEP,
        after("depth", reshape(1, 1, 2, 240, 2, 320), step("Max", 0.0), BACK),
        "COM-5",
    ),
    mutant(
        "6-D Gather",
        DEP,
        after("depth", reshape(1, 1, 2, 240, 2, 320), step("Gather", ints(0, 1), axis=2), BACK),
        "COM-5",
    ),
    mutant(
        "7-D windows",
        DEP,
        after("depth", reshape(1, 1, 2, 2, 120, 2, 320), step("Max", 0.0), BACK),
        "COM-5",
    ),
    mutant(
        "6-D windows scaled",
        PID,
        after("mask", reshape(1, 19, 2, 64, 2, 128), step("Div", 2.0), reshape(1, 19, 128, 256)),
        "COM-5",
    ),
    mutant(
        "mask-head Einsum",
        DEP,
        after(
            "depth", step("Einsum", np.eye(1, dtype=np.float32)[None], equation="bchw,bqc->bqhw")
        ),
        "COM-5",
    ),
    mutant(
        "mask-head Einsum",
        SEG,
        side(
            "logits",
            "normalised",
            step("Einsum", np.zeros((1, 1, 3), np.float32), equation="bchw,bqc->bqhw"),
        ),
        "COM-5",
    ),
    mutant("NonZero", DEP, _seen_by("depth", "depth_inner", step("NonZero")), "COM-5"),
    mutant("NonZero", RET, _seen_by("embedding", "text", step("NonZero")), "COM-5", part="text"),
    mutant(
        "Compress",
        RET,
        _seen_by("embedding", "live", step("Compress", np.array([True]), axis=1)),
        "COM-5",
        part="text",
    ),
    mutant("Unique", RET, _seen_by("embedding", "live", step("Unique")), "COM-5", part="text"),
    mutant("Loop", DEP, loop("depth", 3, step("Identity")), "COM-5"),
    mutant("Loop", RET, loop("embedding", 2, step("Neg")), "COM-5", part="image"),
    mutant(
        "OneHot",
        RET,
        _seen_by("embedding", "live", cast(INT64), step("OneHot", np.array(8), ints(0, 1))),
        "COM-5",
        part="text",
    ),
    mutant(
        "exclusive CumSum",
        RET,
        _seen_by("embedding", "live", step("CumSum", np.array(1), exclusive=1)),
        "COM-5",
        part="text",
    ),
    mutant(
        "NonMaxSuppression",
        DEP,
        _seen_by(
            "depth",
            "image",
            step("Slice", ints(0, 0), ints(1, 4), ints(2, 3)),
            reshape(1, 3, 4),
            step("NonMaxSuppression", np.ones((1, 1, 3), np.float32), ints(3)),
        ),
        "COM-5",
    ),
    mutant(
        "5-D GridSample",
        DEP,
        both(
            versions(ir=9, opset=20),
            after(
                "depth",
                reshape(1, 1, 1, 480, 640),
                step("GridSample", _grid(), mode="nearest", align_corners=1),
                BACK,
            ),
        ),
        "COM-5",
    ),
    mutant(
        "an axis of size 0",
        DEP,
        side("depth", "image", step("Slice", ints(0), ints(0), ints(1)), op="Concat", axis=1),
        "COM-5",
    ),
]
