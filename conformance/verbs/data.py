"""Say what there is to score on."""

from pathlib import Path

import click

from conformance.report.progress import stderr_progress
from conformance.scoring.datasets import Dataset
from conformance.verbs import PATH, Answer, Found, in_json
from reference.errors import one_line
from reference.registry import find_track
from reference.tracks import Track

_SHOWN = 100


@click.group()
def command() -> None:
    """Say what there is to score on."""


@command.command()
@click.argument("folder", type=PATH, metavar="DIR")
@click.option("--track", required=True, metavar="TRACK")
@in_json
def check(folder: Path, track: str) -> Found:
    """Say what is wrong with the data set in DIR, with the file and the remedy, and how it is like
    the test data of the documents. Exit code 1: it cannot be scored on.
    """
    return _checked(find_track(track), folder)


def check_dataset(track: Track, folder: Path) -> Answer:
    """What is wrong, as text, and 1 where an error is among it; every file is read once.

    Raises SubmissionError where the folder has not the form of the track at all.
    """
    text, code, _ = _checked(track, folder)
    return text, code


def _checked(track: Track, folder: Path) -> Found:
    """As `check_dataset`, with what was found as values.

    Raises SubmissionError where the folder has not the form of the track at all.
    """
    dataset = Dataset(track, folder)
    with stderr_progress() as progress:
        inside = dataset.faults(lambda done, total: progress(f"reading item {done}/{total}"))
        findings = [*dict.fromkeys([*dataset.findings, *inside])]
    counts = ", ".join(
        f"{len(dataset.of(part.name))} {'items' if part.name == 'model' else part.name + 's'}"
        for part in track.parts
    )
    counts = counts or f"{len(dataset.items)} items"
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
    figures = dataset.figures()
    if figures:
        lines.append("beside the test data that the documents describe, which is advice alone:")
    for each in figures:
        word = {True: "like", False: "unlike", None: ""}[each.like]
        found = f"{each.name}: {one_line(each.seen)}; documented: {each.documented}"
        lines.append(f"  {word:7} {found} ({each.source})")
    document = {
        "track": track.id,
        "folder": folder,
        "items": len(dataset.items),
        "errors": bad,
        "warnings": len(findings) - bad,
        "findings": findings,
        "figures": figures,
    }
    return "\n".join(lines), int(bad > 0), document
