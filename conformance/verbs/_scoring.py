"""What the verbs that score share: where models compute, and where results are kept."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path

import click

from conformance.outputs import made_room
from conformance.scoring.cluster import RayEngine
from conformance.scoring.engines import local
from conformance.scoring.score import Options
from conformance.verbs import PATH, Answer, Command, limited
from reference.cache import default_folder
from reference.errors import SubmissionError
from reference.process import Limits
from reference.tracks import Track

# The options for a track, whose device is the one where none is named.
Computing = Callable[[Track], Options]


def computed(command: Command) -> Command:
    """Adds what says where models compute; the command gets it as `computing`."""

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
        metavar="FILE",
        help="Results by item, continued where they are there; default: scores.sqlite in the"
        " user's cache folder, which LPCVC_CACHE names.",
    )
    @limited("loading the model or one forward pass")
    @wraps(command)
    def chosen(
        runtime: str,
        device: str | None,
        engine: str,
        address: str | None,
        workers: int,
        results: Path | None,
        limits: Limits,
        **others: object,
    ) -> Answer:
        if workers < 1:
            raise SubmissionError("--workers is below 1", "give 1 or more")
        if address and engine != "ray":
            raise SubmissionError("--address is of a Ray cluster", "add --engine ray")

        def computing(track: Track) -> Options:
            return Options(
                runtime=runtime,
                device=device or track.device,
                engine=cluster if engine == "ray" else local,
                workers=workers,
                limits=limits,
                results=made_room(results or default_folder() / "scores.sqlite"),
            )

        with RayEngine(address) as cluster:
            return command(computing=computing, **others)

    return chosen
