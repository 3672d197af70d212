"""Small ways of looking at arrays that several rules share."""

from collections.abc import Iterable

import numpy as np

from conformance.contract.evidence import Run
from reference.tracks import format_shape

# Of the length of an embedding, or the range of another answer.
ROUNDING = 1e-6
# From 1 to the next float32.
ULP = float(np.spacing(np.float32(1)))
# Of the width of a range, for what a compiled model answers: 1.0 comes back as 1.0000001.
SLACK = 1e-6


def describe(array: np.ndarray) -> str:
    """`float32 1x1x480x640, -0.2..1.3`."""
    text = f"{array.dtype} {format_shape(array.shape)}"
    if array.size == 0 or array.dtype.kind not in "biuf":
        return text
    return f"{text}, {array.min():.7g}..{array.max():.7g}"


def first_offence(bad: np.ndarray, array: np.ndarray) -> str:
    """`12 of 307200 values, first at (0, 0, 3, 7): 1.3` for the elements where `bad` holds."""
    index = np.unravel_index(int(np.argmax(bad)), bad.shape)
    place = ", ".join(str(int(i)) for i in index)
    count = int(np.count_nonzero(bad))
    return f"{count} of {bad.size} values, first at ({place}): {array[index]!s}"


def misfits(run: Run, *, compiled: bool = False) -> dict[str, np.ndarray]:
    """Where an answer is not what the contract says of the output's values, by what it is there:
    neither 0 nor 1 of a mask, beyond a range by more than one unit in the last place, or not a
    number. What nothing is wrong with is left out. An answer of a `compiled` model has the slack
    that its rules leave.
    """
    values, wanted = run.output, run.part.output
    finite = np.isfinite(values) if values.dtype.kind == "f" else np.ones(values.shape, bool)
    found = {"not finite": ~finite}
    if wanted.kind == "binary":
        off = np.minimum(np.abs(values), np.abs(values - 1))
        found["neither 0 nor 1"] = finite & (off > (ULP if compiled else 0))
    elif wanted.values is not None:
        low, high = wanted.values
        below, above = [SLACK * (high - low)] * 2 if compiled else (ulp(low), ulp(high))
        found[f"below {low:g}"] = finite & (values < low - below)
        found[f"above {high:g}"] = finite & (values > high + above)
    return {what: where for what, where in found.items() if where.any()}


def ulp(end: float) -> float:
    """One unit in the last place of a range's end, in float32; 0 of an open end.

    onnxruntime's own Sigmoid and Tanh come out that far beyond.
    """
    return float(np.spacing(np.float32(max(abs(end), 1.0)))) if np.isfinite(end) else 0.0


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two answers are equal to the bit, dtype and shape included."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """1 - Pearson correlation of two answers: 0 for the same up to scale and offset.

    0 where both are constant and 1 where one is. NaN where a value is not finite or the shapes
    differ.
    """
    if a.shape != b.shape:
        return float("nan")
    x, y = (np.asarray(v, dtype=np.float64).reshape(-1) for v in (a, b))
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return float("nan")
    x, y = x - x.mean(), y - y.mean()
    norm = float(np.sqrt((x @ x) * (y @ y)))
    if norm == 0:
        return 0.0 if not x.any() and not y.any() else 1.0
    return float(1 - (x @ y) / norm)


def change(a: Run, b: Run) -> float:
    """How far two answers are apart: the largest difference as a share of the range of the first.

    Of a binary mask, the share of pixels that differ. Infinite for different shapes, NaN where a
    value is not finite.
    """
    if a.output.shape != b.output.shape:
        return float("inf")
    x, y = (np.asarray(run.output, dtype=np.float64) for run in (a, b))
    if a.part.output.kind == "binary":
        return float(np.mean(x != y))
    spread = float(x.max() - x.min()) or 1.0
    return float(np.max(np.abs(x - y))) / spread


def told_apart(a: Run, b: Run) -> bool:
    """Whether two answers differ by more than rounding, as their track's score sees them.

    Masks in a pixel that belongs to the pictures of both, embeddings in direction, and others in a
    value; the latter two by more than 1e-6 of their length or range.
    """
    if a.output.shape != b.output.shape:
        return True
    x, y = (np.asarray(run.output, dtype=np.float64) for run in (a, b))
    if a.part.output.kind == "binary":
        return not np.array_equal(_inside(x, a, b), _inside(y, a, b))
    if a.part.output.kind == "embedding":
        return bool(np.linalg.norm(_unit(x) - _unit(y)) > ROUNDING)
    return change(a, b) > ROUNDING


def _inside(mask: np.ndarray, *runs: Run) -> np.ndarray:
    """The part of a mask that all pictures cover, where they are letterboxed."""
    for run in runs:
        if run.probe.content is not None:
            height, width = run.probe.content
            mask = mask[..., :height, :width]
    return mask


def _unit(embedding: np.ndarray) -> np.ndarray:
    length = float(np.linalg.norm(embedding))
    return embedding / length if length else embedding


def value_range(runs: Iterable[Run]) -> str:
    """`0..1 over 8 probes`: the range of the finite values of all outputs."""
    outputs = [run.output for run in runs]
    finite = [output[np.isfinite(output)] for output in outputs]
    finite = [values for values in finite if values.size]
    if not finite:
        return f"no finite value over {len(outputs)} probes"
    # Adding 0 makes -0 a plain one.
    low, high = min(v.min() for v in finite) + 0.0, max(v.max() for v in finite) + 0.0
    return f"{low:.6g}..{high:.6g} over {len(outputs)} probes"


def is_finite(run: Run) -> bool:
    """Whether an answer has no NaN and no infinity, so that it can be compared at all."""
    return run.output.dtype.kind != "f" or bool(np.isfinite(run.output).all())
