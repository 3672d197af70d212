"""A ranking as text, CSV, JSON and a page."""

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

from conformance.report.charts import bars
from conformance.report.columns import columns
from conformance.report.document import Chart
from conformance.report.writers import page
from conformance.scoring.ranking import Entry
from reference.npu.budget import judge
from reference.tracks import Track

_HEADINGS = ("place", "submission", "score", "95 % interval", "gate", "latency", "budget")
_RIGHT = {"score"}
TIED = "= is not told from the first of its place: paired bootstrap, 95 %"


def as_text(track: Track, title: str, entries: Sequence[Entry]) -> str:
    """The table, and what is wrong with each below it."""
    rows = [_HEADINGS, *(_cells(track, entry) for entry in entries)]
    lines = [title, *columns(rows, _RIGHT)]
    lines += [f"  {TIED}"] if any(entry.tied for entry in entries) else []
    bases = {entry.latency.basis for entry in entries if entry.latency} - {""}
    lines += [f"  estimates: {basis}" for basis in sorted(bases)]
    lines += [f"{e.name}: {problem}" for e in entries for problem in e.problems]
    return "\n".join(lines)


def as_rows(track: Track, entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """A flat record for each entry, scores in the unit of the headline, as CSV and JSON have it."""
    return [_record(track, entry) for entry in entries]


def as_csv(track: Track, entries: Sequence[Entry]) -> str:
    """The records with a heading."""
    rows = as_rows(track, entries)
    text = io.StringIO()
    table = csv.DictWriter(text, rows[0], lineterminator="\n")
    table.writeheader()
    for row in rows:
        flat = {k: "; ".join(v) if isinstance(v, list) else v for k, v in row.items()}
        table.writerow({key: "" if value is None else value for key, value in flat.items()})
    return text.getvalue()


def as_document(track: Track, title: str, entries: Sequence[Entry]) -> dict[str, Any]:
    """The records, and what they are of."""
    return {"track": track.id, "title": title, "entries": as_rows(track, entries)}


def as_html(track: Track, title: str, entries: Sequence[Entry]) -> str:
    """One page that loads nothing and runs nothing."""
    records = as_rows(track, entries)
    chart = Chart(
        "bars",
        "Scores",
        "The scores with their intervals.",
        tuple(entry.name for entry in entries),
        tuple(_or_nan(record["score"]) for record in records),
        next((record["measure"] for record in records if record["measure"]), ""),
        spans=tuple((_or_nan(record["low"]), _or_nan(record["high"])) for record in records),
    )
    cells = (dict(zip(_HEADINGS, _cells(track, entry), strict=True)) for entry in entries)
    rows = list(zip(records, cells, bars(chart), strict=True))
    names = {"title": title, "track": track, "rows": rows, "tied": TIED}
    return page("leaderboard.html.j2", headings=_HEADINGS, **names)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _record(track: Track, entry: Entry) -> dict[str, Any]:
    summary = entry.scoring.summary if entry.scoring else None
    scale = summary.headline.scale if summary else 1.0
    bounds, time = summary.interval if summary else None, entry.latency
    return {
        "place": entry.place,
        "tied": entry.tied,
        "submission": entry.name,
        "measure": summary.headline.name if summary else None,
        "score": entry.value * scale if entry.value is not None else None,
        "low": bounds.low * scale if bounds else None,
        "high": bounds.high * scale if bounds else None,
        "items": len(summary.answered) if summary else 0,
        "failed_items": len(summary.failed) if summary else 0,
        "gate": "fail" if entry.fails else "pass",
        "fails": list(entry.fails),
        "warns": list(entry.warns),
        "latency_ms": time.milliseconds if time else None,
        "latency_low_ms": time.low if time else None,
        "latency_high_ms": time.high if time else None,
        "latency_kind": None if not time else "measured" if time.measured else "estimate",
        "budget_ms": track.budget_ms,
        "problems": list(entry.problems),
    }


def _cells(track: Track, entry: Entry) -> tuple[str, ...]:
    record, time = _record(track, entry), entry.latency
    latency, budget = "not known", "-"
    if time:
        kind = "measured" if time.measured else f"{time.low:.3g}..{time.high:.3g}, estimate"
        latency = f"{time.milliseconds:.3g} ms ({kind})"
        budget = judge(time.low, time.high, track.budget_ms)
        budget = budget.removeprefix("likely ") if time.measured else budget
    counts = [f"{len(entry.fails)} FAIL"] if entry.fails else ["pass"]
    counts += [f"{len(entry.warns)} warn"] if entry.warns else []
    return (
        "-" if entry.place is None else f"{entry.place}{'=' if entry.tied else ''}",
        entry.name,
        "none" if record["score"] is None else f"{record['score']:.2f}",
        "-" if record["low"] is None else f"{record['low']:.2f}..{record['high']:.2f}",
        ", ".join(counts),
        latency,
        budget,
    )
