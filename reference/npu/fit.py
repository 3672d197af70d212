"""Fits the latency estimate to published latencies, and finds how far held-out models are off."""

import csv
import hashlib
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import nnls

from reference.data import fixture
from reference.npu.calibration import (
    ATTENTION,
    CLASSES,
    CONVOLUTION,
    FORMULAS,
    INTEGERS,
    KIN,
    KINDS,
    SLOWEST,
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

FLOAT, W8A8 = ("models.tsv", "published.tsv"), ("models-w8a8.tsv", "published-w8a8.tsv")
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
_NARROWEST = 0.02  # of either side of an interval, in logarithms
_TAILS = ((1 - COVERED) / 2, (1 + COVERED) / 2)
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
Errors = dict[tuple[str, str], dict[str, list[float]]]  # the same, by formula; in the rows' order
Cell = tuple[str, str, str]  # kind of runtime, device, class
Fits = dict[str, dict[str, dict[str, Fit]]]  # by device, kind of runtime, class
Split = Callable[[Row], str]


def by_model(row: Row) -> str:
    """Leave one out."""
    return row.model


def by_family(row: Row) -> str:
    """Leave a family out."""
    return row.family


def read_tables(names: tuple[str, str] = FLOAT) -> Tables:
    """The two tables, joined: each kind of runtime with the layout that its images have."""
    simulated = {}
    for row in _rows(names[0]):
        if row["left_out"]:
            continue
        kinds = {kind: int(n) for kind, n in (f.split(":") for f in row["operators"].split())}
        whole, matrix, vector, dma = (
            float(row[f"{field}_ms"]) for field in ("simulated", "matrix", "vector", "dma")
        )
        ends = float(row["ends_mb"])
        found = Simulated(whole, matrix, vector, dma, ends, kinds, quantised=names == W8A8)
        simulated[row["model"], row["layout"]] = row["family"], found
    tables: Tables = {}
    for kind, (column, layout) in _COLUMNS.items():
        for row in _rows(names[1]):
            name, ms = row["model"], row.get(column)
            known = simulated.get((name, layout)) or simulated.get((name, "any"))
            if ms and known and known[1].suits(kind):
                entry = Row(name, *known, float(ms))
                tables.setdefault((kind, row["device"]), []).append(entry)
    return tables


def tables_version() -> str:
    """Eight digits that follow from the tables."""
    files = (fixture(f"latency/{name}").read_bytes() for name in (*FLOAT, *W8A8))
    text = b"".join(content.replace(b"\r\n", b"\n") for content in files)
    return hashlib.sha256(text).hexdigest()[:8]


def calibrate(tables: Tables, quantised: Tables) -> Calibration:
    """The calibration that the tables of float and of quantised models give."""
    errors = held_out_errors(tables)
    formulas = choose_formulas(tables, errors)
    fits = fit_tables(tables)
    for device, kinds in fit_tables(quantised).items():
        for kind, classes in kinds.items():
            fits.setdefault(device, {}).setdefault(kind, {}).update(classes)
    near = kinships(tables, formulas, errors)
    return Calibration(tables_version(), QAIRT, FIGURES, fits, device_ratios(tables), near)


def held_out_errors(tables: Tables) -> Errors:
    """log(true / expected) by kind of runtime, device and formula, each family left out in turn."""
    return {
        key: {formula: held_out(rows, formula, by_family) for formula in FORMULAS}
        for key, rows in tables.items()
    }


def choose_formulas(tables: Tables, errors: Errors) -> dict[tuple[str, str], Formulas]:
    """The formula for each class of models on each device.

    It is the line through the simulated time, unless for convolution another one has the smaller
    error when families are left out. One device alone would choose by the accidents of a family or
    two: half of what decides is the error on it, and half that on all devices of the kind of
    runtime. Of other classes there are too few models to choose by.
    """
    own = {key: _mean_errors(rows, errors[key]) for key, rows in tables.items()}
    chosen = {}
    for key in tables:
        alike = [found for other, found in own.items() if other[0] == key[0] and found]
        score = {f: e + np.mean([found[f] for found in alike]) for f, e in own[key].items()}
        best = min(score, key=score.__getitem__, default="line")
        best = best if score and score[best] < _GAIN * score["line"] else "line"
        chosen[key] = {name: best if name == CONVOLUTION else "line" for name in CLASSES}
    return chosen


def _mean_errors(rows: Sequence[Row], errors: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """By formula: the logarithmic error of convolution without sign, each family counted once."""
    families = sorted({row.family for row in rows if row.model_class == CONVOLUTION})
    return {
        formula: float(
            np.mean(
                [
                    np.mean([abs(e) for r, e in zip(rows, found, strict=True) if _is(r, family)])
                    for family in families
                ]
            )
        )
        for formula, found in errors.items()
        if families
    }


def _is(row: Row, family: str) -> bool:
    return row.family == family and row.model_class == CONVOLUTION


def fit_tables(tables: Tables, least: int = _MIN_MODELS) -> Fits:
    """The fits by device, kind of runtime and class, of at least so many models.

    Coefficients are fitted to all classes of the tables together. Intervals are from models whose
    family was left out.
    """
    errors = held_out_errors(tables)
    formulas = choose_formulas(tables, errors)
    cells = errors_by_class(tables, formulas, errors)
    enough = {cell: found for cell, found in cells.items() if len(found) >= least}
    fits: Fits = {}
    for (kind, device, name), interval in intervals(enough).items():
        rows = tables[kind, device]
        own = [row.simulated for row in rows if row.model_class == name]
        formula = formulas[kind, device][name]
        if name == INTEGERS:
            interval = replace(interval, high=max(interval.high, SLOWEST))
        fits.setdefault(device, {}).setdefault(kind, {})[name] = Fit(
            formula,
            fit_formula(rows, formula),
            interval,
            (min(simulated.whole for simulated in own), max(simulated.whole for simulated in own)),
            max(simulated.ends for simulated in own),
        )
    return fits


def errors_by_class(
    tables: Tables, formulas: Mapping[tuple[str, str], Formulas], errors: Errors
) -> dict[Cell, list[float]]:
    """The held-out errors of the chosen formulas by kind of runtime, device and class."""
    cells: dict[Cell, list[float]] = {}
    for (kind, device), rows in tables.items():
        for index, row in enumerate(rows):
            name = row.model_class
            error = errors[kind, device][formulas[kind, device][name]][index]
            cells.setdefault((kind, device, name), []).append(error)
    return cells


def intervals(cells: Mapping[Cell, Sequence[float]]) -> dict[Cell, Interval]:
    """The intervals that hold four of five of the held-out errors of each device (conformal).

    A device has too few errors for both ends. How the two compare is taken from all devices of the
    kind of runtime and class, whose errors count in units of their own device's mean; how far they
    reach is the device's own.
    """
    sides = {(kind, name): _sides(cells, kind, name) for kind, _, name in cells}
    made = {}
    for (kind, device, name), errors in cells.items():
        low, high = sides[kind, name]
        reaches = [error / (high if error > 0 else low) for error in errors]
        reach = float(np.quantile(reaches, COVERED, method="median_unbiased"))
        made[kind, device, name] = _interval(low * reach, high * reach, len(errors))
    return made


def _sides(cells: Mapping[Cell, Sequence[float]], kind: str, name: str) -> tuple[float, float]:
    """What 10 % of the errors are below and 10 % above, in units of their device's mean error."""
    found = [np.array(e) for (k, _, n), e in cells.items() if (k, n) == (kind, name)]
    pooled = np.concatenate([errors / np.abs(errors).mean() for errors in found])
    low, high = np.quantile(pooled, _TAILS)
    return min(float(low), -_NARROWEST), max(float(high), _NARROWEST)


def fit_formula(rows: Sequence[Row], formula: str) -> tuple[float, ...]:
    """Coefficients, none negative, of the least sum of relative errors.

    Found by reweighted least squares without negative coefficients.
    """
    ms = np.array([row.ms for row in rows])
    terms = np.array([row.simulated.terms(formula) for row in rows]) / ms[:, None]
    weights = np.ones(len(rows))
    coefficients = np.zeros(terms.shape[1])
    for _ in range(_ROUNDS):
        last, coefficients = coefficients, nnls(terms * weights[:, None], weights)[0]
        if (np.abs(coefficients - last) <= _SETTLED * last).all():
            break
        errors = np.abs(terms @ coefficients - 1)
        weights = 1 / np.sqrt(np.maximum(errors, _SMALLEST))
    return tuple(_digits(c, 5) for c in coefficients)


def interval_of(errors: Iterable[float]) -> Interval:
    """The middle 80 % of logarithmic errors, as factors."""
    values = list(errors)
    low, high = np.quantile(values, _TAILS, method="weibull")  # does not flatter a small sample
    return _interval(float(low), float(high), len(values))


def _interval(low: float, high: float, count: int) -> Interval:
    """Of ends in logarithms, neither closer to 0 than the narrowest."""
    ends = math.exp(min(low, -_NARROWEST)), math.exp(max(high, _NARROWEST))
    return Interval(_digits(ends[0], 4), _digits(ends[1], 4), count)


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
    tables: Tables, formulas: Mapping[tuple[str, str], Formulas], errors: Errors
) -> dict[str, dict[str, Kinship]]:
    """What a known latency is worth for a similar model, for each kind of runtime and class.

    From all pairs of similar models of the tables, on all devices, their family left out.
    """
    made: dict[str, dict[str, Kinship]] = {kind: {} for kind in KINDS}
    for kind, name in itertools.product(KINDS, (CONVOLUTION, ATTENTION)):
        pairs = np.array(list(_pairs(tables, formulas, errors, kind, name)))
        weight = min(_WEIGHTS, key=lambda w: np.abs(pairs[:, 1] - w * pairs[:, 0]).mean())
        interval = interval_of(pairs[:, 1] - weight * pairs[:, 0])
        made[kind][name] = Kinship(weight, interval, interval_of(pairs[:, 2]))
    return made


def _pairs(
    tables: Tables,
    formulas: Mapping[tuple[str, str], Formulas],
    errors: Errors,
    kind: str,
    name: str,
) -> Iterator[tuple[float, float, float]]:
    """Held-out errors of a model and of a similar one, and of scaling by the simulation."""
    for (of_kind, device), rows in tables.items():
        if of_kind != kind:
            continue
        held = errors[kind, device][formulas[kind, device][name]]
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


def _digits(value: float, count: int) -> float:
    return float(f"{value:.{count}g}")


def _rows(table: str) -> list[dict[str, str]]:
    with fixture(f"latency/{table}").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))
