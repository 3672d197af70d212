"""`lpcvc data check`: everything that is wrong with a data set, with the file and the remedy."""

from pathlib import Path

from conformance.report.progress import stderr_progress
from conformance.scoring.datasets import Dataset
from reference.errors import one_line
from reference.tracks import Track

_SHOWN = 100


def check_dataset(track: Track, folder: Path) -> tuple[str, int]:
    """What is wrong, as text, and 1 where an error is among it; every file is read once.

    Raises SubmissionError where the folder has not the form of the track at all.
    """
    progress = stderr_progress()
    dataset = Dataset(track, folder)
    try:
        inside = dataset.faults(lambda done, total: progress(f"reading item {done}/{total}"))
        findings = [*dict.fromkeys([*dataset.findings, *inside])]
    finally:
        progress.clear()
    counts = ", ".join(
        f"{len(dataset.of(part.name))} {'items' if part.name == 'model' else part.name + 's'}"
        for part in track.parts
    )
    bad = sum(finding.fatal for finding in findings)
    lines = [f"{track.id}, {folder}: {counts}, {bad} errors, {len(findings) - bad} warnings"]
    for finding in findings[:_SHOWN]:
        kind = "error" if finding.fatal else "warning"
        lines += [
            f"  {kind:7} {one_line(finding.file)}",
            f"          {one_line(finding.problem)}",
            f"          -> {one_line(finding.remedy)}",
        ]
    if len(findings) > _SHOWN:
        lines.append(f"  and {len(findings) - _SHOWN} more")
    return "\n".join(lines), int(bad > 0)
