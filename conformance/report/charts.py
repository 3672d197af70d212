"""Charts: traces as inline SVG in the colours of the page, bars as rows of a table."""

import math
from html import escape

from conformance.report.document import Chart

_WIDTH, _HEIGHT = 640, 260
_LEFT, _BOTTOM, _TOP = 56, 28, 14


def bars(chart: Chart) -> list[tuple[str, float, float, float]]:
    """A row for each value: its label, itself, and where its bar starts and how long it is, both in
    percent; all bars are from a common zero.
    """
    low, high = min(0.0, *chart.values), max(0.0, *chart.values)
    span = (high - low) or 1.0
    return [
        (
            label,
            value,
            round((min(value, 0.0) - low) / span * 100, 1),
            round(abs(value) / span * 100, 1),
        )
        for label, value in zip(chart.labels, chart.values, strict=True)
    ]


def svg(chart: Chart) -> str:
    """A trace as an `<svg>` with its text alternative: dots joined by a line over a logarithmic
    axis, of which the marked one is larger.
    """
    drawn = "".join(_trace(chart))
    return (
        f'<svg role="img" aria-label="{escape(chart.alt)}" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
        f' class="chart">{drawn}</svg>'
    )


def _trace(chart: Chart) -> list[str]:
    finite = [v for v in chart.values if math.isfinite(v) and v > 0] or [1.0]
    bottom = math.floor(math.log10(min(finite)))
    top = max(math.ceil(math.log10(max(finite))), bottom + 1)

    def place(index: int, value: float) -> tuple[float, float]:
        share = index / max(len(chart.values) - 1, 1)
        level = math.log10(min(max(value, 10.0**bottom), 10.0**top))
        height = (level - bottom) / (top - bottom)
        room = _HEIGHT - _TOP - _BOTTOM
        return _LEFT + share * (_WIDTH - _LEFT - 16), _HEIGHT - _BOTTOM - height * room

    drawn = []
    for power in range(bottom, top + 1, max(1, (top - bottom) // 6)):
        _, y = place(0, 10.0**power)
        drawn += [
            f'<line x1="{_LEFT}" x2="{_WIDTH - 16}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>',
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
    drawn += [
        f'<text x="{_LEFT}" y="{_HEIGHT - 8}" class="soft">first computed</text>',
        f'<text x="{_WIDTH - 16}" y="{_HEIGHT - 8}" class="soft end">output</text>',
    ]
    return drawn
