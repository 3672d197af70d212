"""Defects as data: each is one change to a conforming model and the rules that it must break."""

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from conformance.selftest.surgery import (
    Change,
    Step,
    add_input,
    add_node,
    add_output,
    add_weight,
    after,
    both,
    bypass,
    constant,
    redeclare,
    rename_input,
    rename_output,
    step,
    versions,
)

FLOAT, DOUBLE, HALF = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16
BOOL, UINT8, INT64 = TensorProto.BOOL, TensorProto.UINT8, TensorProto.INT64
SEG, RET, DEP, PID = "segmentation-2025", "retrieval-2026", "depth-2025", "pidnet"


@dataclass(frozen=True)
class Mutant:
    """One defect: `change` edits the conforming model of one part of a track in place."""

    name: str
    track: str
    change: Change
    rules: frozenset[str]
    part: str = "model"


def mutant(name: str, track: str, change: Change, *rules: str, part: str = "model") -> Mutant:
    return Mutant(name, track, change, frozenset(rules), part)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def cast(to: int) -> Step:
    return step("Cast", to=to)


def _nan_first(array: np.ndarray) -> np.ndarray:
    array.reshape(-1)[0] = np.nan
    return array


def _pixels_scaled(factor: float) -> Change:
    """A model made for pixels of another scale."""
    scale = np.float32(factor)
    return both(constant("mean", lambda m: m * scale), constant("std", lambda s: s * scale))


def _first(count: int) -> np.ndarray:
    return (np.arange(77) < count).astype(np.float32)


def _narrower() -> Change:
    return both(
        constant("projection", lambda weight: weight[:, :8]),
        redeclare("embedding", shape=(1, 8)),
    )


def _zero_black() -> Change:
    return both(
        add_node("Sign", ["peak"], "lit"),
        add_node("ReduceMax", ["image"], "peak", keepdims=0),
        after("embedding", step("Mul", "lit")),
    )


def _wide(hidden: int) -> Change:
    """The wide layers of the model with another number of hidden units."""
    return both(
        constant("wide", lambda w: np.resize(w, (3, hidden))),
        constant("wider", lambda w: np.resize(w, (hidden, hidden))),
        constant("narrow", lambda w: np.resize(w, (hidden, 19))),
    )


MUTANTS = [
    # names, shapes and dtypes
    mutant("image input renamed", SEG, rename_input("image_input", "input_image"), "SEG-1"),
    mutant("extra input", DEP, add_input("scale", 1), "DEP-1"),
    mutant(
        "channels last",
        DEP,
        after("image", step("Transpose", perm=[0, 3, 1, 2]), shape=(1, 480, 640, 3)),
        "DEP-2",
    ),
    mutant(
        "height and width swapped",
        DEP,
        after("image", step("Transpose", perm=[0, 1, 3, 2]), shape=(1, 3, 640, 480)),
        "DEP-2",
    ),
    mutant(
        "no batch axis",
        RET,
        after("image", step("Unsqueeze", ints(0)), shape=(3, 224, 224)),
        "RET-2",
        part="image",
    ),
    mutant(
        "uint8 picture",
        PID,
        after("image", cast(FLOAT), dtype=UINT8),
        "PID-3",
    ),
    mutant("two outputs", DEP, add_output("unit", 1, 1, 480, 640), "DEP-4"),
    mutant(
        "extra batch axis",
        SEG,
        after("pred_mask", step("Unsqueeze", ints(0)), shape=(1, 1024, 1024)),
        "SEG-5",
    ),
    mutant(
        "no channel axis",
        DEP,
        after("depth", step("Squeeze", ints(1)), shape=(1, 480, 640)),
        "DEP-5",
    ),
    mutant("bool mask", SEG, after("pred_mask", cast(BOOL), dtype=BOOL), "SEG-6"),
    mutant("int64 mask", SEG, after("pred_mask", cast(INT64), dtype=INT64), "SEG-6"),
    mutant("float16 depth", DEP, after("depth", cast(HALF), dtype=HALF), "DEP-6"),
    mutant("output renamed", SEG, rename_output("pred_mask", "mask"), "SEG-10"),
    mutant("output called output", PID, rename_output("mask", "output"), "PID-10"),
    mutant(
        "dynamic batch",
        DEP,
        both(
            redeclare("image", shape=("batch", 3, 480, 640)),
            redeclare("depth", shape=("batch", 1, 480, 640)),
        ),
        "COM-2",
    ),
    # the file and its operators
    mutant("IR version too new", DEP, versions(ir=12), "COM-3"),
    mutant("opset too new", DEP, versions(ir=10, opset=24), "COM-3"),
    mutant("custom operator", DEP, after("depth", step("Warp", domain="my.ops")), "COM-4"),
    mutant("float64 inside", DEP, after("depth", cast(DOUBLE), cast(FLOAT)), "COM-5"),
    mutant(
        "6-D arithmetic",
        DEP,
        after(
            "depth",
            step("Reshape", ints(1, 1, 2, 240, 2, 320)),
            step("Mul", [1.0]),
            step("Reshape", ints(1, 1, 480, 640)),
        ),
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
        "Dropout in training mode",
        DEP,
        after("depth", step("Dropout", 0.1, np.array(True))),
        "COM-6",
    ),
    mutant("noise is added", DEP, after("image", step("RandomNormalLike")), "COM-6"),
    mutant("forgotten head", DEP, add_weight("head", np.zeros(1000, np.float32)), "COM-7"),
    # how it runs
    mutant(
        "vocabulary one token short",
        RET,
        constant("table", lambda table: table[:-1]),
        "COM-8",
        part="text",
    ),
    mutant(
        "declares another size than it returns",
        DEP,
        after("depth", step("AveragePool", kernel_shape=[2, 2], strides=[2, 2])),
        "COM-9",
    ),
    mutant("NaN in the first row", DEP, constant("ramp", _nan_first), "COM-10", "COM-11"),
    mutant(
        "NaN on a black image",
        PID,
        both(
            add_node("ReduceMax", ["image"], "peak", keepdims=1),
            after("mask", step("Mul", "peak"), step("Div", "peak")),
        ),
        "COM-11",
    ),
    # what it makes of the picture
    mutant("picture ignored", DEP, after("image", step("Mul", 0.0)), "IMG-1"),
    mutant("made for [0, 1] in depth", DEP, _pixels_scaled(1 / 255), "IMG-2"),
    mutant("made for 0..255 in retrieval", RET, _pixels_scaled(255), "IMG-2", part="image"),
    mutant("mean/std left outside", PID, bypass("normalised", "image"), "IMG-3"),
    # what it makes of the text
    mutant("text ignored", SEG, after("text_input", step("Mul", np.array(0, np.int32))), "TXT-1"),
    mutant(
        "text ignored", RET, after("text", step("Mul", np.array(0, np.int32))), "TXT-1", part="text"
    ),
    mutant(
        "padding read",
        RET,
        constant("half", lambda half: half + 1000),
        "TXT-2",
        part="text",
    ),
    mutant("cut at 64 tokens", RET, after("live", step("Mul", _first(64))), "TXT-3", part="text"),
    mutant(
        "ids cast to int64",
        RET,
        both(
            after("text", step("Cast", to=TensorProto.INT64)),
            constant("end", lambda end: end.astype(np.int64)),
        ),
        "TXT-4",
        part="text",
    ),
    # what each track says of its values
    mutant("logits for a mask", SEG, bypass("bright", "logits"), "SEG-7"),
    mutant("0/255 mask", SEG, after("pred_mask", step("Mul", 255.0)), "SEG-7"),
    mutant(
        "mask in the padding",
        SEG,
        both(after("content", step("Max", 1.0)), after("logits", step("Neg"))),
        "SEG-8",
    ),
    mutant(
        "mask always empty", SEG, after("logits", step("Sub", 1000.0)), "SEG-9", "IMG-1", "TXT-1"
    ),
    mutant("narrower image embedding", RET, _narrower(), "RET-7", part="image"),
    mutant("zero embedding of black", RET, _zero_black(), "RET-8", part="image"),
    mutant("depth up to 1.001", DEP, after("depth", step("Mul", 1.001)), "DEP-7"),
    mutant("inverse depth", DEP, after("depth", step("Neg"), step("Add", 1.0)), "DEP-8"),
    mutant("depth squeezed by an outlier", DEP, after("depth", step("Pow", 60.0)), "DEP-9"),
    mutant("probabilities for logits", PID, after("mask", step("Softmax", axis=1)), "PID-7"),
    mutant("half the parameters", PID, _wide(1900), "PID-8"),
    mutant("twice the parameters", PID, _wide(3900), "PID-8", "PID-9"),
]
