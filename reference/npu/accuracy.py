"""How far the latency estimate is off for models that it was not fitted to, as tables."""

import csv
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from reference.data import fixture
from reference.npu.calibration import CLASSES, KINDS, Fit
from reference.npu.fit import (
    Row,
    Tables,
    by_family,
    expected,
    fit_formula,
    fit_tables,
    held_out,
)

_HEAD = """# How far the estimate is off

Written by `python -m reference.npu.calibrate`. Errors are of models that were held out: median and
90th percentile of |estimate / published - 1|, in percent. `one` leaves one model out, `family` all
of its kind, which also leaves out the choice of the formula, and `line` is what a straight line
through the simulated time alone has when a family is left out. `covered` is the part of the
published latencies inside the estimate's own interval, laid around what is estimated without their
family; `nested` leaves the family out of the interval too. `before` is what `family` and `covered`
were with the calibration to release 0.46.1 (QAIRT 2.42, onnx 2.37) and its latencies, where there
was one for that chip.
"""
_COLUMNS = (
    "runtime",
    "device",
    "class",
    "n",
    "formula",
    "one",
    "family",
    "line",
    "within 20 %",
    "covered",
    "nested",
    "before",
)
_BEFORE = "latency/errors-0.46.1.tsv"
_LEAST = 4  # models of a class beside a family that is left out


@dataclass(frozen=True)
class Guess:
    """An estimate with its interval, in milliseconds."""

    ms: float
    low: float
    high: float


@dataclass(frozen=True)
class HeldOut:
    """One published latency and what is estimated without it: without the model, without its
    family, and without its family by the line alone (milliseconds).

    `covered` says whether it is inside the calibrated interval around the estimate without its
    family; the interval of `family` knows nothing of it.
    """

    kind: str
    device: str
    row: Row
    formula: str
    one: float
    family: Guess
    line: float
    covered: bool


def held_out_estimates(tables: Tables) -> list[HeldOut]:
    """Every published latency with its held-out estimates, of classes with enough models."""
    fits, families = fit_tables(tables), _without_families(tables)
    found = []
    for (kind, device), rows in tables.items():
        lines = held_out(rows, "line", by_family)
        for row, error in zip(rows, lines, strict=True):
            fit = fits.get(device, {}).get(kind, {}).get(row.model_class)
            family = families.get((kind, device, row.model))
            if fit is None or family is None:
                continue
            others = [other for other in rows if other is not row]
            found.append(
                HeldOut(
                    kind,
                    device,
                    row,
                    fit.formula,
                    expected(fit_formula(others, fit.formula), row, fit.formula),
                    family,
                    row.ms / float(np.exp(error)),
                    _covered(tables[kind, device], row, fit),
                )
            )
    return found


def _covered(rows: Sequence[Row], row: Row, fit: Fit) -> bool:
    """Whether the latency is inside the interval around what the other families make expected."""
    others = [other for other in rows if other.family != row.family]
    ms = expected(fit_formula(others, fit.formula), row, fit.formula)
    return fit.interval.low <= row.ms / ms <= fit.interval.high


def _without_families(tables: Tables) -> dict[tuple[str, str, str], Guess]:
    """Each device's models by the fits to the other families, where these are enough."""
    found = {}
    for family in sorted({row.family for rows in tables.values() for row in rows}):
        kept = {k: [r for r in rows if r.family != family] for k, rows in tables.items()}
        fits = fit_tables(kept, least=_LEAST)
        for (kind, device), rows in tables.items():
            for row in rows:
                fit = fits.get(device, {}).get(kind, {}).get(row.model_class)
                if row.family == family and fit:
                    found[kind, device, row.model] = _guess(fit, row)
    return found


def _guess(fit: Fit, row: Row) -> Guess:
    ms = fit.predict(row.simulated)
    return Guess(ms, ms * fit.interval.low, ms * fit.interval.high)


def accuracy_tables(found: Sequence[HeldOut]) -> str:
    """The tables as Markdown."""
    before = _before()
    lines = [_HEAD, _row(_COLUMNS), _row("---" for _ in _COLUMNS)]
    for kind in (kind for kind in KINDS if any(one.kind == kind for one in found)):
        devices = sorted({one.device for one in found if one.kind == kind})
        for device, name in itertools.product((*devices, "all devices"), (*CLASSES, "all")):
            chosen = [
                one
                for one in found
                if one.kind == kind
                and device in (one.device, "all devices")
                and name in (one.row.model_class, "all")
            ]
            if chosen:
                old = before.get((kind, device, name), "")
                lines.append(_row([kind, device, name, *_cells(chosen), old]))
    return "\n".join([*lines, "", *_worst(found)]) + "\n"


def _before() -> dict[tuple[str, str, str], str]:
    with fixture(_BEFORE).open(encoding="utf-8", newline="") as file:
        return {
            (row["runtime"], row["device"], row["class"]): f"{row['family']}, {row['covered']}"
            for row in csv.DictReader(file, delimiter="\t")
        }


def _cells(found: Sequence[HeldOut]) -> list[str]:
    ones, families, lines = (
        [abs(ms / one.row.ms - 1) for one, ms in zip(found, column, strict=True)]
        for column in (
            [one.one for one in found],
            [one.family.ms for one in found],
            [one.line for one in found],
        )
    )
    formulas = {one.formula for one in found}
    return [
        str(len(found)),
        formulas.pop() if len(formulas) == 1 else "",
        *(_errors(errors) for errors in (ones, families, lines)),
        f"{np.mean(np.array(families) <= 0.2):.0%}",
        f"{np.mean([one.covered for one in found]):.0%}",
        f"{np.mean([_covers(one.family, one.row) for one in found]):.0%}",
    ]


def _worst(found: Sequence[HeldOut]) -> list[str]:
    """The models that are furthest off on average over the devices, their family left out."""
    lines = ["## Furthest off", "", _row(("runtime", "model", "family", "class", "mean factor"))]
    lines.append(_row(["---"] * 5))
    for kind in (kind for kind in KINDS if any(one.kind == kind for one in found)):
        factors: dict[str, list[float]] = {}
        rows = {one.row.model: one.row for one in found}
        for one in found:
            if one.kind == kind:
                factors.setdefault(one.row.model, []).append(np.log(one.row.ms / one.family.ms))
        mean = {model: float(np.mean(values)) for model, values in factors.items()}
        for model in sorted(mean, key=lambda model: -abs(mean[model]))[:8]:
            row = rows[model]
            factor = f"{np.exp(mean[model]):.2f}"
            lines.append(_row([kind, model, row.family, row.model_class, factor]))
    return lines


def _covers(guess: Guess, row: Row) -> bool:
    return guess.low <= row.ms <= guess.high


def _errors(errors: Sequence[float]) -> str:
    return f"{100 * np.median(errors):.1f} / {100 * np.percentile(errors, 90):.1f}"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
