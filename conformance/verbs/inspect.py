"""Say what is in a model: tensors, operators, multiply-adds."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from conformance.report.progress import stderr_progress
from conformance.submission.facts import facts_of, rows_of
from conformance.submission.graph import read_graph
from conformance.verbs import Found, in_json, limited, model_track
from conformance.verbs._models import files_by_part
from reference.errors import one_line
from reference.process import Limits


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="[PART=]MODEL...")
@click.option("--track", metavar="TRACK", help="Whose inputs a PyTorch model is exported for.")
@limited("opening or exporting a model")
@in_json
def command(models: Sequence[str], track: str | None, limits: Limits) -> Found:
    """Say what is in each MODEL, without running it."""
    contract = model_track(track) if track else None
    with tempfile.TemporaryDirectory(prefix="lpcvc-") as scratch, stderr_progress() as progress:
        files = files_by_part(contract, models, Path(scratch), limits, progress)
        facts = {name: facts_of(read_graph(path, limits)) for name, path in files.items()}
    return "\n\n".join(_told(name, own) for name, own in facts.items()), 0, facts


def _told(name: str, facts: dict[str, Any]) -> str:
    lines = [one_line(name if name == facts["file"] else f"{name}, {facts['file']}")]
    shown = ""
    for head, text in rows_of(facts):
        lines.append(f"  {'' if head == shown else head:<14}{one_line(text)}")
        shown = head
    return "\n".join(lines)
