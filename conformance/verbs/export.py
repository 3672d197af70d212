"""Write a PyTorch model, or the reference, as a file."""

import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import click

from conformance.report.progress import stderr_progress
from conformance.runtimes.process import ModelProcess, export_onnx
from conformance.subject import Progress, ticking
from conformance.submission.graph import read_graph
from conformance.submission.model import Model
from conformance.submission.opening import open_models, split_spec
from conformance.verbs import PATH, Found, in_json, limited, model_track
from reference.errors import CheckpointWarning, SubmissionError, one_line
from reference.install import install_command
from reference.process import ChildError, Limits
from reference.registry import find_track
from reference.tracks import Part, Track, format_shape

Form = Literal["onnx", "torchscript"]
_ENDINGS = (".onnx", ".pt", ".tflite")


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="[[PART=]MODEL] OUT")
@click.option("--track", required=True, metavar="TRACK")
@click.option(
    "--weights",
    type=PATH,
    metavar="FILE",
    help="Of the reference the official checkpoint, default: random; of a factory a state dict.",
)
@click.option(
    "--resolution",
    type=int,
    metavar="PIXELS",
    help="Segmentation: what the network sees; default: 256, the sample's; the winner's: 590.",
)
@click.option("--form", type=click.Choice(["onnx", "torchscript"]), help="Of the reference.")
@limited("loading the model or exporting it")
@in_json
def command(
    words: Sequence[str],
    track: str,
    weights: Path | None,
    resolution: int | None,
    form: Form | None,
    limits: Limits,
) -> Found:
    """Write a PyTorch MODEL as OUT, which ends in .onnx, .pt (TorchScript) or .tflite, with the
    contract's names and shapes. Without one write the reference model of the track into the folder
    OUT.

    A MODEL is file.py:NAME or module:NAME, which is a module of PyTorch or a function or class that
    makes one, or a file of TorchScript or torch.export.
    """
    *models, out = words
    if not models:
        return _reference(find_track(track), Path(out), form or "onnx", weights, resolution)
    if len(models) > 1:
        raise SubmissionError(f"{len(models)} models are given", "export one after the other")
    if form or resolution:
        option = "--form" if form else "--resolution"
        raise SubmissionError(
            f"{option} is of the reference, and {models[0]} is given",
            "OUT ends in .onnx, .pt or .tflite" if form else "leave it out",
        )
    return _exported(model_track(track), models[0], Path(out), weights, limits)


def _exported(track: Track, spec: str, out: Path, weights: Path | None, limits: Limits) -> Found:
    """Writes one model of the user's; what is in the file, and what comes next."""
    name, target = split_spec(track, spec)
    if not name and len(track.parts) > 1:
        raise SubmissionError(
            f"{track.id} takes {len(track.parts)} models",
            f"say which this is: {' or '.join(f'{part.name}={target}' for part in track.parts)}",
        )
    if out.suffix.lower() not in _ENDINGS:
        raise SubmissionError(
            f"{out} does not say what to write", f"let it end in {', '.join(_ENDINGS)}"
        )
    part = track.part(name or track.parts[0].name)
    with tempfile.TemporaryDirectory(prefix="lpcvc-") as scratch, stderr_progress() as progress:
        (model,) = open_models(track, part.name, target, Path(scratch), limits)
        if model.format == "onnx":
            raise SubmissionError(
                f"{target} is ONNX already",
                f"lpcvc fix {target} --track {track.id} -o OUT gives it the contract's names",
            )
        if not model.torch:
            raise SubmissionError(f"{target} is no PyTorch", "give the model that it was made of")
        model = model.given(weights) if weights else model
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SubmissionError(
                f"{out} cannot be written: {error.strerror or error}", "choose another OUT"
            ) from None
        held = _write(model, track, part, out, Path(scratch), limits, progress)
    lines = [f"{part.name}: {out} ({one_line(target)})"]
    lines += [f"  {way:<3}  {label}" for way, labels in held.items() for label in labels]
    file = {"part": part.name, "file": out, "made_of": target}
    return "\n".join(lines), 0, [{**file, "inputs": held["in"], "outputs": held["out"]}]


def _write(
    model: Model,
    track: Track,
    part: Part,
    out: Path,
    scratch: Path,
    limits: Limits,
    progress: Progress,
) -> dict[str, list[str]]:
    """Writes the file; what goes in and comes out, as far as the file has names for it."""
    tick = ticking(progress, f"writing {out.name}")
    if out.suffix.lower() == ".onnx":
        export_onnx(model, track.spec, out, limits, tick)
        graph = read_graph(out, limits, tick)
        return {
            "in": [value.label for value in graph.inputs],
            "out": [value.label for value in graph.outputs],
        }
    traced = out if out.suffix.lower() == ".pt" else scratch / "traced.pt"
    with ModelProcess(model.path.name, scratch, tick, limits, torch=True) as process:
        try:
            names = process.trace(model, track.spec, traced)
        except ChildError as error:
            raise SubmissionError(
                f"{model.path.name} cannot be traced: {error}",
                "let forward() take and return tensors, without branches on their values",
            ) from None
    tensors = {str(tensor.name): tensor for tensor in part.inputs}
    if traced is not out:
        from reference.litert.convert import Input, convert_file

        taken = [
            Input(name, tuple(size or 1 for size in tensors[name].shape), tensors[name].dtypes[0])
            for name in names
        ]
        output = part.output.name or part.output.kind or "output"
        convert_file(traced, "torchscript", taken, out, outputs=[output], limits=limits, tick=tick)
    own = (tensors[name] for name in names)
    return {"in": [f"{t.name} {t.dtypes[0]} {format_shape(t.shape)}" for t in own], "out": []}


def _reference(
    track: Track, folder: Path, form: Form, weights: Path | None, resolution: int | None
) -> Found:
    try:
        from reference.export import export_reference
    except ModuleNotFoundError as error:
        raise SubmissionError(
            f"a reference model needs {error.name}, which is not installed",
            install_command("torch"),
        ) from None
    folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), stderr_progress() as progress:
        warnings.simplefilter("always", CheckpointWarning)
        warnings.showwarning = lambda message, *_, **__: print(
            f"lpcvc: {one_line(str(message))}", file=sys.stderr
        )
        tell = lambda stage, share: progress(f"{stage}, {100 * share:.0f} %")  # noqa: E731
        paths = export_reference(track, folder, form, weights, resolution, tell)
    kind = weights.name if weights else "random weights"
    text = "\n".join(f"{part}: {path} ({kind})" for part, path in paths.items())
    return text, 0, [{"part": p, "file": path, "made_of": kind} for p, path in paths.items()]
