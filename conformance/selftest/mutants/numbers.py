"""Values that are not finite, or no answer at all, on some input."""

import numpy as np
from onnx import ModelProto

from conformance.selftest.mutants.mutant import (
    DEP,
    DRAFT,
    INT32,
    PID,
    RET,
    SEG,
    cast,
    mutant,
    nothing,
)
from conformance.selftest.surgery import (
    Change,
    Step,
    add_node,
    after,
    both,
    constant,
    only_if,
    step,
)

PEAK = step("ReduceMax", keepdims=0)
NOTHING = nothing()
DARK = (PEAK, step("Less", 0.01))
OVER = step("Div", 0.0)
# Nothing between the start and the end of the text.
EMPTY = (step("ReduceSum", keepdims=0), step("Less", 2.5))


def _white(high: float) -> tuple[Step, ...]:
    return (step("ReduceMin", keepdims=0), step("Greater", 0.99 * high))


def _grey(high: float) -> tuple[Step, ...]:
    """Every pixel in the middle of the range."""
    middle = (step("Sub", high / 2), step("Abs"), PEAK)
    return (*middle, step("Less", 0.01 * high))


def _noisy(high: float) -> tuple[Step, ...]:
    """Neighbours differ by a fifth of the range, which those of no photograph do."""
    kernel = np.zeros((3, 1, 1, 2), np.float32)
    kernel[..., 0], kernel[..., 1] = 1, -1
    steps = (step("Conv", kernel, group=3), step("Abs"), step("ReduceMean", keepdims=0))
    return (*steps, step("Greater", 0.2 * high))


def _nan_first(array: np.ndarray) -> np.ndarray:
    array.reshape(-1)[0] = np.nan
    return array


def _over_brightness(image: str, tensor: str) -> Change:
    """Scaled by the brightest pixel and back, without an epsilon."""
    return both(
        add_node("ReduceMax", [image], "peak", keepdims=0),
        after(tensor, step("Mul", "peak"), step("Div", "peak")),
    )


def _over_contrast(image: str, tensor: str) -> Change:
    """Scaled by the picture's contrast and back, without an epsilon."""
    return both(
        add_node("Sub", ["brightest", "darkest"], "contrast"),
        add_node("ReduceMax", [image], "brightest", keepdims=0),
        add_node("ReduceMin", [image], "darkest", keepdims=0),
        after(tensor, step("Mul", "contrast"), step("Div", "contrast")),
    )


def _looked_up(tensor: str, table: np.ndarray) -> Change:
    """Whole numbers are looked up in a table."""

    def change(model: ModelProto) -> None:
        after(tensor, cast(INT32), step("Gather", table, axis=0))(model)
        node = next(node for node in model.graph.node if node.op_type == "Gather")
        node.input[:] = reversed(node.input)

    return change


# Depth by darkness alone, so that a constant picture is a constant map.
_FLAT = both(constant("ramp", np.zeros_like), constant("luma", np.negative))

MUTANTS = [
    # no answer
    mutant(
        "vocabulary one token short", RET, constant("table", lambda t: t[:-1]), "TXT-5", part="text"
    ),
    mutant(
        "ids of another vocabulary",
        RET,
        after("text", step("Add", np.array(1, np.int32))),
        "COM-8",
        part="text",
    ),
    mutant("vocabulary one token short", SEG, constant("table", lambda t: t[:-1]), "TXT-5"),
    mutant(
        "lookup table ends at 254",
        DEP,
        _looked_up("image", np.arange(255, dtype=np.float32)),
        "COM-8",
    ),
    # everywhere
    mutant("NaN in the first row", DEP, constant("ramp", _nan_first), "COM-10", "COM-11"),
    mutant("NaN in one class", PID, constant("narrow", _nan_first), "COM-10", "COM-11"),
    mutant(
        "NaN in the projection",
        RET,
        constant("projection", _nan_first),
        "COM-10",
        "COM-11",
        part="image",
    ),
    mutant(
        "overflow",
        RET,
        after("embedding", step("Mul", 1e30), step("Exp")),
        "COM-10",
        "COM-11",
        part="image",
    ),
    mutant("minus infinity", PID, after("mask", step("Mul", 0.0), step("Log")), "COM-10", "COM-11"),
    # on constant pictures
    mutant("NaN on a black image", PID, _over_brightness("image", "mask"), "COM-11"),
    mutant(
        "NaN on a black image", RET, _over_brightness("image", "embedding"), "COM-11", part="image"
    ),
    mutant("NaN on a black image", DEP, _over_brightness("image", "depth"), "COM-11"),
    mutant(
        "min-max of the picture", SEG, _over_contrast("image_input", "pred_mask"), "COM-11", "SEG-7"
    ),
    mutant(
        "min-max of the picture",
        DRAFT,
        _over_contrast("image_input", "embedding"),
        "COM-11",
        part="image",
    ),
    mutant(
        "min-max without an epsilon",
        DEP,
        both(_FLAT, constant("epsilon", np.zeros_like)),
        "COM-11",
    ),
    mutant(
        "infinite on a white image", DEP, only_if("depth", "image", _white(255), OVER), "COM-11"
    ),
    mutant(
        "infinite on a white image",
        RET,
        only_if("embedding", "image", _white(1), OVER),
        "COM-11",
        part="image",
    ),
    mutant("infinite on a grey image", PID, only_if("mask", "image", _grey(1), OVER), "COM-11"),
    mutant(
        "minus infinity on a black image",
        PID,
        only_if("mask", "image", DARK, step("Abs"), step("Neg"), OVER),
        "COM-11",
    ),
    # a hidden branch that one probe takes
    mutant("infinite on noise", DEP, only_if("depth", "image", _noisy(255), OVER), "COM-10"),
    mutant("infinite on noise", PID, only_if("mask", "image", _noisy(1), OVER), "COM-10"),
    mutant(
        "above 1 on a white image",
        DEP,
        only_if("depth", "image", _white(255), step("Add", 0.5)),
        "DEP-7",
    ),
    mutant(
        "below 0 on noise", DEP, only_if("depth", "image", _noisy(255), step("Sub", 0.5)), "DEP-7"
    ),
    mutant(
        "2 on a white image",
        SEG,
        only_if("pred_mask", "image_input", _white(255), step("Add", 1.0)),
        "SEG-7",
    ),
    mutant(
        "NaN on the empty text",
        RET,
        only_if("embedding", "live", EMPTY, NOTHING, OVER),
        "COM-10",
        part="text",
    ),
    mutant(
        "zero on the empty text",
        RET,
        only_if("embedding", "live", EMPTY, NOTHING),
        "RET-8",
        part="text",
    ),
    mutant(
        "zero on noise",
        RET,
        only_if("embedding", "image", _noisy(1), NOTHING),
        "RET-9",
        part="image",
    ),
]
