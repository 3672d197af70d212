"""Rank submissions on a data set, with gate and latency."""

from pathlib import Path

import click

from conformance.device.history import read_saved
from conformance.outputs import made_room
from conformance.report.writers import need_jinja
from conformance.scoring.leaderboard import as_csv, as_document, as_html, as_text
from conformance.scoring.ranking import Clock, rank
from conformance.verbs import PATH, Found, in_json, model_track
from conformance.verbs._scoring import Computing, computed
from reference.errors import SubmissionError, one_line


@click.command()
@click.argument("data", type=PATH)
@click.argument("submissions", type=PATH)
@click.option("--track", required=True, metavar="TRACK")
@computed
@click.option("--csv", "table", type=PATH, metavar="FILE.csv", help="Write the table.")
@click.option("--html", type=PATH, metavar="FILE.html", help="Write a leaderboard to look at.")
@in_json
@click.option(
    "--measured",
    type=PATH,
    metavar="FILE",
    help="What `pytest -m device --save FILE` kept: its latencies go before estimates.",
)
@click.option("--no-estimate", is_flag=True, help="Leave out the latency estimates.")
def command(
    data: Path,
    submissions: Path,
    track: str,
    computing: Computing,
    table: Path | None,
    html: Path | None,
    measured: Path | None,
    no_estimate: bool,
) -> Found:
    """Rank what lies in the folder SUBMISSIONS on DATA. Exit code 1: one of them has no place.

    Each model there is a submission, of a track of two models each folder or zip with both; it is
    called by its name there. One that fails is a row without a place, and ends nothing. The same
    command again goes on where it was stopped.
    """
    contract = model_track(track)
    options = computing(contract)
    saved = read_saved(measured, must_exist=True) if measured else ()
    clock = Clock(options.device, saved, not no_estimate)
    for file in filter(None, (table, html)):
        made_room(file)
    if html:
        need_jinja("--html")
    entries = rank(contract, data, submissions, options, clock)
    title = one_line(f"{contract.id} on {data.resolve().name}, {options.device}")
    for path, text in ((table, as_csv(contract, entries)), (html, "")):
        if path is not None:
            _write(path, text or as_html(contract, title, entries))
    code = int(any(entry.place is None for entry in entries))
    return as_text(contract, title, entries), code, as_document(contract, title, entries)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SubmissionError(
            f"{path} cannot be written ({error.strerror})", "name another file"
        ) from None
