"""Converts PyTorch models to TFLite with Google's litert-torch, in a child process."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reference.errors import SubmissionError
from reference.litert.network import Network, read_network
from reference.litert.process import LiteRtProcess
from reference.litert.toolchain import find_converter, find_litert
from reference.process import ChildError, Limits, Tick

if TYPE_CHECKING:
    import torch
    from torch import nn

_REMEDY = (
    "write that part with plain operators on tensors of fixed shape, or give the model as ONNX"
)


@dataclass(frozen=True)
class Input:
    """An input of a PyTorch model in the order of its `forward`; `dtype` is torch's name."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Converted:
    """A TFLite file that was made; `tools` are what made it, with their versions.

    `seconds` and `peak_memory` (bytes, None where the system does not tell) are the converter's.
    """

    path: Path
    network: Network
    tools: str
    seconds: float
    peak_memory: int | None


def convert_file(
    source: Path,
    form: str,
    inputs: Sequence[Input],
    output: Path,
    *,
    outputs: Sequence[str] = (),
    last_inputs: Sequence[str] = (),
    last_outputs: Sequence[str] = (),
    limits: Limits = Limits(),  # noqa: B008 - frozen
    tick: Tick = lambda seconds: None,
) -> Converted:
    """Writes the PyTorch archive `source` as TFLite to `output`.

    `form` is "torchscript" or "exported" (a program of torch.export). The one signature is
    `serving_default`, with the inputs under their names and the outputs under `outputs`, without
    which they are `output_0` and so on. Those in `last_inputs` and `last_outputs` get their
    channels last; `inputs` have the shapes before that. Integers of 64 bits become 32 bits, floats
    stay float32.

    Raises SubmissionError where the converter is missing, cannot take the model, crashes or goes
    beyond `limits`.
    """
    tools = f"{find_converter()}, {find_litert()}"
    start = time.perf_counter()
    with LiteRtProcess(f"converting {source.name}", tick, limits, tool="litert-torch") as process:
        draft = process.scratch / "model.tflite"
        try:
            peak = process.ask(
                "convert",
                model=str(source.resolve()),
                form=form,
                inputs=[[each.name, each.shape, each.dtype] for each in inputs],
                outputs=list(outputs),
                last_inputs=list(last_inputs),
                last_outputs=list(last_outputs),
                path=str(draft),
            )["memory"]
        except ChildError as error:
            raise SubmissionError(
                f"{source.name} does not become TFLite: {error}", _REMEDY
            ) from None
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(draft.read_bytes())
    seconds = time.perf_counter() - start
    return Converted(output, read_network(output), tools, seconds, peak)


def convert_module(
    module: "nn.Module",
    examples: "Mapping[str, torch.Tensor]",
    output: Path,
    *,
    outputs: Sequence[str] = (),
    limits: Limits = Limits(),  # noqa: B008 - frozen
    tick: Tick = lambda seconds: None,
) -> Converted:
    """Writes a PyTorch module, in eval mode, as TFLite to `output`; else as `convert_file` does.

    `examples` are inputs by the names that they get, in the order of `forward`.
    """
    import torch

    find_converter()
    with tempfile.TemporaryDirectory(prefix="lpcvc-litert-") as scratch:
        draft = Path(scratch) / "module.pt2"
        try:
            program = torch.export.export(module, tuple(examples.values()), strict=False)
        except Exception as error:  # whatever the model's own code raises
            raise SubmissionError(f"the module cannot be exported: {error}", _REMEDY) from error
        torch.export.save(program, draft)
        given = [
            Input(name, tuple(x.shape), str(x.dtype).removeprefix("torch."))
            for name, x in examples.items()
        ]
        return convert_file(
            draft, "exported", given, output, outputs=outputs, limits=limits, tick=tick
        )
