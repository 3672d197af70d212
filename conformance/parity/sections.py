"""What a report shows of parity: the error by layer."""

from collections.abc import Iterator, Sequence

import numpy as np

from conformance.contract.pictures import difference
from conformance.parity.comparison import Comparison
from conformance.report.document import Chart, Section


def parity_sections(own: Comparison) -> Iterator[Section]:
    """Where the answers part, and how the error grows through the graph as far as a search has
    looked.
    """
    charts, notes, figures = [], [], []
    for (part, pair), found in own.agreements.items():
        sides = " against ".join(pair)
        if found.located:
            notes.append(f"{part}, {sides}: {found.located}")
        if found.errors:
            charts.append(_trace(f"{part}: {sides}, {found.precision}", found.errors))
        if found.broken and found.probe.role == "photo":
            one, other = (own.kept_run(part, runtime) for runtime in pair)
            figure = difference(own.assessment.track, one, other, *pair)
            figures += [figure] if figure else []
    if charts or figures or notes:
        yield Section(
            "parity",
            "Error by layer" if charts else "Where the answers part",
            own.label,
            tuple(notes),
            figures=tuple(figures),
            charts=tuple(charts),
        )


def _trace(caption: str, errors: Sequence[tuple[str, float]]) -> Chart:
    labels, values = zip(*errors, strict=True)
    levels = np.clip(values, 1e-12, 1e12)
    growth = levels[1:] / levels[:-1]
    worst = int(np.argmax(growth)) + 1 if len(growth) else 0
    alt = (
        f"Error of {len(values)} tensors from input to output, in standard deviations of each:"
        f" {values[0]:.2g} at first and {values[-1]:.2g} at last, largest {max(values):.2g};"
        f" the steepest step leads to {labels[worst]}."
    )
    return Chart("trace", caption, alt, labels, values, "standard deviations", marked=worst)
