"""A score as a page: the number with its interval, bars by class, the worst items."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from conformance.report.document import Chart, Section, Table
from conformance.report.writers import page
from conformance.scoring.report import Scoring
from conformance.scoring.statistics import Interval
from conformance.scoring.summary import Summary
from reference.errors import SubmissionError, one_line

_WORST_SHOWN, _WRONG_SHOWN = 10, 50


def write_page(path: Path, scoring: Scoring) -> None:
    """Writes it; raises SubmissionError where that cannot be."""
    try:
        path.write_text(as_page(scoring), encoding="utf-8")
    except OSError as error:
        raise SubmissionError(
            f"{path} cannot be written ({error.strerror})", "name another file for --html"
        ) from None


def as_page(scoring: Scoring) -> str:
    """One page that loads nothing and runs nothing, in the style of the report."""
    return page("score.html.j2", scoring=scoring, sections=list(_sections(scoring)))


def _sections(scoring: Scoring) -> Iterator[Section]:
    summary, column = scoring.summary, scoring.summary.headline.column
    if summary.value is not None and summary.interval is not None:
        yield _headline(summary, summary.value, summary.interval)
    if scoring.classes:
        yield _by_class(scoring)
    elif scoring.track.room("metric").METRIC.classes and summary.answered:
        said = "No item of these data says its class; docs/scoring.md has where that stands."
        yield Section("classes", f"{summary.headline.name} by class", "", (said,))
    worst = [(r.item, f"{r.numbers[column]:.4f}") for r in summary.worst(_WORST_SHOWN)]
    if worst:
        yield _listed("worst", "The worst items", column, worst)
    lost = [(r.item, r.error) for r in (*scoring.lost, *summary.failed)]
    wrong = [*lost, *((r.item, r.note) for r in summary.odd)]
    if wrong:
        more = f", the first {_WRONG_SHOWN} of {len(wrong)}: --table has all"
        title = f"What went wrong{more if len(wrong) > _WRONG_SHOWN else ''}"
        yield _listed("wrong", title, "what", wrong[:_WRONG_SHOWN])


def _headline(summary: Summary, own: float, interval: Interval) -> Section:
    name, scale = summary.headline.name, summary.headline.scale
    value, low, high = (scale * number for number in (own, interval.low, interval.high))
    caption = "With the interval of 95 %"
    alt = f"{name} {value:.4f}, with the interval of 95 % from {low:.2f} to {high:.2f}."
    chart = Chart(
        "bars", caption, alt, (name,), (value,), "", spans=((low, high),), top=_top(summary)
    )
    rows = tuple((column, f"{mean:.4g}") for column, mean in summary.columns.items())
    means = Table("Means of all items", ("column", "mean"), rows, right=(1,))
    return Section("score", name, "", tables=(means,), charts=(chart,))


def _top(summary: Summary) -> float | None:
    """100 of a fraction that is told in percent; of other numbers the end is not known."""
    return 100.0 if summary.headline.scale == 100.0 else None


def _listed(kind: str, title: str, what: str, found: Sequence[tuple[str, str]]) -> Section:
    rows = tuple((one_line(item), one_line(text)) for item, text in found)
    return Section(kind, title, "", tables=(Table("By item", ("item", what), rows),))


def _by_class(scoring: Scoring) -> Section:
    """The best class first, the lowest marked; what is nowhere comes last."""
    name, scale = scoring.summary.headline.name, scoring.summary.headline.scale
    known = sorted(
        (each for each in scoring.classes if not math.isnan(each.value)),
        key=lambda each: (-each.value, each.name),
    )
    nowhere = [each for each in scoring.classes if math.isnan(each.value)]
    labels = tuple(one_line(f"{each.name} ({each.items})") for each in (*known, *nowhere))
    values = tuple(each.value * scale for each in (*known, *nowhere))
    alt = "No class is there."
    if known:
        alt = (
            f"{name} of {len(known)} classes, from {known[0].name} with {values[0]:.3g} to"
            f" {known[-1].name} with {values[len(known) - 1]:.3g}."
        )
    marked = len(known) - 1 if len(known) > 1 else None
    chart = Chart(
        "bars",
        "By class, with the number of items",
        alt,
        labels,
        values,
        name,
        marked,
        top=_top(scoring.summary),
    )
    return Section("classes", f"{name} by class", "", charts=(chart,))
