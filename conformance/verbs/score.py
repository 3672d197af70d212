"""Score a submission on a data set, on this machine."""

from collections.abc import Sequence
from pathlib import Path

import click
from click.core import ParameterSource

from conformance.scoring.answers import score_answers
from conformance.scoring.cluster import RayEngine
from conformance.scoring.engines import local
from conformance.scoring.score import Options, score_submission
from conformance.verbs import PATH, Answer, held_to_a_track, limited
from reference.errors import SubmissionError
from reference.process import Limits
from reference.registry import find_track


@click.command()
@held_to_a_track
@click.option("--data", type=PATH, required=True, metavar="DIR", help="The data set.")
@click.option(
    "--runtime",
    default="ort",
    metavar="NAME",
    help="What computes: ort, torch, npu or aihub; with answers the submission is the HDF5"
    " file of what a device answered.",
)
@click.option("--device", metavar="NAME", help="For npu and aihub; default: the track's.")
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local")
@click.option(
    "--address", metavar="HOST", help="Of a Ray cluster; default: one made on this machine."
)
@click.option("--workers", default=1, metavar="N", help="How many models compute at once.")
@click.option(
    "--results",
    type=PATH,
    default=Path("lpcvc-scores.sqlite"),
    metavar="FILE",
    help="Results by item, continued where they are there.",
)
@click.option("--table", type=PATH, metavar="FILE.csv", help="Write a row for each item.")
@click.option(
    "--keep", type=PATH, metavar="FILE.json", help="Keep the score for baselines and reports."
)
@click.option("--pictures", type=PATH, metavar="DIR", help="Draw the worst items.")
@click.option(
    "--compare", type=PATH, metavar="FILE", help="Compare with the runs of a file of results."
)
@limited("loading the model or one forward pass")
def command(
    track: str,
    submission: Sequence[str],
    data: Path,
    runtime: str,
    device: str | None,
    engine: str,
    address: str | None,
    workers: int,
    results: Path,
    table: Path | None,
    keep: Path | None,
    pictures: Path | None,
    compare: Path | None,
    limits: Limits,
) -> Answer:
    """Score a submission on a data set, on this machine. Exit code 1: an item has no score."""
    contract = find_track(track)
    if contract.has("answers"):
        _refuse_more(contract.id)
        return score_answers(contract, data, submission)
    if workers < 1:
        raise SubmissionError("--workers is below 1", "give 1 or more")
    if address and engine != "ray":
        raise SubmissionError("--address is of a Ray cluster", "add --engine ray")
    options = Options(
        runtime=runtime,
        device=device or contract.device,
        engine=RayEngine(address) if engine == "ray" else local,
        workers=workers,
        limits=limits,
        results=results,
        pictures=pictures,
        table=table,
        compare=compare,
        keep=keep,
    )
    return score_submission(contract, data, submission, options)


def _refuse_more(track: str) -> None:
    """Raises SubmissionError for an option of models that run."""
    context = click.get_current_context()
    for name in context.params:
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and name not in ("track", "submission", "data"):
            raise SubmissionError(
                f"--{name} is of models that run, and the answers of {track} are files",
                "leave it out",
            )
