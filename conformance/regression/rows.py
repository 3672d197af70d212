"""What became of a group of a baseline's entries: as a line, and as the story of a failure."""

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from conformance.report.terminal import Row, Status

if TYPE_CHECKING:
    from conformance.regression.assessment import RegressionCase
    from conformance.regression.compare import Change

_SHOWN = 12


def regression_row(case: "RegressionCase", status: Status, seen: str) -> Row:
    """The line of the table."""
    subject = f"{case.label}: regression"
    track = case.subject.track.id
    return Row(subject, case.group.name, "baseline", status, seen, "", track, again=_again(case))


def tally(changes: Sequence["Change"]) -> str:
    """`11 same, 1 better: compiled/.../binary: 12 -> 10 MB`; what is the same is not named."""
    counts = Counter(change.status for change in changes)
    text = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    notable = [c for c in changes if c.status not in ("same", "new")]
    notable.sort(key=lambda change: not change.fails)
    named = "; ".join(f"{c.key}: {c.text}" for c in notable[:2])
    more = f"; and {len(notable) - 2} more" if len(notable) > 2 else ""
    return f"{text}: {named}{more}" if notable else text or "nothing to compare"


def explain_regression(case: "RegressionCase", changes: Sequence["Change"]) -> str:
    """The whole story of a group that lost something: entries, versions, remedy, command."""
    lost = [change for change in changes if change.fails]
    lost.sort(key=lambda change: -change.amount)
    head = f"{case.group.name}: {len(lost)} of {len(changes)} entries are not as in the baseline"
    lines = [f"  {c.status:<9}{c.key}: {c.text}" for c in lost[:_SHOWN]]
    if len(lost) > _SHOWN:
        lines.append(f"  and {len(lost) - _SHOWN} more")
    fields = {
        "versions": "; ".join(case.versions) or "all as in the baseline",
        "remedy": "mend it; or accept it, for once with --tolerance"
        f" {shlex.quote(f'{lost[0].key}=inf')}, for good with --save-baseline",
        "again": _again(case),
    }
    return "\n".join([head, *lines, *(f"  {name:<9}{text}" for name, text in fields.items())])


def _again(case: "RegressionCase") -> str:
    asked = case.run.options
    options = [f"--baseline {shlex.quote(str(asked.baseline))}"]
    options += [f"--with {name}" for name in asked.beside]
    options += [f"--tolerance {shlex.quote(text)}" for text in asked.tolerances]
    options += [f"--save {shlex.quote(str(asked.latencies))}"] if asked.latencies else []
    options += [f"--scores {shlex.quote(str(asked.scores))}"] if asked.scores else []
    again = f"pytest --pyargs conformance -m regression --track {case.subject.track.id}"
    return " ".join([again, *case.options, *options])


def version_lines(reports: Iterable[Mapping[str, str]]) -> Iterable[str]:
    """For each submission the versions that differ from the baseline's."""
    found = {r["lpcvc_subject"]: r["lpcvc_versions"] for r in reports if r.get("lpcvc_versions")}
    for subject, versions in found.items():
        yield ""
        yield f"{subject}, versions that are not the baseline's: {versions}"
