"""Fits the latency estimate to published latencies, and finds how far held-out models are off."""

import csv
import hashlib
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reference.data import fixture
from reference.npu.calibration import (
    CLASSES,
    CONVOLUTION,
    FORMULAS,
    KIN,
    KINDS,
    Calibration,
    Fit,
    Interval,
    Kinship,
    Ratio,
    Simulated,
)

QAIRT = "2.51"  # of models.tsv
FIGURES = "QAIRT 2.50"  # of published.tsv, from release 0.65.0 of qai-hub-models
COVERED = 0.8  # of the intervals

_TABLES = ("latency/models.tsv", "latency/published.tsv")
# Of each kind of runtime: its column, and the layout that its images have.
_COLUMNS = {
    "aot": ("dlc_ms", "channel-last"),
    "onnx": ("onnx_ms", "channel-first"),
    "tflite": ("tflite_ms", "channel-last"),
}
_ROUNDS, _SMALLEST = 40, 1e-3  # of the reweighting, and the relative error that it does not refine
_SETTLED = 1e-5  # of the coefficients, between two rounds
_GAIN = 0.95  # another formula than the line has to bring the error down to this part
_MIN_MODELS = 8  # of a class, for coefficients and quantiles
_NARROWEST = 0.02  # of either side of an interval, in logarithms, before it is stretched
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
Formulas = dict[str, str]  # by class
Split = Callable[[Row], str]


def by_model(row: Row) -> str:
    """Leave one out."""
    return row.model


def by_family(row: Row) -> str:
    """Leave a family out."""
    return row.family


def read_tables() -> Tables:
    """The two tables, joined: each kind of runtime with the layout that its images have."""
    simulated = {}
    for row in _rows(_TABLES[0]):
        if row["left_out"]:
            continue
        kinds = {kind: int(n) for kind, n in (f.split(":") for f in row["operators"].split())}
        whole, matrix, vector, dma = (
            float(row[f"{field}_ms"]) for field in ("simulated", "matrix", "vector", "dma")
        )
        found = Simulated(whole, matrix, vector, dma, float(row["ends_mb"]), kinds)
        simulated[row["model"], row["layout"]] = row["family"], found
    tables: Tables = {}
    for kind, (column, layout) in _COLUMNS.items():
        for row in _rows(_TABLES[1]):
            name, ms = row["model"], row[column]
            known = simulated.get((name, layout)) or simulated.get((name, "any"))
            if ms and known and known[1].suits(kind):
                entry = Row(name, *known, float(ms))
                tables.setdefault((kind, row["device"]), []).append(entry)
    return tables


def tables_version() -> str:
    """Eight digits that follow from the two tables."""
    text = b"".join(fixture(table).read_bytes().replace(b"\r\n", b"\n") for table in _TABLES)
    return hashlib.sha256(text).hexdigest()[:8]


def calibrate(tables: Tables) -> Calibration:
    """The calibration that the tables give."""
    formulas = {key: choose_formulas(rows) for key, rows in tables.items()}
    fits: dict[str, dict[str, dict[str, Fit]]] = {}
    for (kind, device), rows in tables.items():
        made = fit_classes(rows, formulas[kind, device])
        if made:
            fits.setdefault(device, {})[kind] = made
    version = tables_version()
    near = kinships(tables, formulas)
    return Calibration(version, QAIRT, FIGURES, fits, device_ratios(tables), near)


def choose_formulas(rows: Sequence[Row]) -> Formulas:
    """The formula for each class of models on one device.

    It is the line through the simulated time, unless for convolution another one clearly has the
    smaller mean error when whole families are left out. Of attention there are too few models to
    choose by.
    """
    found = {formula: _mean_error(rows, formula) for formula in FORMULAS}
    better = {name: error for name, error in found.items() if error < _GAIN * found["line"]}
    chosen = min(better, key=better.__getitem__, default="line")
    return {name: chosen if name == CONVOLUTION else "line" for name in CLASSES}


def _mean_error(rows: Sequence[Row], formula: str) -> float:
    """Of the held-out logarithmic errors of convolution, without sign."""
    errors = [abs(error) for _, error in errors_by_family(rows, formula, CONVOLUTION)]
    return float(np.mean(errors)) if errors else 0.0


def fit_classes(
    rows: Sequence[Row], formulas: Formulas, least: int = _MIN_MODELS
) -> dict[str, Fit]:
    """The fit for each class of at least so many models; its coefficients are fitted to all classes
    together.

    The interval is from models whose family was left out.
    """
    fits = {}
    for name, formula in formulas.items():
        own = [row for row in rows if row.model_class == name]
        if len(own) < least:
            continue
        sims = [row.simulated.whole for row in own]
        fits[name] = Fit(
            formula,
            fit_formula(rows, formula),
            conformal(errors_by_family(rows, formula, name)),
            (min(sims), max(sims)),
            max(row.simulated.ends for row in own),
        )
    return fits


def errors_by_family(rows: Sequence[Row], formula: str, name: str) -> list[tuple[str, float]]:
    """(family, logarithmic error) of the models of a class, each family held out in turn."""
    held = zip(rows, held_out(rows, formula, by_family), strict=True)
    return [(row.family, error) for row, error in held if row.model_class == name]


def conformal(errors: Sequence[tuple[str, float]]) -> Interval:
    """The interval that holds four of five errors of families that it was not made of.

    Quantiles of few families are too narrow for the next one. Both sides are stretched by one
    factor, the one with which the quantiles of the other families hold four of five errors.
    """
    low, high = _quantiles(error for _, error in errors)
    factor = stretch(needed_stretches(errors))
    ends = math.exp(low * factor), math.exp(high * factor)
    return Interval(_digits(ends[0], 4), _digits(ends[1], 4), len(errors))


def needed_stretches(errors: Sequence[tuple[str, float]]) -> list[float]:
    """By what the quantiles of the other families must be multiplied to reach each error."""
    found = []
    for family, error in errors:
        low, high = _quantiles(other for name, other in errors if name != family)
        found.append(error / (high if error > 0 else low))
    return found


def stretch(needed: Sequence[float]) -> float:
    """What four of five of them do not exceed, in the middle up to the next one."""
    ordered = [*sorted(needed), max(needed)]
    count = round(COVERED * len(needed))
    return math.sqrt(ordered[count - 1] * ordered[count])


def _quantiles(errors: Iterable[float]) -> tuple[float, float]:
    """What 10 % are below and 10 % above, on either side of 0.

    The quantiles are those of Weibull's positions, which do not flatter a small sample.
    """
    tails = [(1 - COVERED) / 2, (1 + COVERED) / 2]
    low, high = np.quantile(list(errors), tails, method="weibull")
    return min(float(low), -_NARROWEST), max(float(high), _NARROWEST)


def fit_formula(rows: Sequence[Row], formula: str) -> tuple[float, ...]:
    """Coefficients, none negative, of the least sum of relative errors.

    Found by reweighted least squares.
    """
    ms = np.array([row.ms for row in rows])
    terms = np.array([row.simulated.terms(formula) for row in rows]) / ms[:, None]
    weights = np.ones(len(rows))
    coefficients = np.zeros(terms.shape[1])
    for _ in range(_ROUNDS):
        last, coefficients = coefficients, _least_squares(terms * weights[:, None], weights)
        if (np.abs(coefficients - last) <= _SETTLED * last).all():
            break
        errors = np.abs(terms @ coefficients - 1)
        weights = 1 / np.sqrt(np.maximum(errors, _SMALLEST))
    return tuple(_digits(c, 5) for c in coefficients)


def interval_of(errors: Iterable[float]) -> Interval:
    """The middle 80 % of logarithmic errors, as factors."""
    values = list(errors)
    low, high = np.exp(_quantiles(values))
    return Interval(_digits(low, 4), _digits(high, 4), len(values))


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
        if len(pairs) < _MIN_MODELS:
            continue
        median = float(np.median(pairs))
        interval = interval_of(pair - median for pair in pairs)
        made[kind].setdefault(start, {})[end] = Ratio(_digits(math.exp(median), 4), interval)
    return made


def kinships(
    tables: Tables, formulas: Mapping[tuple[str, str], Formulas]
) -> dict[str, dict[str, Kinship]]:
    """What a known latency is worth for a similar model, for each kind of runtime and class.

    From all pairs of similar models of the tables, on all devices, their family left out.
    """
    made: dict[str, dict[str, Kinship]] = {kind: {} for kind in KINDS}
    for kind, name in itertools.product(KINDS, CLASSES):
        pairs = np.array(list(_pairs(tables, formulas, kind, name)))
        weight = min(_WEIGHTS, key=lambda w: np.abs(pairs[:, 1] - w * pairs[:, 0]).mean())
        interval = interval_of(pairs[:, 1] - weight * pairs[:, 0])
        made[kind][name] = Kinship(weight, interval, interval_of(pairs[:, 2]))
    return made


def _pairs(
    tables: Tables, formulas: Mapping[tuple[str, str], Formulas], kind: str, name: str
) -> Iterator[tuple[float, float, float]]:
    """Held-out errors of a model and of a similar one, and of scaling by the simulation."""
    for (of_kind, device), rows in tables.items():
        if of_kind != kind:
            continue
        held = held_out(rows, formulas[kind, device][name], by_family)
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
            try:
                solution = np.linalg.solve(gram[part], moments[list(columns)])
            except np.linalg.LinAlgError:  # fewer columns do as well
                continue
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
