"""Write a reference model."""

import sys
import warnings
from pathlib import Path
from typing import Literal

import click

from conformance.verbs import PATH, Answer
from reference.errors import CheckpointWarning, SubmissionError, one_line
from reference.install import install_command
from reference.registry import find_track


@click.command()
@click.argument("folder", type=PATH)
@click.option("--track", required=True, metavar="TRACK")
@click.option(
    "--weights", type=PATH, metavar="FILE", help="The official checkpoint; default: random."
)
@click.option(
    "--resolution",
    type=int,
    metavar="PIXELS",
    help="Segmentation: what the network sees; default: 256, the sample's; the winner's: 590.",
)
@click.option("--form", type=click.Choice(["onnx", "torchscript"]), default="onnx")
def command(
    folder: Path,
    track: str,
    weights: Path | None,
    resolution: int | None,
    form: Literal["onnx", "torchscript"],
) -> Answer:
    """Write the reference model of a track into FOLDER, which is made if it is not there."""
    try:
        from reference.export import export_reference
    except ModuleNotFoundError as error:
        raise SubmissionError(
            f"a reference model needs {error.name}, which is not installed",
            install_command("torch"),
        ) from None
    contract = find_track(track)
    folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("always", CheckpointWarning)
        warnings.showwarning = lambda message, *_, **__: print(
            f"lpcvc: {one_line(str(message))}", file=sys.stderr
        )
        paths = export_reference(contract, folder, form, weights, resolution)
    kind = weights.name if weights else "random weights"
    return "\n".join(f"{part}: {path} ({kind})" for part, path in paths.items()), 0
