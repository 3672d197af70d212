"""Action recognition: clips in another layout, and answers whose order the evaluator loses."""

import numpy as np

from conformance.selftest.mutants.behaviour import pixels_scaled
from conformance.selftest.mutants.mutant import (
    ACT,
    FLOAT,
    HALF,
    NCTHW,
    UINT8,
    cast,
    ints,
    mutant,
    nothing,
    reshape,
)
from conformance.selftest.surgery import (
    add_input,
    add_output,
    after,
    both,
    bypass,
    constant,
    redeclare,
    rename_input,
    rename_output,
    step,
)

TO_LAST = step("Transpose", perm=[0, 2, 3, 4, 1])
TO_FIRST = step("Transpose", perm=[0, 4, 1, 2, 3])
CLIP, CLIP_FIRST = (1, 16, 112, 112, 3), (1, 3, 16, 112, 112)
SWAP = np.eye(3, dtype=np.float32)[::-1].reshape(3, 3, 1, 1, 1)
FLIPPED = step("Slice", ints(-1), ints(-(2**63) + 1), ints(1), ints(-1))


def _wide(width: int):
    """A head of other classes."""
    head = constant("classes", lambda head: np.resize(head, (2048, width)))
    return both(head, redeclare("class_probs", shape=(1, width)))


MUTANTS = [
    # inputs
    mutant("input called input", ACT, rename_input("video", "input"), "ACT-1"),
    mutant("audio too", ACT, add_input("audio", 1, 16000), "ACT-1"),
    mutant("channels ahead of the frames", ACT, after("video", TO_LAST, shape=CLIP_FIRST), "ACT-2"),
    mutant("channels last", NCTHW, after("video", TO_FIRST, shape=CLIP), "ACT-2"),
    mutant(
        "8 frames",
        ACT,
        after("video", step("Tile", ints(1, 2, 1, 1, 1)), shape=(1, 8, 112, 112, 3)),
        "ACT-2",
    ),
    mutant(
        "8 frames",
        NCTHW,
        after("video", step("Tile", ints(1, 1, 2, 1, 1)), shape=(1, 3, 8, 112, 112)),
        "ACT-2",
    ),
    mutant(
        "no batch axis",
        ACT,
        after("video", step("Unsqueeze", ints(0)), shape=(16, 112, 112, 3)),
        "ACT-2",
    ),
    mutant("float16 clip", ACT, after("video", cast(FLOAT), dtype=HALF), "ACT-3"),
    mutant("uint8 clip", NCTHW, after("video", cast(FLOAT), dtype=UINT8), "ACT-3"),
    mutant("dynamic batch", ACT, redeclare("video", shape=("N", 16, 112, 112, 3)), "COM-2"),
    mutant("any number of frames", ACT, redeclare("video", shape=(1, "T", 112, 112, 3)), "COM-2"),
    # output
    mutant("features too", ACT, add_output("conv_3", 1, 2, 4, 16, 16), "ACT-4"),
    mutant("head of Kinetics", ACT, _wide(400), "ACT-5"),
    mutant("no batch axis behind", ACT, after("class_probs", reshape(92), shape=(92,)), "ACT-5"),
    mutant("float16 logits", ACT, after("class_probs", cast(HALF), dtype=HALF), "ACT-6"),
    mutant("output called logits", ACT, rename_output("class_probs", "logits"), "ACT-10"),
    mutant("probabilities", ACT, after("class_probs", step("Softmax", axis=1)), "ACT-7"),
    mutant("probabilities", NCTHW, after("class_probs", step("Softmax", axis=1)), "ACT-7"),
    mutant("logits near 1e-9", ACT, after("class_probs", step("Mul", 1e-9)), "ACT-8"),
    mutant("logits in thousands", ACT, after("class_probs", step("Mul", 1e4)), "ACT-8"),
    # clips
    mutant("clip ignored", ACT, after("video", nothing()), "IMG-1"),
    mutant("made for 0..255", ACT, pixels_scaled(255), "IMG-2"),
    mutant("made for 0..255", NCTHW, pixels_scaled(255), "IMG-2"),
    mutant("mean/std left outside", NCTHW, bypass("normalised", "video"), "IMG-3"),
    mutant("BGR by index", ACT, after("video", step("Gather", ints(2, 1, 0), axis=4)), "IMG-4"),
    mutant("BGR by flip behind a transpose", ACT, after("frames", FLIPPED), "IMG-4"),
    mutant("BGR by a convolution", NCTHW, after("normalised", step("Conv", SWAP)), "IMG-4"),
    mutant(
        "a reshape for a transpose",
        ACT,
        both(
            after("normalised", reshape(*CLIP_FIRST)),
            bypass("frames", "normalised_step_0"),
        ),
        "IMG-6",
    ),
    mutant(
        "frames first by a reshape",
        NCTHW,
        after("video", reshape(1, 16, 3, 112, 112), step("Transpose", perm=[0, 2, 1, 3, 4])),
        "IMG-6",
    ),
]
