"""Charts as inline SVG, in the colours of the page around them."""

import math
from html import escape

from conformance.report.document import Chart

_WIDTH, _ROW, _LABEL = 640, 26, 300
_HEIGHT, _LEFT, _BOTTOM, _TOP = 260, 56, 28, 14
_LETTERS = 44


def svg(chart: Chart) -> str:
    """The chart as an `<svg>` with its text alternative."""
    drawn, height = _bars(chart) if chart.kind == "bars" else _trace(chart)
    return (
        f'<svg role="img" aria-label="{escape(chart.alt)}" viewBox="0 0 {_WIDTH} {height}"'
        f' class="chart">{"".join(drawn)}</svg>'
    )


def _bars(chart: Chart) -> tuple[list[str], int]:
    """A row for each value, from a common zero."""
    low, high = min(0.0, *chart.values), max(0.0, *chart.values)
    span = (high - low) or 1.0
    room = _WIDTH - _LABEL - 64
    zero = _LABEL - low / span * room
    drawn = []
    for index, (label, value) in enumerate(zip(chart.labels, chart.values, strict=True)):
        y = index * _ROW
        length = abs(value) / span * room
        start = zero - length if value < 0 else zero
        drawn += [
            f'<text x="{_LABEL - 8}" y="{y + 17}" text-anchor="end">{_short(label)}</text>',
            f'<rect x="{start:.1f}" y="{y + 4}" width="{max(length, 1):.1f}" height="{_ROW - 8}"'
            ' rx="2" class="bar"/>',
            f'<text x="{_LABEL + room + 8}" y="{y + 17}" class="soft">{value:.3f}</text>',
        ]
    drawn.append(f'<line x1="{zero:.1f}" x2="{zero:.1f}" y1="0" y2="{y + _ROW}" class="axis"/>')
    return drawn, y + _ROW


def _trace(chart: Chart) -> tuple[list[str], int]:
    """Dots joined by a line over a logarithmic axis; the marked one is larger and named."""
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
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" class="soft">1e{power}</text>',
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
        f'<text x="{_WIDTH - 16}" y="{_HEIGHT - 8}" text-anchor="end" class="soft">output</text>',
    ]
    return drawn, _HEIGHT


def _short(label: str) -> str:
    return escape(label if len(label) <= _LETTERS else label[: _LETTERS - 1] + "…")
