"""Fits the latency estimate to published latencies, and finds how far held-out models are off."""

import csv
import hashlib
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from reference.data import fixture
from reference.npu.calibration import (
    CLASSES,
    FORMULAS,
    KIN,
    UNCOSTED_SHARE,
    Calibration,
    Fit,
    Interval,
    Kinship,
    Ratio,
    Simulated,
)

QAIRT = "2.51"  # of models.tsv
KINDS = ("aot", "onnx")
COVERED = 0.8  # of the intervals

_TABLES = ("latency/models.tsv", "latency/published.tsv")
_ROUNDS, _SMALLEST = 40, 1e-3  # of the reweighting, and the relative error that it does not refine
_GAIN = 0.95  # another formula than the line has to bring the error down to this part
_MIN_MODELS = 8  # of a class, for coefficients and quantiles
_WEIGHTS = [step / 20 for step in range(21)]


@dataclass(frozen=True)
class Row:
    """A model that was simulated, and its latency on one device."""

    model: str
    family: str
    simulated: Simulated
    ms: float

    @property
    def model_class(self) -> str:
        """As `Simulated.model_class`."""
        return self.simulated.model_class


Tables = dict[tuple[str, str], list[Row]]  # by kind of runtime and device
Formulas = dict[tuple[str, str], str]  # by kind of runtime and class
Split = Callable[[Row], str]


def by_model(row: Row) -> str:
    """Leave one out."""
    return row.model


def by_family(row: Row) -> str:
    """Leave a family out."""
    return row.family


def read_tables() -> Tables:
    """The two tables, joined: `aot` with channel-last images, `onnx` with channel-first ones."""
    simulated = {}
    for row in _rows(_TABLES[0]):
        kinds = {kind: int(n) for kind, n in (f.split(":") for f in row["operators"].split())}
        if row["left_out"] or int(row["uncosted"]) > UNCOSTED_SHARE * sum(kinds.values()):
            continue
        whole, matrix, vector, dma = (
            float(row[f"{field}_ms"]) for field in ("simulated", "matrix", "vector", "dma")
        )
        found = Simulated(whole, matrix, vector, dma, float(row["ends_mb"]), kinds)
        simulated[row["model"], row["layout"]] = row["family"], found
    tables: Tables = {}
    for kind, layout in zip(KINDS, ("channel-last", "channel-first"), strict=True):
        for row in _rows(_TABLES[1]):
            name, ms = row["model"], row[f"{kind}_ms"]
            known = simulated.get((name, layout)) or simulated.get((name, "any"))
            if ms and known:
                entry = Row(name, *known, float(ms))
                tables.setdefault((kind, row["device"]), []).append(entry)
    return tables


def tables_version() -> str:
    """Eight digits that follow from the two tables."""
    text = b"".join(fixture(table).read_bytes().replace(b"\r\n", b"\n") for table in _TABLES)
    return hashlib.sha256(text).hexdigest()[:8]


def calibrate(tables: Tables) -> Calibration:
    """The calibration that the tables give."""
    formulas = choose_formulas(tables)
    fits: dict[str, dict[str, dict[str, Fit]]] = {}
    for (kind, device), rows in tables.items():
        made = fit_classes(rows, {name: formulas[kind, name] for name in CLASSES})
        fits.setdefault(device, {})[kind] = made
    return Calibration(
        tables_version(), QAIRT, fits, device_ratios(tables), kinships(tables, formulas)
    )


def choose_formulas(tables: Tables) -> Formulas:
    """The formula for a kind of runtime and a class of models, the same for all devices.

    It is the line through the simulated time, unless another one clearly has the smaller error over
    all devices when whole families are left out, and no larger one for the worst tenth.
    """
    chosen = {}
    for kind in sorted({kind for kind, _ in tables}):
        errors = {formula: _errors(tables, kind, formula) for formula in FORMULAS}
        for name in CLASSES:
            found = {formula: _spread(errors[formula][name]) for formula in FORMULAS}
            mean, worst = found["line"]
            better = {
                formula: error
                for formula, (error, tail) in found.items()
                if error < _GAIN * mean and tail <= worst
            }
            chosen[kind, name] = min(better, key=better.__getitem__, default="line")
    return chosen


def _errors(tables: Tables, kind: str, formula: str) -> dict[str, list[float]]:
    """The held-out logarithmic errors on all devices, without sign, for each class."""
    found: dict[str, list[float]] = {name: [] for name in CLASSES}
    for (of_kind, _), rows in tables.items():
        if of_kind == kind:
            for row, error in zip(rows, held_out(rows, formula, by_family), strict=True):
                found[row.model_class].append(abs(error))
    return found


def _spread(errors: Sequence[float]) -> tuple[float, float]:
    """Mean and 90th percentile."""
    return float(np.mean(errors)), float(np.percentile(errors, 90))


def fit_classes(rows: Sequence[Row], formulas: dict[str, str]) -> dict[str, Fit]:
    """The fit for each class with enough models; coefficients are fitted to all classes together.

    The interval is from models whose family was left out.
    """
    fits = {}
    for name, formula in formulas.items():
        own = [row for row in rows if row.model_class == name]
        if len(own) < _MIN_MODELS:
            continue
        held = held_out(rows, formula, by_family)
        errors = [error for row, error in zip(rows, held, strict=True) if row.model_class == name]
        sims = [row.simulated.whole for row in own]
        fits[name] = Fit(
            formula,
            fit_formula(rows, formula),
            interval_of(errors),
            (min(sims), max(sims)),
            max(row.simulated.ends for row in own),
        )
    return fits


def fit_formula(rows: Sequence[Row], formula: str) -> tuple[float, ...]:
    """Coefficients, none negative, of the least sum of relative errors.

    Found by reweighted least squares.
    """
    ms = np.array([row.ms for row in rows])
    terms = np.array([row.simulated.terms(formula) for row in rows]) / ms[:, None]
    weights = np.ones(len(rows))
    coefficients = np.zeros(terms.shape[1])
    for _ in range(_ROUNDS):
        coefficients = _least_squares(terms * weights[:, None], weights)
        errors = np.abs(terms @ coefficients - 1)
        weights = 1 / np.sqrt(np.maximum(errors, _SMALLEST))
    return tuple(_digits(c, 5) for c in coefficients)


def interval_of(errors: Iterable[float]) -> Interval:
    """The middle 80 % of logarithmic errors, as factors, and what is expected itself.

    The quantiles are those of Weibull's positions, which do not flatter a small sample.
    """
    values = list(errors)
    tails = [(1 - COVERED) / 2, (1 + COVERED) / 2]
    low, high = np.exp(np.quantile(values, tails, method="weibull"))
    return Interval(min(1.0, _digits(low, 4)), max(1.0, _digits(high, 4)), len(values))


def device_ratios(tables: Tables) -> dict[str, dict[str, dict[str, Ratio]]]:
    """How the latencies of one model on two devices compare."""
    made: dict[str, dict[str, dict[str, Ratio]]] = {kind: {} for kind in KINDS}
    for (kind, start), (other, end) in itertools.permutations(tables, 2):
        if kind != other:
            continue
        there = {row.model: row.ms for row in tables[kind, end]}
        pairs = [
            math.log(there[row.model] / row.ms) for row in tables[kind, start] if row.model in there
        ]
        median = float(np.median(pairs))
        interval = interval_of(pair - median for pair in pairs)
        made[kind].setdefault(start, {})[end] = Ratio(_digits(math.exp(median), 4), interval)
    return made


def kinships(tables: Tables, formulas: Formulas) -> dict[str, dict[str, Kinship]]:
    """What a known latency is worth for a similar model, for each kind of runtime and class.

    From all pairs of similar models of the tables, on all devices, their family left out.
    """
    made: dict[str, dict[str, Kinship]] = {kind: {} for kind in KINDS}
    for kind, name in itertools.product(KINDS, CLASSES):
        pairs = np.array(list(_pairs(tables, kind, name, formulas[kind, name])))
        weight = min(_WEIGHTS, key=lambda w: np.abs(pairs[:, 1] - w * pairs[:, 0]).mean())
        interval = interval_of(pairs[:, 1] - weight * pairs[:, 0])
        made[kind][name] = Kinship(weight, interval, interval_of(pairs[:, 2]))
    return made


def _pairs(
    tables: Tables, kind: str, name: str, formula: str
) -> Iterator[tuple[float, float, float]]:
    """Held-out errors of a model and of a similar one, and of scaling by the simulation."""
    for (of_kind, _), rows in tables.items():
        if of_kind != kind:
            continue
        held = held_out(rows, formula, by_family)
        own = [(row, r) for row, r in zip(rows, held, strict=True) if row.model_class == name]
        for (known, error), (row, other) in itertools.permutations(own, 2):
            if row.simulated.likeness(known.simulated) >= KIN:
                scaled = known.ms * row.simulated.whole / known.simulated.whole
                yield error, other, math.log(row.ms / scaled)


def held_out(rows: Sequence[Row], formula: str, split: Split) -> list[float]:
    """log(true / expected) of each row, by a fit to the rows of the other groups."""
    errors = {}
    for group in sorted({split(row) for row in rows}):
        kept = [row for row in rows if split(row) != group]
        coefficients = fit_formula(kept, formula)
        for row in rows:
            if split(row) == group:
                errors[row.model] = math.log(row.ms / expected(coefficients, row, formula))
    return [errors[row.model] for row in rows]


def expected(coefficients: Sequence[float], row: Row, formula: str) -> float:
    """Milliseconds by those coefficients."""
    return float(np.dot(coefficients, row.simulated.terms(formula)))


def _least_squares(matrix: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The least-squares solution without negative entries: the best over all sets of columns."""
    gram, moments = matrix.T @ matrix, matrix.T @ target
    width = len(moments)
    best, least = np.zeros(width), 0.0
    for size in range(width, 0, -1):
        for columns in itertools.combinations(range(width), size):
            part = np.ix_(columns, columns)
            solution = np.linalg.lstsq(gram[part], moments[list(columns)], rcond=None)[0]
            loss = -float(moments[list(columns)] @ solution)
            if (solution >= 0).all() and loss < least:
                least = loss
                best = np.zeros(width)
                best[list(columns)] = solution
        if size == width and least < 0:  # nothing better can be among fewer columns
            break
    return best


def _digits(value: float, count: int) -> float:
    return float(f"{value:.{count}g}")


def _rows(table: str) -> list[dict[str, str]]:
    with fixture(table).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))
