"""Pictures and texts that are read in another way than they are fed, or not at all."""

import numpy as np
from onnx import ModelProto, helper

from conformance.selftest.mutants.mutant import (
    DEP,
    DRAFT,
    INT64,
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
    after,
    both,
    bypass,
    constant,
    step,
)

BY_INDEX = step("Gather", ints(2, 1, 0), axis=1)
FLIPPED = step("Slice", ints(-1), ints(-(2**63) + 1), ints(1), ints(-1))
NO_IDS = step("Mul", np.array(0, np.int32))


def _pixels_scaled(factor: float) -> Change:
    """A model made for pixels of another scale."""
    scale = np.float32(factor)
    return both(constant("mean", lambda m: m * scale), constant("std", lambda s: s * scale))


def _first(count: int) -> np.ndarray:
    return (np.arange(77) < count).astype(np.float32)


def _to_int64(text: str) -> Change:
    end = constant("end", lambda end: end.astype(np.int64))
    return both(after(text, cast(INT64)), end)


def _split_reversed(image: str) -> Change:
    """The channels one by one, put together from the last to the first."""

    def change(model: ModelProto) -> None:
        after(image, step("Concat", "green", "red", axis=1))(model)
        next(node for node in model.graph.node if node.op_type == "Concat").input[0] = "blue"
        split = helper.make_node("Split", [image], ["red", "green", "blue"], "split", axis=1)
        model.graph.node.insert(0, split)

    return change


MUTANTS = [
    # pictures
    mutant("picture ignored", DEP, after("image", nothing()), "IMG-1"),
    mutant("picture ignored", PID, after("image", nothing()), "IMG-1"),
    mutant("picture ignored", RET, after("image", nothing()), "IMG-1", part="image"),
    mutant("made for [0, 1]", SEG, _pixels_scaled(1 / 255), "IMG-2", "TXT-3"),
    mutant("made for [0, 1]", DEP, _pixels_scaled(1 / 255), "IMG-2"),
    mutant("made for [0, 1]", DRAFT, _pixels_scaled(1 / 255), "IMG-2", part="image"),
    mutant("made for 0..255", RET, _pixels_scaled(255), "IMG-2", part="image"),
    mutant("made for 0..255", PID, _pixels_scaled(255), "IMG-2"),
    mutant("mean/std left outside", PID, bypass("normalised", "image"), "IMG-3"),
    mutant(
        "mean/std left outside", RET, bypass("normalised", "image"), "IMG-3", "RET-8", part="image"
    ),
    mutant("mean/std left outside", DEP, bypass("normalised", "image"), "IMG-2"),
    mutant(
        "mean/std left outside",
        DRAFT,
        bypass("normalised", "image_input"),
        "IMG-3",
        "RET-8",
        part="image",
    ),
    mutant("BGR by index", SEG, after("image_input", BY_INDEX), "IMG-4"),
    mutant("BGR by flip", DEP, after("image", FLIPPED), "IMG-4"),
    mutant("BGR by index", RET, after("image", BY_INDEX), "IMG-4", part="image"),
    mutant("BGR after the normalisation", PID, after("normalised", FLIPPED), "IMG-4"),
    mutant(
        "BGR as the newer exporter writes it",
        DRAFT,
        after(
            "image_input",
            step("Transpose", perm=[1, 0, 2, 3]),
            step("GatherND", ints(2, 1, 0).reshape(3, 1)),
            step("Transpose", perm=[1, 0, 2, 3]),
        ),
        "IMG-4",
        part="image",
    ),
    mutant("BGR by split and concat", PID, _split_reversed("image"), "IMG-4"),
    mutant(
        "BGR in channels last",
        DEP,
        after(
            "image",
            step("Transpose", perm=[0, 2, 3, 1]),
            step("Gather", ints(2, 1, 0), axis=-1),
            step("Transpose", perm=[0, 3, 1, 2]),
        ),
        "IMG-4",
    ),
    # texts
    mutant("text ignored", SEG, after("text_input", NO_IDS), "TXT-1"),
    mutant("text ignored", RET, after("text", NO_IDS), "TXT-1", part="text"),
    mutant("text ignored", DRAFT, after("text_input", NO_IDS), "TXT-1", part="text"),
    mutant("one word read", RET, after("live", step("Mul", _first(1))), "TXT-1", part="text"),
    mutant("padding read", RET, constant("half", lambda half: half + 1000), "TXT-2", part="text"),
    mutant("padding read", DRAFT, constant("half", lambda half: half + 1000), "TXT-2", part="text"),
    mutant("padding read", SEG, constant("half", lambda half: half + 1000), "TXT-2"),
    mutant("cut at 64 tokens", SEG, after("live", step("Mul", _first(64))), "TXT-3"),
    mutant("cut at 64 tokens", RET, after("live", step("Mul", _first(64))), "TXT-3", part="text"),
    mutant("cut at 32 tokens", DRAFT, after("live", step("Mul", _first(32))), "TXT-3", part="text"),
    mutant(
        "attention mask for ids",
        DRAFT,
        constant("first", lambda first: first + 1),
        "TXT-3",
        part="text",
    ),
    mutant("ids cast to int64", RET, _to_int64("text"), "TXT-4", part="text"),
    mutant("ids cast to int64", SEG, _to_int64("text_input"), "TXT-4"),
    mutant("ids cast behind a slice", DRAFT, _to_int64("gather_0"), "TXT-4", part="text"),
]
