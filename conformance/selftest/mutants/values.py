"""What each track says of its values: masks, embeddings, depth, logits, parameters."""

import numpy as np
from onnx import ModelProto, helper

from conformance.selftest.mutants.mutant import (
    DEP,
    DRAFT,
    FLOAT,
    PID,
    RET,
    SEG,
    cast,
    ints,
    mutant,
)
from conformance.selftest.surgery import (
    Change,
    add_node,
    add_weight,
    after,
    both,
    bypass,
    constant,
    redeclare,
    step,
)


def _narrower(width: int) -> Change:
    return both(
        constant("projection", lambda weight: weight[:, :width]),
        redeclare("embedding", shape=(1, width)),
    )


def _zero_black(image: str) -> Change:
    return both(
        add_node("Sign", ["peak"], "lit"),
        add_node("ReduceMax", [image], "peak", keepdims=0),
        after("embedding", step("Mul", "lit")),
    )


def _frame_for_picture(model: ModelProto) -> None:
    """A mask of which the picture gives the frame alone; a ramp takes the place of its pixels."""
    after("normalised", step("Mul", 0.0), step("Add", RAMP))(model)
    graph = model.graph
    place = 1 + next(i for i, node in enumerate(graph.node) if "content" in node.output)
    for node in (
        helper.make_node("ReduceMax", ["content"], ["rows"], "rows", axes=[3]),
        helper.make_node("ReduceMax", ["content"], ["columns"], "columns", axes=[2]),
        helper.make_node("Mul", ["rows", "columns"], ["frame"], "frame"),
    ):
        graph.node.insert(place, node)
        place += 1
    masked = next(node for node in graph.node[place:] if "content" in node.input)
    masked.input[list(masked.input).index("content")] = "frame"


def _wide(hidden: int) -> Change:
    """The wide layers of the model with another number of hidden units."""
    return both(
        constant("wide", lambda w: np.resize(w, (3, hidden))),
        constant("wider", lambda w: np.resize(w, (hidden, hidden))),
        constant("narrow", lambda w: np.resize(w, (hidden, 19))),
    )


RAMP = np.linspace(-2, 2, 1024, dtype=np.float32).reshape(1, 1, 1, 1024)
# A convolution that changes nothing and is no part of PIDNet-S.
HEAD = np.eye(19, dtype=np.float32).reshape(19, 19, 1, 1)
ULP_ABOVE = np.nextafter(np.float32(1), np.float32(2))
INVERSE = (step("Neg"), step("Add", 1.0))

MUTANTS = [
    # masks
    mutant("logits for a mask", SEG, bypass("bright", "logits"), "SEG-7"),
    mutant(
        "probabilities for a mask",
        SEG,
        both(bypass("bright", "logits"), after("logits", step("Sigmoid"))),
        "SEG-7",
    ),
    mutant("0/255 mask", SEG, after("pred_mask", step("Mul", 255.0)), "SEG-7"),
    mutant("-1/1 mask", SEG, after("pred_mask", step("Mul", 2.0), step("Sub", 1.0)), "SEG-7"),
    mutant("picture read for its frame alone", SEG, _frame_for_picture, "IMG-1"),
    mutant("one ulp above 1", SEG, after("pred_mask", step("Mul", ULP_ABOVE)), "SEG-7"),
    mutant(
        "soft edges",
        SEG,
        after("bright", step("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1])),
        "SEG-7",
    ),
    mutant(
        "mask in the padding",
        SEG,
        both(after("content", step("Max", 1.0)), after("logits", step("Neg"))),
        "SEG-8",
    ),
    mutant("background for the object", SEG, after("pred_mask", *INVERSE), "SEG-8"),
    mutant(
        "mask always empty", SEG, after("logits", step("Sub", 1000.0)), "SEG-9", "IMG-1", "TXT-1"
    ),
    mutant("everything is found", SEG, after("logits", step("Add", 1000.0)), *("IMG-1", "TXT-1")),
    # embeddings
    mutant("narrower image embedding", RET, _narrower(8), "RET-7", part="image"),
    mutant("narrower text embedding", RET, _narrower(12), "RET-7", part="text"),
    mutant("narrower text embedding", DRAFT, _narrower(15), "RET-7", part="text"),
    mutant("one number for an image", RET, _narrower(1), "RET-7", part="image"),
    mutant("one number for a text", RET, _narrower(1), "RET-7", "TXT-1", part="text"),
    mutant("zero embedding of black", RET, _zero_black("image"), "RET-9", part="image"),
    mutant("zero embedding of black", DRAFT, _zero_black("image_input"), "RET-9", part="image"),
    mutant(
        "embeddings that float32 cannot square",
        RET,
        after("embedding", step("Mul", 1e-24)),
        *("RET-8", "RET-9"),
        part="image",
    ),
    mutant(
        "embeddings of endless length",
        RET,
        after("embedding", step("Mul", 1e25)),
        "RET-8",
        part="text",
    ),
    mutant(
        "embeddings apart by rounding",
        RET,
        after("embedding", step("Mul", 1e-7), step("Add", np.arange(16, dtype=np.float32))),
        "IMG-1",
        part="image",
    ),
    mutant(
        "zero embedding",
        RET,
        after("embedding", step("Mul", 0.0)),
        *("RET-8", "TXT-1"),
        part="text",
    ),
    mutant(
        "underflow to zero",
        RET,
        after("embedding", step("Mul", 1e-30), step("Mul", 1e-30)),
        *("RET-8", "RET-9", "IMG-1"),
        part="image",
    ),
    # depth
    mutant("depth up to 1.001", DEP, after("depth", step("Mul", 1.001)), "DEP-7"),
    mutant("depth two ulps above 1", DEP, after("depth", step("Mul", 1 + 2.4e-7)), "DEP-7"),
    mutant("depth from -0.001", DEP, after("depth", step("Sub", 0.001)), "DEP-7"),
    mutant("depth up to 255", DEP, after("depth", step("Mul", 255.0)), "DEP-7"),
    mutant("depth in metres", DEP, after("depth", step("Mul", 80.0), step("Add", 0.1)), "DEP-7"),
    mutant("inverse depth", DEP, after("depth", *INVERSE), "DEP-8"),
    mutant("upside down", DEP, constant("ramp", lambda ramp: -ramp), "DEP-8"),
    mutant("disparity", DEP, after("depth", step("Add", 1.0), step("Reciprocal")), "DEP-8"),
    mutant("depth squeezed by an outlier", DEP, after("depth", step("Pow", 60.0)), "DEP-9"),
    mutant(
        "constant depth", DEP, after("depth", step("Mul", 0.0), step("Add", 0.5)), "DEP-9", "IMG-1"
    ),
    # logits
    mutant("probabilities for logits", PID, after("mask", step("Softmax", axis=1)), "PID-7"),
    mutant(
        "one-hot classes for logits",
        PID,
        after("mask", step("Hardmax", axis=1)),
        *("PID-7", "COM-5"),
    ),
    mutant("a probability a class", PID, after("mask", step("Sigmoid")), "PID-7"),
    mutant(
        "probabilities in percent",
        PID,
        after("mask", step("Softmax", axis=1), step("Mul", 100.0)),
        "PID-7",
    ),
    mutant(
        "probabilities from a Tanh",
        PID,
        after("mask", step("Tanh"), step("Add", 1.0), step("Div", 2.0)),
        "PID-7",
    ),
    mutant("sigmoid in percent", PID, after("mask", step("Sigmoid"), step("Mul", 100.0)), "PID-7"),
    mutant("logarithms of probabilities", PID, after("mask", step("LogSoftmax", axis=1)), "PID-7"),
    mutant(
        "class numbers in each channel",
        PID,
        after(
            "mask",
            step("ArgMax", axis=1, keepdims=1),
            cast(FLOAT),
            step("Expand", ints(1, 19, 128, 256)),
        ),
        "PID-7",
    ),
    mutant("half the parameters", PID, _wide(1900), "PID-8"),
    mutant("2 % fewer parameters", PID, _wide(2720), "PID-8"),
    mutant("one hidden unit more", PID, _wide(2747), "PID-8"),
    mutant("a small head more", PID, after("mask", step("Conv", HEAD)), "PID-8"),
    mutant("twice the parameters", PID, _wide(3900), "PID-8", "PID-9"),
    mutant(
        "weights twice in the file",
        PID,
        add_weight("copy", np.zeros((2750, 2750), np.float32)),
        "PID-9",
        "COM-7",
    ),
]
