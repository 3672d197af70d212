"""How far the latency estimate is off for models that it was not fitted to, as tables."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from reference.npu.calibration import CLASSES, Fit
from reference.npu.fit import (
    Row,
    Tables,
    by_family,
    choose_formulas,
    fit_classes,
    held_out,
)

_HEAD = """# How far the estimate is off

Written by `python -m reference.npu.calibrate`. Errors are of models that were held out: median and
90th percentile of |estimate / published - 1|, in percent. `one` leaves one model out, `family` all
of its kind, which also leaves out the choice of the formula, and `line` is what a straight line
through the simulated time alone has when a family is left out. `covered` is the part of the
published latencies inside the 80 % interval that the other models (or families) give.
"""
_COLUMNS = (
    "runtime",
    "device",
    "class",
    "n",
    "one",
    "family",
    "line",
    "within 20 %",
    "covered, one",
    "covered, family",
)


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
    """

    kind: str
    device: str
    row: Row
    one: Guess
    family: Guess
    line: float


def held_out_estimates(tables: Tables) -> list[HeldOut]:
    """Every published latency with its held-out estimates."""
    formulas = choose_formulas(tables)
    ones: dict[tuple[str, str, str], Guess] = {}
    for (kind, device), rows in tables.items():
        own = {name: formulas[kind, name] for name in CLASSES}
        for row in rows:
            fits = fit_classes([other for other in rows if other is not row], own)
            ones[kind, device, row.model] = _guess(fits, row)
    families = dict(_without_families(tables))
    found = []
    for (kind, device), rows in tables.items():
        for row, error in zip(rows, held_out(rows, "line", by_family), strict=True):
            key = kind, device, row.model
            line = row.ms / float(np.exp(error))
            found.append(HeldOut(kind, device, row, ones[key], families[key], line))
    return found


def _without_families(tables: Tables) -> Iterator[tuple[tuple[str, str, str], Guess]]:
    for family in sorted({row.family for rows in tables.values() for row in rows}):
        kept = {key: [r for r in rows if r.family != family] for key, rows in tables.items()}
        formulas = choose_formulas(kept)
        for (kind, device), rows in tables.items():
            fits = fit_classes(kept[kind, device], {n: formulas[kind, n] for n in CLASSES})
            for row in rows:
                if row.family == family:
                    yield (kind, device, row.model), _guess(fits, row)


def _guess(fits: dict[str, Fit], row: Row) -> Guess:
    fit = fits[row.model_class]
    ms = fit.predict(row.simulated)
    return Guess(ms, ms * fit.interval.low, ms * fit.interval.high)


def accuracy_tables(found: Sequence[HeldOut]) -> str:
    """The tables as Markdown."""
    lines = [_HEAD, _row(_COLUMNS), _row("---" for _ in _COLUMNS)]
    for kind in sorted({one.kind for one in found}):
        devices = sorted({one.device for one in found if one.kind == kind})
        for device in (*devices, "all devices"):
            for name in (*CLASSES, "all"):
                chosen = [
                    one
                    for one in found
                    if one.kind == kind
                    and device in (one.device, "all devices")
                    and name in (one.row.model_class, "all")
                ]
                lines.append(_row([kind, device, name, *_cells(chosen)]))
    return "\n".join([*lines, "", *_worst(found)]) + "\n"


def _cells(found: Sequence[HeldOut]) -> list[str]:
    ones, families, lines = (
        [abs(ms / one.row.ms - 1) for one, ms in zip(found, column, strict=True)]
        for column in (
            [one.one.ms for one in found],
            [one.family.ms for one in found],
            [one.line for one in found],
        )
    )
    return [
        str(len(found)),
        *(_errors(errors) for errors in (ones, families, lines)),
        f"{np.mean(np.array(families) <= 0.2):.0%}",
        f"{np.mean([_covers(one.one, one.row) for one in found]):.0%}",
        f"{np.mean([_covers(one.family, one.row) for one in found]):.0%}",
    ]


def _worst(found: Sequence[HeldOut]) -> list[str]:
    """The models that are furthest off on average over the devices, their family left out."""
    lines = ["## Furthest off", "", _row(("runtime", "model", "family", "class", "mean factor"))]
    lines.append(_row(["---"] * 5))
    for kind in sorted({one.kind for one in found}):
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
