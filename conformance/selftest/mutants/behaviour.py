"""Pictures and texts that are read in another way than they are fed, or not at all."""

import numpy as np
from onnx import ModelProto, helper, numpy_helper

from conformance.selftest.models import END_OF_TEXT
from conformance.selftest.mutants.mutant import (
    DEP,
    DRAFT,
    INT32,
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
    after,
    both,
    bypass,
    constant,
    step,
)

BY_INDEX = step("Gather", ints(2, 1, 0), axis=1)
FLIPPED = step("Slice", ints(-1), ints(-(2**63) + 1), ints(1), ints(-1))
SWAP = np.eye(3, dtype=np.float32)[::-1].reshape(3, 3, 1, 1)
NO_IDS = step("Mul", np.array(0, np.int32))


def pixels_scaled(factor: float) -> Change:
    """A model made for pixels of another scale."""
    scale = np.float32(factor)
    return both(constant("mean", lambda m: m * scale), constant("std", lambda s: s * scale))


def _ends(table: np.ndarray) -> np.ndarray:
    """Every word but the end of a text means the same."""
    return np.where(np.arange(len(table))[:, None] == END_OF_TEXT, table, table[:1])


def _first(count: int) -> np.ndarray:
    return (np.arange(77) < count).astype(np.float32)


def _to_int64(text: str) -> Change:
    end = constant("end", lambda end: end.astype(np.int64))
    return both(after(text, cast(INT64)), end)


def _stacked(image: str) -> Change:
    """`torch.stack([x[:, 2], x[:, 1], x[:, 0]], 1)`"""

    def change(model: ModelProto) -> None:
        after(image, step("Concat", "plane_1", "plane_0", axis=1))(model)
        nodes = model.graph.node
        next(node for node in nodes if node.op_type == "Concat").input[0] = "plane_2"
        model.graph.initializer.append(numpy_helper.from_array(ints(1), "channels"))
        for number in range(3):
            model.graph.initializer.append(
                numpy_helper.from_array(np.array(number), f"number_{number}")
            )
            picked, plane = f"picked_{number}", f"plane_{number}"
            nodes.insert(0, helper.make_node("Unsqueeze", [picked, "channels"], [plane], plane))
            inputs = [image, f"number_{number}"]
            nodes.insert(0, helper.make_node("Gather", inputs, [picked], picked, axis=1))

    return change


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
    mutant("made for [0, 1]", SEG, pixels_scaled(1 / 255), "IMG-1", "IMG-2", "TXT-3"),
    mutant("made for [0, 1]", DEP, pixels_scaled(1 / 255), "IMG-2"),
    mutant("made for [0, 1]", DRAFT, pixels_scaled(1 / 255), "IMG-2", part="image"),
    mutant("made for 0..255", RET, pixels_scaled(255), "IMG-2", "IMG-5", part="image"),
    mutant("made for 0..255", PID, pixels_scaled(255), "IMG-2", "IMG-5"),
    mutant("mean/std left outside", PID, bypass("normalised", "image"), "IMG-3"),
    mutant(
        "mean/std left outside", RET, bypass("normalised", "image"), "IMG-3", "RET-9", part="image"
    ),
    mutant("mean/std left outside", DEP, bypass("normalised", "image"), "IMG-2"),
    mutant(
        "mean/std left outside",
        DRAFT,
        bypass("normalised", "image_input"),
        "IMG-3",
        "RET-9",
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
    mutant("BGR by a stack", RET, _stacked("image"), "IMG-4", part="image"),
    mutant("BGR by a convolution", DEP, after("image", step("Conv", SWAP)), "IMG-4"),
    mutant(
        "GBR by index", SEG, after("image_input", step("Gather", ints(1, 2, 0), axis=1)), "IMG-4"
    ),
    mutant(
        "BGR behind two reversals and a third",
        PID,
        after("image", BY_INDEX, FLIPPED, BY_INDEX),
        "IMG-4",
    ),
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
    mutant(
        "a reshape for a transpose",
        DEP,
        after("image", reshape(1, 480, 640, 3), step("Transpose", perm=[0, 3, 1, 2])),
        "IMG-6",
    ),
    # texts
    mutant("text ignored", SEG, after("text_input", NO_IDS), "TXT-1"),
    mutant("text ignored", RET, after("text", NO_IDS), "TXT-1", part="text"),
    mutant("text ignored", DRAFT, after("text_input", NO_IDS), "TXT-1", part="text"),
    mutant("read for its length alone", RET, constant("table", _ends), "TXT-1", part="text"),
    mutant("attention mask for ids", SEG, constant("first", lambda first: first + 1), "TXT-1"),
    mutant("49,000 words", SEG, constant("table", lambda t: t[:49000]), "TXT-5"),
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
        "TXT-1",
        part="text",
    ),
    mutant("ids cast to int64", RET, _to_int64("text"), "TXT-4", part="text"),
    mutant(
        "ids cut to the vocabulary and cast to int64",
        RET,
        after("text", step("Min", np.array(49407, np.int32)), cast(INT64), cast(INT32)),
        "TXT-4",
        part="text",
    ),
    mutant("ids cast to int64", SEG, _to_int64("text_input"), "TXT-4"),
    mutant("ids cast behind a slice", DRAFT, _to_int64("gather_0"), "TXT-4", part="text"),
]
