"""Latency as charts of a report: what is known of it beside the budget, and what takes the time."""

from collections.abc import Mapping

from conformance.report.document import Chart
from conformance.report.estimate import short_name
from reference.errors import one_line
from reference.npu.budget import add_up
from reference.npu.latency import Estimate
from reference.npu.schedule import Schedule

_SHOWN = 10


def estimates_chart(estimates: Mapping[str, Estimate], budget: float | None) -> Chart | None:
    """Milliseconds by part, and of several together, with their intervals; None without any.

    `budget` is that of all parts together.
    """
    found = {part: add_up([own]) for part, own in estimates.items()}
    if len(estimates) > 1:
        found["together"] = add_up(list(estimates.values()))
    known = {part: own for part, own in found.items() if own is not None}
    if not known:
        return None
    return latency_chart("Estimated, not measured; with the interval of 80 %", known, budget)


def latency_chart(
    caption: str, known: Mapping[str, tuple[float, float, float]], budget: float | None
) -> Chart:
    """Milliseconds and their interval by what they are of, beside the budget."""
    told = "; ".join(
        f"{n} {ms:.3g} ({low:.3g} to {high:.3g})" for n, (ms, low, high) in known.items()
    )
    limit = "" if budget is None else f"; the budget is {budget:.4g} ms"
    return Chart(
        "bars",
        caption,
        f"{caption}, in ms: {told}{limit}.",
        tuple(known),
        tuple(ms for ms, _, _ in known.values()),
        "ms",
        spans=tuple((low, high) for _, low, high in known.values()),
        limit=budget,
    )


def layer_times(part: str, schedule: Schedule) -> Chart | None:
    """The operators that take the most of the time that the compiler simulates."""
    total = sum(operator.ms for operator in schedule.operators)
    shown = schedule.operators[:_SHOWN]
    if not total:
        return None
    labels = tuple(one_line(f"{o.op} {short_name(o)} ({o.unit})") for o in shown)
    share = sum(operator.ms for operator in shown) / total
    most = f"{share:.0%} of the simulated {total:.3g} ms"
    caption = f"{part}: the {len(shown)} slowest operators, {most}"
    first = f"{labels[0]} with {shown[0].ms:.3g} ms, {shown[0].ms / total:.0%}"
    alt = f"Simulated time by operator, not measured; most takes {first}."
    return Chart("bars", caption, alt, labels, tuple(o.ms for o in shown), "ms, simulated")
