"""Inputs by another name, shape or type than the contract's."""

import numpy as np

from conformance.selftest.models import conforming
from conformance.selftest.mutants.mutant import (
    DEP,
    DOUBLE,
    DRAFT,
    FLOAT,
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
)
from conformance.selftest.surgery import (
    Change,
    add_input,
    after,
    both,
    exchange_inputs,
    fold_input,
    redeclare,
    rename_input,
    replace,
    step,
)


def _other_size(tensor: str, size: tuple[int, int], to: tuple[int, int]) -> Change:
    """Resized to the contract's size inside the model."""
    resize = step("Resize", "", "", ints(1, 3, *to), mode="linear")
    return after(tensor, resize, shape=(1, 3, *size))


CHANNELS_LAST = step("Transpose", perm=[0, 3, 1, 2])
SWAPPED = step("Transpose", perm=[0, 1, 3, 2])
ADD_BATCH = step("Unsqueeze", ints(0))
IDS = np.full((2, 1, 77), 320, np.int32)

MUTANTS = [
    # names
    mutant("image input renamed", SEG, rename_input("image_input", "input_image"), "SEG-1"),
    mutant("text input renamed", SEG, rename_input("text_input", "text"), "SEG-1"),
    mutant("names exchanged", SEG, exchange_inputs("image_input", "text_input"), "SEG-2", "SEG-3"),
    mutant("text traced away", SEG, fold_input("text_input", IDS), "SEG-1"),
    mutant("extra input", DEP, add_input("scale", 1), "DEP-1"),
    mutant("input called input", DEP, rename_input("image", "input"), "DEP-1"),
    mutant("input called input", PID, rename_input("image", "input"), "PID-1"),
    mutant("the draft's name", RET, rename_input("image", "image_input"), "RET-1", part="image"),
    mutant("the draft's name", RET, rename_input("text", "text_input"), "RET-1", part="text"),
    mutant("attention mask too", RET, add_input("mask", 1, 77), "RET-1", part="text"),
    mutant(
        "the text encoder twice",
        RET,
        replace(lambda: conforming(RET, "text")),
        *("RET-1", "RET-2", "RET-3"),
        part="image",
    ),
    mutant("the final name", DRAFT, rename_input("image_input", "image"), "RET-1", part="image"),
    mutant("input called ids", DRAFT, rename_input("text_input", "ids"), "RET-1", part="text"),
    # shapes
    mutant(
        "channels last", SEG, after("image_input", CHANNELS_LAST, shape=(1, 1024, 1024, 3)), "SEG-2"
    ),
    mutant("no batch axis", SEG, after("image_input", ADD_BATCH, shape=(3, 1024, 1024)), "SEG-2"),
    mutant("ids without the mask", SEG, after("text_input", ADD_BATCH, shape=(1, 77)), "SEG-2"),
    mutant(
        "no text batch axis",
        SEG,
        after("text_input", step("Unsqueeze", ints(1)), shape=(2, 77)),
        "SEG-2",
    ),
    mutant("512 pixels", SEG, _other_size("image_input", (512, 512), (1024, 1024)), "SEG-2"),
    mutant(
        "channels last",
        RET,
        after("image", CHANNELS_LAST, shape=(1, 224, 224, 3)),
        "RET-2",
        part="image",
    ),
    mutant(
        "no batch axis", RET, after("image", ADD_BATCH, shape=(3, 224, 224)), "RET-2", part="image"
    ),
    mutant("256 pixels", RET, _other_size("image", (256, 256), (224, 224)), "RET-2", part="image"),
    mutant("no batch axis", RET, after("text", ADD_BATCH, shape=(77,)), "RET-2", part="text"),
    mutant(
        "64 ids",
        RET,
        after(
            "text",
            step("Pad", ints(0, 0, 0, 13), np.array(49407, np.int32)),
            shape=(1, 64),
        ),
        "RET-2",
        part="text",
    ),
    mutant(
        "224 pixels in the draft",
        DRAFT,
        _other_size("image_input", (224, 224), (1024, 1024)),
        "RET-2",
        part="image",
    ),
    mutant(
        "ids without the mask",
        DRAFT,
        after("text_input", ADD_BATCH, shape=(1, 77)),
        "RET-2",
        part="text",
    ),
    mutant("channels last", DEP, after("image", CHANNELS_LAST, shape=(1, 480, 640, 3)), "DEP-2"),
    mutant(
        "height and width swapped", DEP, after("image", SWAPPED, shape=(1, 3, 640, 480)), "DEP-2"
    ),
    mutant("no batch axis", DEP, after("image", ADD_BATCH, shape=(3, 480, 640)), "DEP-2"),
    mutant("518 pixels", DEP, _other_size("image", (518, 518), (480, 640)), "DEP-2"),
    mutant(
        "height and width swapped", PID, after("image", SWAPPED, shape=(1, 3, 2048, 1024)), "PID-2"
    ),
    mutant("half the size", PID, _other_size("image", (512, 1024), (1024, 2048)), "PID-2"),
    # types
    mutant("uint8 picture", SEG, after("image_input", cast(FLOAT), dtype=UINT8), "SEG-3"),
    mutant("int64 ids", SEG, after("text_input", cast(INT32), dtype=INT64), "SEG-3"),
    mutant("float32 ids", SEG, after("text_input", cast(INT32), dtype=FLOAT), "SEG-3"),
    mutant("float16 picture", RET, after("image", cast(FLOAT), dtype=HALF), "RET-3", part="image"),
    mutant("float32 ids", RET, after("text", cast(INT32), dtype=FLOAT), "RET-3", part="text"),
    mutant(
        "int64 ids in the draft",
        DRAFT,
        after("text_input", cast(INT32), dtype=INT64),
        "RET-3",
        part="text",
    ),
    mutant("float16 picture", DEP, after("image", cast(FLOAT), dtype=HALF), "DEP-3"),
    mutant("float64 picture", DEP, after("image", cast(FLOAT), dtype=DOUBLE), "DEP-3", "COM-5"),
    mutant("uint8 picture", PID, after("image", cast(FLOAT), dtype=UINT8), "PID-3"),
    # sizes left open
    mutant(
        "dynamic batch",
        DEP,
        both(
            redeclare("image", shape=("batch", 3, 480, 640)),
            redeclare("depth", shape=("batch", 1, 480, 640)),
        ),
        "COM-2",
    ),
    mutant("takes any size", DEP, redeclare("image", shape=(1, 3, "height", "width")), "COM-2"),
    mutant(
        "dynamic batch", RET, redeclare("image", shape=("N", 3, 224, 224)), "COM-2", part="image"
    ),
    mutant("dynamic length", RET, redeclare("text", shape=(1, "length")), "COM-2", part="text"),
    mutant("takes any size", PID, redeclare("image", shape=(1, 3, "height", "width")), "COM-2"),
]
