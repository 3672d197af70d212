"""What scoring found: the number, how sure it is, the worst items and what went wrong."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.scoring.store import Run
from conformance.scoring.summary import Comparison, Summary
from reference.datasets.items import Finding
from reference.errors import SubmissionError, one_line
from reference.scores import OfClass, Remarks, Result
from reference.tracks import Track

_SHOWN = 5


@dataclass(frozen=True)
class Scoring:
    """Everything that the report of a run says. `new` items were scored now, the others before;
    `lost` are the errors of parts, such as the text that could not be embedded, `chance` is the
    headline's, `remarks` are what the scores together say of themselves, `classes` the scores by
    class.
    """

    track: Track
    run: Run
    data: Path
    findings: Sequence[Finding]
    summary: Summary
    lost: tuple[Result, ...]
    comparisons: tuple[Comparison, ...]
    pictures: tuple[Path, ...] = ()
    new: int = 0
    chance: float | None = None
    remarks: Remarks = ()
    classes: tuple[OfClass, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether an item has no answer or an odd one."""
        return bool(self.summary.failed or self.summary.odd or self.lost)


def score_report(scoring: Scoring) -> str:
    """The report as text."""
    summary, run = scoring.summary, scoring.run
    failed = [(r.item, r.error) for r in (*scoring.lost, *summary.failed)]
    wrong = sum(finding.fatal for finding in scoring.findings)
    lines = [
        f"{scoring.track.id}, {run.label}: {_headline(summary, len(failed), wrong)}",
        f"  data     {scoring.data}, {len(summary.results)} items of {summary.groups} pictures,"
        f" {scoring.new} passes now; sha256 {run.data[:12]}",
        f"  runtime  {run.runtime}",
    ]
    columns = {k: v for k, v in summary.columns.items() if k != summary.headline.column}
    if columns:
        lines.append("  means    " + ", ".join(f"{k} {v:.4g}" for k, v in columns.items()))
    if scoring.chance is not None and summary.interval and summary.interval.low <= scoring.chance:
        lines.append(
            "  chance   answers that say nothing of the inputs score"
            f" {scoring.chance * summary.headline.scale:.2f}, and these are not told from them:"
            " check normalisation, layout and the order of classes, or bring more data"
        )
    lines += _worst(summary, scoring.pictures)
    lines += [f"  {first:8} {text}" for first, text in scoring.remarks]
    lines += [_comparison(each, summary.headline.scale) for each in scoring.comparisons]
    for kind, fatal in (("data error", True), ("warning", False)):
        found = [f for f in scoring.findings if f.fatal == fatal]
        told = [(f.file, f"{f.problem} -> {f.remedy}") for f in found]
        lines += _listed(kind, told, "lpcvc data check")
    lines += _listed("no answer", failed, "--table")
    lines += _listed("odd answer", [(r.item, r.note) for r in summary.odd], "--table")
    return "\n".join(lines)


def score_values(scoring: Scoring) -> dict[str, Any]:
    """The report as values, scores in the unit of the headline."""
    summary, run = scoring.summary, scoring.run
    scale, column = summary.headline.scale, summary.headline.column

    def scaled(value: float | None) -> float | None:
        return None if value is None else value * scale

    bounds = summary.interval
    return {
        "track": scoring.track.id,
        "submission": run.label,
        "runtime": run.runtime,
        "measure": summary.headline.name,
        "score": scaled(summary.value),
        "low": scaled(bounds.low if bounds else None),
        "high": scaled(bounds.high if bounds else None),
        "chance": scaled(scoring.chance),
        "means": summary.columns,
        "classes": [
            {
                "class": each.name,
                "score": None if math.isnan(each.value) else each.value * scale,
                "items": each.items,
            }
            for each in scoring.classes
        ],
        "data": scoring.data,
        "data_sha256": run.data,
        "items": len(summary.results),
        "worst": [
            {"item": result.item, column: result.numbers[column]}
            for result in summary.worst(_SHOWN)
        ],
        "no_answer": {r.item: r.error for r in (*scoring.lost, *summary.failed)},
        "odd_answers": {r.item: r.note for r in summary.odd},
        "findings": scoring.findings,
        "remarks": dict(scoring.remarks),
        "comparisons": [
            {
                "other": own.other,
                "difference": own.difference * scale,
                "low": own.interval.low * scale,
                "high": own.interval.high * scale,
                "verdict": own.verdict,
                "items": own.items,
            }
            for own in scoring.comparisons
        ],
        "pictures": scoring.pictures,
    }


def write_table(path: Path, summary: Summary) -> None:
    """Writes a row for each item as CSV; raises SubmissionError where that cannot be."""
    columns = list(summary.columns)
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["item", *columns, "seconds", "error", "note"])
            for result in summary.results:
                values = [result.numbers.get(column, "") for column in columns]
                seconds = f"{result.seconds:.4f}"
                table.writerow([result.item, *values, seconds, result.error, result.note])
    except OSError as error:
        raise SubmissionError(
            f"{path} cannot be written ({error.strerror})", "name another file for --table"
        ) from None


def _headline(summary: Summary, missing: int, wrong: int) -> str:
    if summary.value is None or summary.interval is None:
        return "no score: no item has an answer"
    scale = summary.headline.scale
    value = summary.value * scale
    low, high = summary.interval.low * scale, summary.interval.high * scale
    text = f"{summary.headline.name} {value:.4f} (95 % interval {low:.2f}..{high:.2f})"
    if missing:
        text += f", without the items that have no answer ({missing}): not an official score"
    if wrong:
        text += f", on data with errors ({wrong})"
    return text


def _worst(summary: Summary, pictures: Sequence[Path]) -> list[str]:
    column = summary.headline.column
    worst = summary.worst(_SHOWN)
    lines = [f"  worst    {r.numbers[column]:8.4f}  {one_line(r.item)}" for r in worst]
    if pictures:
        lines.append(f"  pictures {pictures[0].parent}, the {len(pictures)} worst items")
    return lines


def _comparison(found: Comparison, scale: float) -> str:
    low, high = found.interval.low * scale, found.interval.high * scale
    return (
        f"  against  {found.other}: {found.difference * scale:+.4f} (95 % interval {low:+.2f}.."
        f"{high:+.2f}), {found.verdict}; better on {found.better}, worse on {found.worse} of"
        f" {found.items} items"
    )


def _listed(kind: str, named: Sequence[tuple[str, str]], everything: str) -> list[str]:
    lines = [f"  {kind}: {one_line(item)}: {text}" for item, text in named[:_SHOWN]]
    if len(named) > _SHOWN:
        lines.append(f"  {kind}: and {len(named) - _SHOWN} more: see {everything}")
    return lines
