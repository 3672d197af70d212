"""What became of a group of a baseline's entries: as a line, and as the story of a failure."""

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from conformance.regression.compare import Change
from conformance.report.terminal import Row

_SHOWN = 12


def tally(changes: Sequence[Change]) -> str:
    """`11 same, 1 better: compiled/.../binary: 12 -> 10 MB`; what is the same is not named."""
    counts = Counter(change.status for change in changes)
    text = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    notable = [c for c in changes if c.status not in ("same", "new")]
    notable.sort(key=lambda change: not change.fails)
    named = "; ".join(f"{c.key}: {c.text}" for c in notable[:2])
    more = f"; and {len(notable) - 2} more" if len(notable) > 2 else ""
    return f"{text}: {named}{more}" if notable else text or "nothing to compare"


def explain_regression(row: Row, versions: Sequence[str], changes: Sequence[Change]) -> str:
    """The whole story of a group that lost something: entries, versions, remedy, command."""
    lost = [change for change in changes if change.fails]
    lost.sort(key=lambda change: -change.amount)
    head = f"{row.rule}: {len(lost)} of {len(changes)} entries are not as in the baseline"
    lines = [f"  {c.status:<9}{c.key}: {c.text}" for c in lost[:_SHOWN]]
    if len(lost) > _SHOWN:
        lines.append(f"  and {len(lost) - _SHOWN} more")
    fields = {
        "versions": "; ".join(versions) or "all as in the baseline",
        "remedy": "mend it; or accept it, for once with --tolerance"
        f" {shlex.quote(f'{lost[0].key}=inf')}, for good with --save-baseline",
        "again": row.again,
    }
    return "\n".join([head, *lines, *(f"  {name:<9}{text}" for name, text in fields.items())])


def version_lines(reports: Iterable[Mapping[str, str]]) -> Iterable[str]:
    """For each submission the versions that differ from the baseline's."""
    found = {r["subject"]: r["versions"] for r in reports if r.get("versions")}
    for subject, versions in found.items():
        yield ""
        yield f"{subject}, versions that are not the baseline's: {versions}"
