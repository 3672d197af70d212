"""Latency estimates as a picture, with matplotlib."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conformance.report.estimate import PartEstimate
from reference.errors import SubmissionError
from reference.install import install_command

_OPERATORS_SHOWN = 10
_WIDE = 20.0  # from this ratio of its ends on, an axis is logarithmic
_COLOURS = {"good": "tab:blue", "low": "tab:orange"}


def plot_estimates(parts: Sequence[PartEstimate], budget: float | None, path: Path) -> None:
    """Writes a picture: a row for each part, its estimates with intervals and what takes the time.

    Raises SubmissionError where matplotlib is missing or the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SubmissionError("plots need matplotlib", install_command("plot")) from None
    devices = max(len(part.estimates) for part in parts)
    height = max(3.4, 1.6 + 0.32 * devices)
    figure = Figure(figsize=(13, height * len(parts)), layout="constrained")
    for (left, right), part in zip(
        figure.subplots(len(parts), 2, squeeze=False), parts, strict=True
    ):
        _devices(left, part, budget)
        _operators(right, part)
    try:
        figure.savefig(path, dpi=110)
    except (OSError, ValueError) as error:
        raise SubmissionError(f"{path} cannot be written ({error})", "give a .png") from None


def _devices(axes: Any, part: PartEstimate, budget: float | None) -> None:
    known = [e for e in part.estimates if e.milliseconds is not None]
    for place, estimate in enumerate(reversed(known)):
        colour = _COLOURS[estimate.confidence]
        axes.plot(
            [estimate.low, estimate.high], [place, place], color=colour, linewidth=5, alpha=0.4
        )
        axes.plot([estimate.milliseconds], [place], "o", color=colour)
    axes.set_yticks(range(len(known)), [e.device.name for e in reversed(known)], fontsize=8)
    axes.set_ylim(-0.6, max(len(known), 1) - 0.4)
    if budget is not None:
        axes.axvline(budget, color="tab:red", linestyle="--")
        axes.annotate(
            f"limit {budget:.3g} ms",
            (budget, 1),
            xycoords=("data", "axes fraction"),
            ha="left",
            va="top",
            color="tab:red",
            fontsize=8,
        )
    ends = [ms for e in known for ms in (e.low, e.high) if ms is not None]
    if ends and max(ends) > _WIDE * min(ends):
        axes.set_xscale("log")
    else:
        axes.set_xlim(left=0)
    axes.set_xlabel("estimated ms (not measured), 80 % interval")
    axes.set_title(f"{part.part}, {part.simulation.runtime}; orange: low confidence", fontsize=9)


def _operators(axes: Any, part: PartEstimate) -> None:
    compiled = part.simulation.compiled
    schedule = compiled.schedule if compiled else None
    operators = schedule.operators[:_OPERATORS_SHOWN] if schedule else ()
    labels = [f"{o.op} {o.name[-32:]} ({o.unit})" for o in operators]
    axes.barh(range(len(operators)), [o.ms for o in operators], color="0.6")
    axes.set_yticks(range(len(operators)), labels, fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("simulated ms on the QCS9100")
    axes.set_title("operators that take the most simulated time", fontsize=9)
