"""Charts in the colours of the page: rows of a table, each with its bar as inline SVG."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from conformance.report.document import Chart


@dataclass(frozen=True)
class Bar:
    """One row of a chart: its label, its value in words, and its drawing, an `<svg>` as wide as its
    cell.
    """

    label: str
    value: str
    svg: str
    marked: bool


def bars(chart: Chart) -> list[Bar]:
    """A row for each value. Bars, intervals and limit are on one scale that has zero."""
    finite = [value for value in _numbers(chart) if math.isfinite(value)]
    low, high = min(0.0, *finite, 0.0), max(0.0, *finite, 0.0)
    span = (high - low) or 1.0

    def percent(value: float) -> float:
        return round((min(max(value, low), high) - low) / span * 100, 2)

    rows = []
    for index, (label, value) in enumerate(zip(chart.labels, chart.values, strict=True)):
        words, drawn = number(value), []
        if not math.isnan(value):
            start, end = sorted((percent(0.0), percent(value)))
            drawn.append(f'<rect x="{start}%" width="{end - start:.2f}%" y="3" height="9"/>')
        ends = chart.spans[index] if chart.spans else (math.nan, math.nan)
        if not math.isnan(sum(ends)):
            words += f" ({number(ends[0])} to {number(ends[1])})"
            left, right = map(percent, ends)
            drawn.append(f'<line class="span" x1="{left}%" x2="{right}%" y1="7.5" y2="7.5"/>')
            drawn += [
                f'<line class="span" x1="{x}%" x2="{x}%" y1="2" y2="13"/>' for x in (left, right)
            ]
        told = f"{label}: {words} {chart.unit}".rstrip()
        if chart.limit is not None:
            x = percent(chart.limit)
            drawn.append(f'<line class="limit" x1="{x}%" x2="{x}%" y1="0" y2="15"/>')
            told += f", limit {number(chart.limit)}"
        marked = index == chart.marked
        svg = (
            f'<svg class="bar{" marked" * marked}" role="img" aria-label="{escape(told)}">'
            f"<title>{escape(told)}</title>{''.join(drawn)}</svg>"
        )
        rows.append(Bar(label, words, svg, marked))
    return rows


def number(value: float) -> str:
    """Three digits, below 1 three places; what is large is a whole number, and NaN no number."""
    if math.isnan(value):
        return "none"
    if 1000 <= abs(value) < 1e12:
        return f"{value:,.0f}"
    return f"{value:.3f}" if 0 < abs(value) < 1 else f"{value:.3g}"


def _numbers(chart: Chart) -> Iterator[float]:
    """All that has to be on the scale."""
    yield from chart.values
    for ends in chart.spans:
        yield from ends
    yield from (number for number in (chart.limit, chart.top) if number is not None)
