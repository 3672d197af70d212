"""Make an int8 model of a float one."""

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from collections.abc import Set as AnySet
from pathlib import Path

import click
import numpy as np

from conformance.contract.probes import PHOTOS, TEXTS
from conformance.report.progress import stderr_progress
from conformance.subject import Progress, ticking
from conformance.submission.graph import Graph, megabytes, read_graph
from conformance.submission.opening import open_models
from conformance.verbs import PATH, Found, in_json, limited, model_track
from conformance.verbs._models import answers
from reference.agreement import Nothing, told, tolerances
from reference.data import fixture
from reference.datasets.files import PICTURES
from reference.errors import SubmissionError, one_line
from reference.npu.quantize import JUDGED_EVERY, Feeds, Precision, Quantized, quantize
from reference.process import Limits
from reference.tracks import Part, Track, fits

# Of an embedding: below it, rankings are no longer those of the float model.
COLLAPSED = 0.9


@click.command()
@click.argument("model")
@click.argument("output", type=PATH, metavar="OUT.onnx")
@click.option("--track", required=True, metavar="TRACK")
@click.option("--part", metavar="PART", help="Which model of the track it is, where there are two.")
@click.option("--images", type=PATH, metavar="DIR", help="Pictures to calibrate on; default: four.")
@click.option("--texts", type=PATH, metavar="FILE", help="Texts to calibrate on, one a line.")
@click.option(
    "--precision",
    type=click.Choice(["w8a8", "w8a16"]),
    default="w8a8",
    help="Bits of the weights and activations.",
)
@limited("quantising")
@in_json
def command(
    model: str,
    output: Path,
    track: str,
    part: str | None,
    images: Path | None,
    texts: Path | None,
    precision: Precision,
    limits: Limits,
) -> Found:
    """Make a quantised model, OUT.onnx, of the float MODEL: an .onnx file, or a folder or zip with
    one.

    It is calibrated on examples of the task, prepared as the track prepares them; without --images
    and --texts on the suite's own.
    """
    contract = model_track(track)
    own = _part(contract, part)
    endings = getattr(contract.room("inputs"), "ENDINGS", PICTURES) if images else PICTURES
    pictures = _pictures(images, endings) if own.image else []
    lines = _lines(texts) if own.text else []
    with tempfile.TemporaryDirectory(prefix="lpcvc-") as scratch, stderr_progress() as progress:
        source = _onnx_file(contract, own, model, Path(scratch), limits)
        if output.resolve() == source.resolve():
            raise SubmissionError(
                f"{output} is the float model", "choose another name for OUT.onnx"
            )
        examples = _examples(contract, own, read_graph(source, limits), pictures, lines, progress)
        tick = ticking(progress, f"quantising {source.name}")
        kept: list[Feeds] = []
        seen = _keeping(examples, kept)
        made = quantize(source, output, seen, precision, limits=limits, tick=tick)
        options = (("--images", images, own.image), ("--texts", texts, own.text))
        missing = [option for option, given, tensor in options if tensor and not given]
        tick = ticking(progress, f"comparing {output.name} with {source.name}")
        pair = [answers(path, kept[0], Path(scratch), limits, tick)[0] for path in (source, output)]
        verdict = _verdict(contract, *pair)
        report = [*_report(contract, own, source, made, missing), *verdict]
        return "\n".join(report), 0, _values(contract, own, source, made, verdict)


def _values(
    track: Track, part: Part, source: Path, made: Quantized, verdict: Sequence[str]
) -> dict[str, object]:
    """What the report says, as values."""
    return {
        "track": track.id,
        "part": part.name,
        "file": made.path,
        "precision": made.precision,
        "bytes": made.size,
        "float_bytes": source.stat().st_size,
        "operators": made.operators,
        "quantised_operators": made.quantised,
        "examples_calibrated_on": made.calibrated,
        "examples_judged_by": made.judged,
        "to_the_float_model": made.fidelity,
        "verdict": [line.strip().removeprefix("-> ").removeprefix("verdict: ") for line in verdict],
    }


def _part(track: Track, name: str | None) -> Part:
    names = [part.name for part in track.parts]
    if name is None and len(names) > 1:
        raise SubmissionError(
            f"{track.id} takes {len(names)} models", f"add --part with one of: {', '.join(names)}"
        )
    if name is not None and name not in names:
        raise SubmissionError(
            f"{track.id} has no part {name!r}", f"its parts are: {', '.join(names)}"
        )
    return track.part(name or names[0])


def _onnx_file(track: Track, part: Part, target: str, scratch: Path, limits: Limits) -> Path:
    (model,) = open_models(track, part.name, target, scratch, limits)
    if model.format != "onnx":
        raise SubmissionError(f"{target} is not ONNX", "export it and give the .onnx file")
    return model.path


def _pictures(folder: Path | None, known: AnySet[str]) -> list[Path]:
    if folder is None:
        return [fixture(f"photos/{file}") for file, _ in PHOTOS.values()]
    if not folder.is_dir():
        raise SubmissionError(f"no such folder: {folder}", "give --images the folder of pictures")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in known)
    if not found:
        endings = ", ".join(sorted(known))
        raise SubmissionError(
            f"{folder} holds no pictures", f"put files there that end in {endings}"
        )
    return found


def _lines(file: Path | None) -> Sequence[str]:
    if file is None:
        return TEXTS
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SubmissionError(
            f"{file} cannot be read as text ({error})", "save it as UTF-8"
        ) from None
    if not any(lines):
        raise SubmissionError(f"{file} holds no text", "write one text a line")
    return [line for line in lines if line]


def _examples(
    track: Track,
    part: Part,
    graph: Graph,
    pictures: Sequence[Path],
    lines: Sequence[str],
    progress: Progress,
) -> Iterator[Feeds]:
    """The inputs of one forward pass for each picture, or for each text without pictures."""
    dtypes = _dtypes(track, part, graph)
    inputs = track.room("inputs")
    pairs: Iterator[tuple[Path | None, str]]
    if pictures:
        pairs = zip(pictures, itertools.cycle(lines or [""]), strict=False)
    else:
        pairs = zip(itertools.repeat(None), lines, strict=False)
    total = len(pictures or lines)
    for count, (picture, line) in enumerate(pairs, 1):
        progress(f"preparing {picture.name if picture else repr(line)} ({count}/{total})")
        feeds: dict[str, np.ndarray] = {}
        for tensor in part.inputs:
            made = (
                inputs.prepare_image(picture) if tensor is part.image else inputs.prepare_text(line)
            )
            feeds[str(tensor.name)] = made.astype(dtypes[str(tensor.name)])
        yield feeds


def _keeping(examples: Iterator[Feeds], kept: list[Feeds]) -> Iterator[Feeds]:
    """The same; in the end `kept` has the last one that is not calibrated on."""
    for count, feeds in enumerate(examples, 1):
        if count < JUDGED_EVERY or count % JUDGED_EVERY == 0:
            kept[:] = [feeds]
        yield feeds


def _verdict(track: Track, one: np.ndarray, other: np.ndarray) -> list[str]:
    """How the quantised answer is to the float one by the measure of the track, and what helps."""
    if not track.has("agreement"):
        return []
    room = track.room("agreement")
    try:
        measures = room.measure(one, other, Nothing())
    except (TypeError, ValueError) as error:
        return [f"  verdict: none, the answers cannot be compared: {one_line(str(error))}"]
    held = tolerances(room, "w8a8")
    broken = [t for t in held if not t.allows(getattr(measures, t.measure))]
    figures = told(room, measures)
    if not broken:
        return [f"  verdict: as close as 8 bits are, {figures} (1 example)"]
    wanted = "; ".join(str(tolerance) for tolerance in broken)
    return [
        f"  verdict: further off than 8 bits are, {figures} (1 example), expected {wanted}",
        "    -> calibrate on more examples of the task, or give its sensitive operators 16 bits",
    ]


def _dtypes(track: Track, part: Part, graph: Graph) -> dict[str, str]:
    """What the model declares for each input of the contract; it must have these and no other."""
    found = {value.name: value for value in graph.inputs}
    for tensor in part.inputs:
        value = found.pop(str(tensor.name), None)
        if value is None or value.dtype not in tensor.dtypes or not fits(value.shape, tensor.shape):
            seen = value.label if value else f"no input {tensor.name!r}"
            raise _other_inputs(track, graph, f"has {seen}, not {tensor.label}")
    if found:
        raise _other_inputs(track, graph, f"has one more input, {', '.join(found)}")
    return {value.name: value.dtype for value in graph.inputs}


def _other_inputs(track: Track, graph: Graph, problem: str) -> SubmissionError:
    return SubmissionError(
        f"{graph.path.name} {problem}",
        f"let it keep the contract of {track.id} first: lpcvc rules --track {track.id}",
    )


def _report(
    track: Track, part: Part, source: Path, made: Quantized, missing: Sequence[str]
) -> list[str]:
    """What was made; `missing` are the options whose place the suite's own examples took."""
    title = track.id if len(track.parts) == 1 else f"{track.id} {part.name}"
    sizes = f"{megabytes(source.stat().st_size)} -> {megabytes(made.size)}"
    own = f"; the suite's own, for your task give {' and '.join(missing)}" if missing else ""
    close = "; ".join(
        f"{one_line(name)} cosine {output.cosine:.4f}, SQNR {output.sqnr_db:.1f} dB"
        for name, output in made.fidelity.items()
    )
    lines = [
        f"{title}, {one_line(str(made.path))}: {made.precision}, {sizes},"
        f" {made.quantised} of {made.operators} operators quantised",
        f"  examples: {made.calibrated} to calibrate on, {made.judged} to judge by{own}",
        f"  to the float model: {close}",
    ]
    embedding = None in part.output.shape
    if embedding and not all(output.cosine >= COLLAPSED for output in made.fidelity.values()):
        remedy = "calibrate on more examples, and write attention masks as -100, not as -inf"
        if made.precision == "w8a8":
            remedy += "; or take --precision w8a16"
        lines += [f"  warning: embeddings collapse, cosine below {COLLAPSED}", f"    -> {remedy}"]
    return lines
