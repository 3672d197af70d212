"""`lpcvc quantize`: a quantised model from a float one and pictures of the task."""

import importlib
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from conformance.graph import Graph, megabytes, read_graph
from conformance.probes import PHOTOS, TEXTS
from conformance.report.progress import ProgressLine, stderr_progress
from conformance.submission import open_model
from reference.data import fixture
from reference.errors import SubmissionError
from reference.npu.quantize import Feeds, Precision, Quantized, quantize
from reference.process import Limits
from reference.tracks import Part, Track, fits

# Of an embedding: below it, rankings are no longer those of the float model.
COLLAPSED = 0.9
_PICTURES = {".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}


def quantize_part(
    track: Track,
    name: str | None,
    model: str,
    output: Path,
    *,
    images: Path | None,
    texts: Path | None,
    precision: Precision,
    limits: Limits,
) -> str:
    """Quantises `model`, the part `name` of a submission to `track`; what became of it, as text.

    It is calibrated on the pictures below the folder `images` and the lines of the file `texts`,
    prepared as the track prepares them; without them on the suite's own. Raises SubmissionError
    for what cannot be opened, prepared or quantised.
    """
    part = _part(track, name)
    pictures = _pictures(images) if part.image else []
    lines = _lines(texts) if part.text else []
    progress = stderr_progress()
    with tempfile.TemporaryDirectory(prefix="lpcvc-") as scratch:
        source = _onnx_file(part, model, Path(scratch))
        if output.resolve() == source.resolve():
            raise SubmissionError(
                f"{output} is the float model", "choose another name for OUT.onnx"
            )
        examples = _examples(track, part, read_graph(source), pictures, lines, progress)
        try:
            made = quantize(
                source,
                output,
                examples,
                precision,
                limits=limits,
                tick=lambda seconds: progress(f"quantising {source.name} {seconds:.0f} s"),
            )
        finally:
            progress.clear()
        own = (not images and part.image is not None) or (not texts and part.text is not None)
        return _report(track, part, source, made, own)


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


def _onnx_file(part: Part, target: str, scratch: Path) -> Path:
    model = open_model(part.name, target, scratch)
    if model.format != "onnx":
        raise SubmissionError(f"{target} is not ONNX", "export it and give the .onnx file")
    return model.path


def _pictures(folder: Path | None) -> list[Path]:
    if folder is None:
        return [fixture(f"photos/{file}") for file, _ in PHOTOS.values()]
    if not folder.is_dir():
        raise SubmissionError(f"no such folder: {folder}", "give --images the folder of pictures")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _PICTURES)
    if not found:
        endings = ", ".join(sorted(_PICTURES))
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
    progress: ProgressLine,
) -> Iterator[Feeds]:
    """The inputs of one forward pass for each picture, or for each text without pictures."""
    dtypes = _dtypes(track, part, graph)
    inputs = importlib.import_module(track.inputs)
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


def _report(track: Track, part: Part, source: Path, made: Quantized, own: bool) -> str:
    title = track.id if len(track.parts) == 1 else f"{track.id} {part.name}"
    sizes = f"{megabytes(source.stat().st_size)} -> {megabytes(made.size)}"
    whose = "the suite's own examples" if own else "examples"
    lines = [
        f"{title}, {made.path}: {made.precision}, {sizes},"
        f" {made.quantised} of {made.operators} operators quantised",
        f"  calibrated on {made.calibrated} of {whose}, judged on {made.judged}"
        + ("; for your task give --images and --texts" if own else ""),
    ]
    close = made.fidelity.items()
    lines.append(
        "  to the float model: "
        + "; ".join(f"{name} cosine {f.cosine:.4f}, SQNR {f.sqnr_db:.1f} dB" for name, f in close)
    )
    if None in part.output.shape and not all(f.cosine >= COLLAPSED for _, f in close):
        better = "calibrate on more and other examples"
        if made.precision == "w8a8":
            better += ", or take --precision w8a16"
        lines.append(f"  warning: embeddings collapse, cosine below {COLLAPSED}\n    -> {better}")
    return "\n".join(lines)
