"""The reference models, and a submission's traced model, as the files that the tracks take: ONNX
and TorchScript.
"""

import inspect
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnx
import onnx_ir
import onnx_ir.passes.common as passes
import torch
from onnxscript.optimizer import fold_constants
from onnxscript.rewriter import RewritePass
from onnxscript.rewriter.rules.common import flatten_to_reshape_rule
from torch import nn

from reference.child import Tell
from reference.errors import SubmissionError
from reference.exported import keep_exported
from reference.install import install_command
from reference.registry import all_tracks
from reference.torch_forward import in_order, of_inputs_alone, reason
from reference.tracks import Part, Tensor, Track

OPSET = 17

_SUFFIXES = {"onnx": ".onnx", "torchscript": ".pt"}
# Bytes of weights that one file takes: protobuf's 2 GiB less room for the graph.
_LARGEST = 2**31 - 2**24
_START, _END = 49406, 49407  # of text, in CLIP's vocabulary


def build_reference(
    track: Track, weights: Path | None = None, resolution: int | None = None
) -> dict[str, nn.Module]:
    """The reference model of `track`, a module for each part, in eval mode on the CPU.

    Without `weights`, an official checkpoint, the weights are random and seeded. `resolution` is
    the edge in pixels that the network works at inside, where the track leaves it open. Raises
    SubmissionError where the track has no reference model or no choice of resolution, a library of
    the `torch` extra is missing, or the checkpoint or the resolution cannot be used.
    """
    if not track.has("model"):
        known = ", ".join(other.id for other in all_tracks().values() if other.has("model"))
        raise SubmissionError(f"track {track.id} has no reference model", f"choose one of: {known}")
    try:
        module = track.room("model")
    except ModuleNotFoundError as error:
        raise SubmissionError(
            f"the reference model of {track.id} needs {error.name}",
            install_command("torch"),
        ) from error
    chosen = {} if resolution is None else {"resolution": resolution}
    if not chosen.keys() <= inspect.signature(module.build).parameters.keys():
        raise SubmissionError(
            f"the reference model of {track.id} has one resolution", "leave the resolution out"
        )
    models: dict[str, nn.Module] = module.build(weights, **chosen)
    return models


def example_inputs(part: Part, high: float = 1.0) -> tuple[torch.Tensor, ...]:
    """Inputs to the part's contract, the same at each call: images in [0, high), CLIP token ids.

    `high` is the track's `image_high` where the values matter; for tracing they do not.
    """
    generator = torch.Generator().manual_seed(0)
    return tuple(_example(tensor, high, generator) for tensor in part.inputs)


def _example(tensor: Tensor, high: float, generator: torch.Generator) -> torch.Tensor:
    shape = tuple(size or 1 for size in tensor.shape)
    dtype: torch.dtype = getattr(torch, tensor.dtypes[0])
    if dtype.is_floating_point:
        return torch.rand(shape, dtype=dtype, generator=generator) * high
    if tensor.kind != "text":
        return torch.ones(shape, dtype=dtype)
    length, words = shape[-1], 10
    ids = torch.full((length,), _END, dtype=dtype)
    ids[0] = _START
    ids[1 : words + 1] = torch.randint(0, _START, (words,), dtype=dtype, generator=generator)
    if len(shape) == 2:
        return ids.view(shape)
    attention = (torch.arange(length) < words + 2).to(dtype)
    return torch.stack((ids, attention)).view(shape)


def export_onnx(module: nn.Module, part: Part, path: Path) -> Path:
    """Write `module`, which may be a loaded TorchScript module, as ONNX to `path`; returns `path`.

    Inputs and output are named as the contract names them (`embedding` or `depth` where it names
    no output); inputs are in the order of the module's own arguments, where these have such names.
    Else as `write_onnx` does.
    """
    examples = {
        _name(tensor): x for tensor, x in zip(part.inputs, example_inputs(part), strict=True)
    }
    names = in_order(module, list(examples))
    inputs = tuple(examples[name] for name in names)
    own = of_inputs_alone(module, len(inputs))
    return write_onnx(own, inputs, path, names, [_name(part.output)], f"part {part.name}")


def write_onnx(
    module: nn.Module,
    inputs: tuple[torch.Tensor, ...],
    path: Path,
    input_names: Sequence[str],
    output_names: Sequence[str] | None = None,
    title: str = "the model",
) -> Path:
    """Write `module`, run on `inputs`, as ONNX to `path`; returns `path`.

    Opset 17, static shapes, constants folded. One file; above 2 GiB the weights are in `path` with
    `.data` appended. The file is complete or it is not there. Raises SubmissionError, which calls
    the module `title`, for one that cannot be exported.
    """
    with _draft(path) as draft, warnings.catch_warnings():
        # The exporter is deprecated in torch, yet its graphs are what the NPU compilers know.
        warnings.simplefilter("ignore")
        raw = draft.parent / "raw" / draft.name
        raw.parent.mkdir()
        try:
            torch.onnx.export(
                module,
                inputs,
                str(raw),
                opset_version=OPSET,
                input_names=list(input_names),
                output_names=None if output_names is None else list(output_names),
                dynamo=False,
            )
        except (RuntimeError, TypeError, ValueError) as error:
            raise SubmissionError(
                f"{title} cannot be exported to ONNX: {reason(error)}",
                f"export it to ONNX opset {OPSET} yourself and give the .onnx file",
            ) from error
        model = _folded(onnx.load(raw))
        if sum(len(tensor.raw_data) for tensor in model.graph.initializer) > _LARGEST:
            onnx.save_model(model, draft, save_as_external_data=True, location=f"{draft.name}.data")
        else:
            onnx.save_model(model, draft)
    return path


def _folded(model: onnx.ModelProto) -> onnx.ModelProto:
    """As onnxscript.optimizer does it, without the rewrites that find nothing in what the exporter
    writes: one of them compares each node with every other, minutes for X-Decoder.
    """
    graph = onnx_ir.from_proto(model)
    for _ in range(2):  # what is folded leaves more to fold
        fold_constants(graph, onnx_shape_inference=True)
        RewritePass([flatten_to_reshape_rule])(graph)
        passes.RemoveUnusedNodesPass()(graph)
    for each in (
        passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        passes.DeduplicateInitializersPass(),
        passes.CommonSubexpressionEliminationPass(),
        passes.OutputFixPass(),
        passes.NameFixPass(),
    ):
        each(graph)
    return onnx_ir.to_proto(graph)


def _name(tensor: Tensor) -> str:
    """The contract's name; an output that it leaves unnamed is called what it is."""
    return tensor.name or tensor.kind or "output"


def export_torchscript(module: nn.Module, part: Part, path: Path) -> Path:
    """Trace `module` and write it as TorchScript to `path`; returns `path`.

    Its arguments are the module's own, in their order. The file is complete or it is not there.
    """
    examples = {
        str(tensor.name): x for tensor, x in zip(part.inputs, example_inputs(part), strict=True)
    }
    inputs = tuple(examples[name] for name in in_order(module, list(examples)))
    with _draft(path) as draft, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated in torch, asked for by the tracks
        traced = torch.jit.trace(module, inputs, check_trace=False)  # type: ignore[no-untyped-call]
        traced.save(str(draft))
    return path


def export_reference(
    track: Track,
    folder: Path,
    form: str = "onnx",
    weights: Path | None = None,
    resolution: int | None = None,
    tell: Tell = lambda stage, share: None,
) -> dict[str, Path]:
    """Write each part of the track's reference model into `folder`; the files by part name.

    `form` is `onnx` or `torchscript`. The user's cache keeps them for the next time. `tell` is
    called at each step. Raises SubmissionError for another form, and as `build_reference` does.
    """
    if form not in _SUFFIXES:
        raise SubmissionError(f"unknown form {form!r}", f"choose one of: {', '.join(_SUFFIXES)}")
    export = export_onnx if form == "onnx" else export_torchscript

    def write(into: Path) -> dict[str, Path]:
        tell("building the network", 0.0)
        models, written = build_reference(track, weights, resolution), {}
        for index, part in enumerate(track.parts):
            tell(f"exporting {part.name}", (index + 1) / (len(track.parts) + 1))
            path = into / f"{track.id}-{part.name}{_SUFFIXES[form]}"
            written[part.name] = export(models[part.name], part, path)
        return written

    return keep_exported(track, folder, form, weights, resolution, write)


@contextmanager
def _draft(path: Path) -> Iterator[Path]:
    """A path to write to in place of `path`; what was written there is moved when all went well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as scratch:
        draft = Path(scratch) / path.name
        yield draft
        # The model last: whoever sees it finds its weights in place.
        files = (entry for entry in Path(scratch).iterdir() if entry.is_file())
        for file in sorted(files, reverse=True):
            os.replace(file, path.parent / file.name)
