"""Image classification: its own rules, and the common ones where this track has them otherwise."""

import numpy as np

from conformance.selftest.mutants.mutant import CLS, FLOAT, cast, ints, mutant, nothing, reshape
from conformance.selftest.surgery import Change, after, both, bypass, constant, redeclare, step
from reference.classification.contract import CLASSES


def _trained_in(order: list[str]) -> Change:
    """A model that has numbered the classes as in `order`."""
    places = np.array([CLASSES.index(name) for name in order])
    return constant("head", lambda head: head[:, places])


def _wide(width: int) -> Change:
    return both(
        constant("head", lambda head: np.resize(head, (192, width))),
        redeclare("logits", shape=(1, width)),
    )


RAMP = np.arange(64, dtype=np.float32) / 10
BOAT = np.float32(40) * (np.arange(64) == CLASSES.index("boat"))

MUTANTS = [
    mutant("head of ImageNet", CLS, _wide(1000), "CLS-5"),
    mutant("head of COCO", CLS, _wide(80), "CLS-5"),
    mutant("no batch axis", CLS, after("logits", reshape(64), shape=(64,)), "CLS-5"),
    mutant(
        "pooled to 1x1", CLS, after("logits", reshape(1, 64, 1, 1), shape=(1, 64, 1, 1)), "CLS-5"
    ),
    mutant("mean/std left outside", CLS, bypass("normalised", "image"), "IMG-3"),
    mutant("picture ignored", CLS, after("image", nothing()), "IMG-1", "CLS-9"),
    mutant("probabilities", CLS, after("logits", step("Softmax", axis=1)), "CLS-7"),
    mutant(
        "probabilities in percent",
        CLS,
        after("logits", step("Softmax", axis=1), step("Mul", 100.0)),
        "CLS-7",
    ),
    mutant("one-hot class", CLS, after("logits", step("Hardmax", axis=1)), "CLS-7", "COM-5"),
    mutant(
        "logarithms of probabilities", CLS, after("logits", step("LogSoftmax", axis=1)), "CLS-7"
    ),
    mutant("a probability a class", CLS, after("logits", step("Sigmoid")), "CLS-7"),
    mutant(
        "class number in each place",
        CLS,
        after(
            "logits", step("ArgMax", axis=1, keepdims=1), cast(FLOAT), step("Expand", ints(1, 64))
        ),
        "CLS-7",
    ),
    mutant("logits near 1e-9", CLS, after("logits", step("Mul", 1e-9)), "CLS-8"),
    mutant("one class for everything", CLS, after("logits", step("Add", BOAT)), "CLS-9"),
    mutant(
        "answers apart by rounding",
        CLS,
        after("logits", step("Mul", 1e-3), step("Add", RAMP)),
        "IMG-5",
    ),
    mutant("classes by the alphabet", CLS, _trained_in(sorted(CLASSES)), "CLS-10"),
    mutant("classes backwards", CLS, _trained_in(list(reversed(CLASSES))), "CLS-10"),
    mutant("classes from 1", CLS, _trained_in(["hair drier", *CLASSES[:-1]]), "CLS-10"),
]
