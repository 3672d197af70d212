"""How far two answers of class logits are apart."""

from dataclasses import dataclass

import numpy as np

from reference.agreement import (
    Array,
    Figure,
    Inside,
    Precision,
    absolute_errors,
    check_shapes,
    is_nan,
    psnr,
)

BEST = 5


@dataclass(frozen=True)
class LogitParity:
    """Two answers: the share of rows of the same class, the share of the best five classes that
    both have, and the PSNR in dB.

    `behind` is how far the class that the second finds is behind the first's own in the first, as a
    share of its range, in the worst row: near 0 where two classes were as likely.
    """

    same_class: float
    behind: float
    top5: float
    psnr: float


# Not every precision keeps the class, where two are as likely: there `behind` is what is held.
FIGURES = {
    "same_class": Figure("same class {:.0%}", {"float32": 1.0, "float16": 0.0, "w8a8": 0.0}),
    "behind": Figure(
        "class {:.2g} of the range behind",
        {"float32": 1e-4, "float16": 0.02, "w8a8": 0.2},
        upper=True,
    ),
    "top5": Figure("top-5 overlap {:.0%}", {"float32": 0.8, "float16": 0.6, "w8a8": 0.4}),
    "psnr": Figure("PSNR {:.1f} dB", {"float32": 60.0, "float16": 35.0, "w8a8": 18.0}),
}
SOURCES: dict[Precision, str] = {
    "float32": "measured on the reference model: exports are at 140 dB and of one class",
    "float16": "measured on the emulated NPU of a Galaxy S24, MobileNetV2 on 4 photographs: 79 dB"
    " with seeded weights, 39 to 45 dB with He's and calibrated norms; one class, and 4 or 5 of the"
    " best five; with some room",
    "w8a8": "measured there, the same quantised with 3 photographs: 21 to 30 dB, one class in 10 of"
    " 12, 3 to 5 of the best five; with some room",
}


def measure(reference: Array, other: Array, inside: Inside) -> LogitParity:
    """As `logit_parity`."""
    return logit_parity(reference, other)


def logit_parity(reference: Array, other: Array) -> LogitParity:
    """Logits (N, ...), a row an answer. Raises ValueError for shapes that differ."""
    check_shapes(reference, other)
    one, two = (np.reshape(logits, (len(logits), -1)) for logits in (reference, other))
    alike = (is_nan(one) == is_nan(two)).all(axis=1)
    same = (one.argmax(axis=1) == two.argmax(axis=1)) & alike
    best = [np.argsort(rows, axis=1, kind="stable")[:, -BEST:] for rows in (one, two)]
    rows = np.arange(len(one))
    lead = absolute_errors(one[rows, one.argmax(axis=1)], one[rows, two.argmax(axis=1)])
    spread = np.ptp(np.nan_to_num(one.astype(np.float64)), axis=1)
    behind = np.where(alike, lead / np.where(spread == 0, 1.0, spread), 1.0)
    shared = [np.intersect1d(a, b).size / a.size for a, b in zip(*best, strict=True)]
    top5 = np.where(alike, shared, 0.0)
    return LogitParity(
        float(same.mean()), float(behind.max()), float(top5.mean()), psnr(reference, other)
    )
