"""Score a submission on a data set, on this machine."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
from click.core import ParameterSource

from conformance.scoring.answers import score_answers
from conformance.scoring.report import score_report, score_values
from conformance.scoring.score import scored
from conformance.verbs import PATH, Found, held_to_a_track, in_json
from conformance.verbs._scoring import Computing, computed
from reference.errors import SubmissionError
from reference.registry import find_track


@click.command()
@held_to_a_track
@click.option("--data", type=PATH, required=True, metavar="DIR", help="The data set.")
@computed
@click.option("--table", type=PATH, metavar="FILE.csv", help="Write a row for each item.")
@click.option(
    "--keep", type=PATH, metavar="FILE.json", help="Keep the score for baselines and reports."
)
@click.option("--html", type=PATH, metavar="FILE.html", help="Write a page, with bars by class.")
@click.option("--pictures", type=PATH, metavar="DIR", help="Draw the worst items.")
@click.option(
    "--compare", type=PATH, metavar="FILE", help="Compare with the runs of a file of results."
)
@in_json
def command(
    track: str,
    submission: Sequence[str],
    data: Path,
    computing: Computing,
    table: Path | None,
    keep: Path | None,
    html: Path | None,
    pictures: Path | None,
    compare: Path | None,
) -> Found:
    """Score a submission on a data set, on this machine. Exit code 1: an item has no score."""
    contract = find_track(track)
    if contract.has("answers"):
        _refuse_more(contract.id)
        return score_answers(contract, data, submission)
    options = replace(
        computing(contract), pictures=pictures, table=table, compare=compare, keep=keep, html=html
    )
    found = scored(contract, data, submission, options)
    return score_report(found), int(found.failed), score_values(found)


def _refuse_more(track: str) -> None:
    """Raises SubmissionError for an option of models that run."""
    context = click.get_current_context()
    for name in context.params:
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and name not in ("track", "submission", "data", "as_json"):
            raise SubmissionError(
                f"--{name} is of models that run, and the answers of {track} are files",
                "leave it out",
            )
