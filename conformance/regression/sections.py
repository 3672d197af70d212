"""What a report shows of regression: what is otherwise than in the baseline."""

from collections.abc import Iterable, Iterator, Sequence

from conformance.regression.assessment import RegressionCase
from conformance.regression.compare import Change
from conformance.report.document import Section, Table


def regression_sections(
    compared: Iterable[tuple[RegressionCase, Sequence[Change]]],
) -> Iterator[Section]:
    """A table for each submission, of all its groups."""
    by_subject: dict[str, list[tuple[str, ...]]] = {}
    versions: dict[str, list[str]] = {}
    for case, changes in compared:
        rows = by_subject.setdefault(case.label, [])
        versions[case.label] = case.versions
        rows += [(c.key, c.status, c.text) for c in changes if c.status != "same"]
        rows.append(
            (case.group.name, "same", f"{sum(c.status == 'same' for c in changes)} entries")
        )
    for label, rows in by_subject.items():
        differ = "; ".join(versions[label])
        notes = (f"Versions that are not the baseline's: {differ}.",) if differ else ()
        table = Table("Entries of the baseline", ("entry", "now", "what changed"), tuple(rows))
        yield Section("history", "Against the baseline", label, notes, (table,))
