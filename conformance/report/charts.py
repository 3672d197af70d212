"""Charts as inline SVG in the colours of the page: traces, and the bars of rows of a table."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from conformance.report.document import Chart

_WIDTH, _HEIGHT = 640, 260
_LEFT, _RIGHT, _BOTTOM, _TOP = 64, 16, 34, 18
_NAME_SHOWN = 28  # characters


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


def svg(chart: Chart) -> str:
    """A trace as an `<svg>` with its text alternative: dots joined by a line over a logarithmic
    axis, of which the marked one is larger and has its name.
    """
    return (
        f'<svg role="img" aria-label="{escape(chart.alt)}" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
        f' class="chart">{"".join(_trace(chart))}</svg>'
    )


def _numbers(chart: Chart) -> Iterator[float]:
    """All that has to be on the scale."""
    yield from chart.values
    for ends in chart.spans:
        yield from ends
    yield from (number for number in (chart.limit, chart.top) if number is not None)


def _trace(chart: Chart) -> list[str]:
    finite = [v for v in chart.values if math.isfinite(v) and v > 0] or [1.0]
    bottom = math.floor(math.log10(min(finite)))
    top = max(math.ceil(math.log10(max(finite))), bottom + 1)

    def place(index: int, value: float) -> tuple[float, float]:
        share = index / max(len(chart.values) - 1, 1)
        value = math.inf if math.isnan(value) else value
        level = math.log10(min(max(value, 10.0**bottom), 10.0**top))
        height = (level - bottom) / (top - bottom)
        room = _HEIGHT - _TOP - _BOTTOM
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT), _HEIGHT - _BOTTOM - height * room

    drawn = []
    for power in range(bottom, top + 1, max(1, (top - bottom) // 6)):
        _, y = place(0, 10.0**power)
        drawn += [
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>',
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" class="soft end">1e{power}</text>',
        ]
    points = [place(index, value) for index, value in enumerate(chart.values)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    drawn.append(f'<polyline points="{path}" class="trace"/>')
    for index, (x, y) in enumerate(points):
        marked = index == chart.marked
        kind, radius = ("marked", 6) if marked else ("dot", 3)
        name = escape(f"{chart.labels[index]}: {chart.values[index]:.3g}")
        drawn.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" class="{kind}"><title>{name}</title>'
            "</circle>"
        )
        if marked:
            drawn.append(_named(chart.labels[index], x, y))
    drawn += [
        f'<text x="{_LEFT}" y="{_HEIGHT - 8}" class="soft">first computed</text>',
        f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 8}" class="soft end">output</text>',
    ]
    return drawn


def _named(label: str, x: float, y: float) -> str:
    """The name of a point, on the side where there is room, below it or above one at the end."""
    name = label if len(label) <= _NAME_SHOWN else f"...{label[3 - _NAME_SHOWN :]}"
    left = x > _WIDTH / 2
    low = y > _HEIGHT - _BOTTOM - 28
    at = f'x="{x - 10 if left else x + 10:.1f}" y="{y + (-12 if low else 24):.1f}"'
    return f'<text {at} class="name{" end" * left}">{escape(name)}</text>'
