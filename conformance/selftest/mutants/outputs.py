"""Outputs of another number, shape, type or name than the contract's."""

from conformance.selftest.mutants.mutant import (
    BOOL,
    DEP,
    DOUBLE,
    DRAFT,
    HALF,
    INT32,
    INT64,
    PID,
    RET,
    SEG,
    UINT8,
    cast,
    ints,
    mutant,
    reshape,
)
from conformance.selftest.surgery import add_output, after, rename_output, step

ADD_AXIS = step("Unsqueeze", ints(0))
HALF_SIZE = step("Slice", ints(0, 0), ints(1024, 1024), ints(0, 1), ints(2, 2))
POOL = step("AveragePool", kernel_shape=[2, 2], strides=[2, 2])

MUTANTS = [
    # how many
    mutant("scores too", SEG, add_output("logits", 1, 1, 1024, 1024), "SEG-4"),
    mutant("features too", RET, add_output("normalised", 1, 3, 224, 224), "RET-4", part="image"),
    mutant("live tokens too", RET, add_output("live", 1, 77), "RET-4", part="text"),
    mutant("two outputs", DEP, add_output("normalised", 1, 3, 480, 640), "DEP-4"),
    mutant("auxiliary head too", PID, add_output("normalised", 1, 3, 1024, 2048), "PID-4"),
    # shapes
    mutant("extra batch axis", SEG, after("pred_mask", ADD_AXIS, shape=(1, 1024, 1024)), "SEG-5"),
    mutant(
        "batch and channel axes",
        SEG,
        after("pred_mask", reshape(1, 1, 1024, 1024), shape=(1, 1, 1024, 1024)),
        "SEG-5",
    ),
    mutant(
        "flattened mask",
        SEG,
        after("pred_mask", reshape(1024 * 1024), shape=(1024 * 1024,)),
        "SEG-5",
    ),
    mutant("mask of half the size", SEG, after("pred_mask", HALF_SIZE, shape=(512, 512)), "SEG-5"),
    mutant(
        "embedding without batch axis",
        RET,
        after("embedding", reshape(16), shape=(16,)),
        "RET-5",
        part="image",
    ),
    mutant(
        "one embedding a token",
        RET,
        after("embedding", step("Expand", ints(1, 77, 16)), shape=(1, 77, 16)),
        "RET-5",
        part="text",
    ),
    mutant(
        "extra axis", DRAFT, after("embedding", ADD_AXIS, shape=(1, 1, 16)), "RET-5", part="text"
    ),
    mutant(
        "no channel axis", DEP, after("depth", reshape(1, 480, 640), shape=(1, 480, 640)), "DEP-5"
    ),
    mutant(
        "no batch and channel axes",
        DEP,
        after("depth", reshape(480, 640), shape=(480, 640)),
        "DEP-5",
    ),
    mutant(
        "three channels of depth",
        DEP,
        after("depth", step("Expand", ints(1, 3, 480, 640)), shape=(1, 3, 480, 640)),
        "DEP-5",
    ),
    mutant(
        "depth lies on its side",
        DEP,
        after("depth", step("Transpose", perm=[0, 1, 3, 2]), shape=(1, 1, 640, 480)),
        "DEP-5",
    ),
    mutant(
        "depth channels last",
        DEP,
        after("depth", reshape(1, 480, 640, 1), shape=(1, 480, 640, 1)),
        "DEP-5",
    ),
    mutant(
        "depth left at 518 pixels",
        DEP,
        after(
            "depth",
            step("Resize", "", "", ints(1, 1, 518, 518), mode="linear"),
            shape=(1, 1, 518, 518),
        ),
        "DEP-5",
    ),
    mutant(
        "classes last",
        PID,
        after("mask", step("Transpose", perm=[0, 2, 3, 1]), shape=(1, 128, 256, 19)),
        "PID-5",
    ),
    mutant(
        "logits at full size",
        PID,
        after(
            "mask",
            step("Resize", "", "", ints(1, 19, 1024, 2048), mode="linear"),
            shape=(1, 19, 1024, 2048),
        ),
        "PID-5",
    ),
    mutant(
        "class numbers",
        PID,
        after("mask", step("ArgMax", axis=1, keepdims=0), dtype=INT64, shape=(1, 128, 256)),
        *("PID-5", "PID-6"),
    ),
    # types
    mutant("bool mask", SEG, after("pred_mask", cast(BOOL), dtype=BOOL), "SEG-6"),
    mutant("int64 mask", SEG, after("pred_mask", cast(INT64), dtype=INT64), "SEG-6"),
    mutant("uint8 mask", SEG, after("pred_mask", cast(UINT8), dtype=UINT8), "SEG-6"),
    mutant("float16 mask", SEG, after("pred_mask", cast(HALF), dtype=HALF), "SEG-6"),
    mutant(
        "float16 embedding", RET, after("embedding", cast(HALF), dtype=HALF), "RET-6", part="image"
    ),
    mutant(
        "float64 embedding",
        RET,
        after("embedding", cast(DOUBLE), dtype=DOUBLE),
        "RET-6",
        "COM-5",
        part="text",
    ),
    mutant("float16 depth", DEP, after("depth", cast(HALF), dtype=HALF), "DEP-6"),
    mutant("float64 depth", DEP, after("depth", cast(DOUBLE), dtype=DOUBLE), "DEP-6", "COM-5"),
    mutant(
        "uint8 depth", DEP, after("depth", step("Mul", 255.0), cast(UINT8), dtype=UINT8), "DEP-6"
    ),
    mutant("int32 logits", PID, after("mask", cast(INT32), dtype=INT32), "PID-6"),
    # names
    mutant("output renamed", SEG, rename_output("pred_mask", "mask"), "SEG-10"),
    mutant("output called output", PID, rename_output("mask", "output"), "PID-10"),
    # what is declared is not what comes out
    mutant("declares another size than it returns", SEG, after("pred_mask", HALF_SIZE), "COM-9"),
    mutant("declares another size than it returns", DEP, after("depth", POOL), "COM-9"),
    mutant(
        "declares one embedding, returns two",
        RET,
        after("embedding", step("Tile", ints(2, 1))),
        "COM-9",
        part="text",
    ),
]
