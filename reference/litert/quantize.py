"""Quantises a TFLite file with Google's ai-edge-quantizer, in a child process."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from reference.errors import SubmissionError
from reference.litert.network import usable_network
from reference.litert.process import LiteRtProcess
from reference.litert.toolchain import find_converter
from reference.process import ChildError, Limits, Tick

TflitePrecision = Literal["w8a8", "w8a16"]


def quantize_tflite(
    model: Path,
    output: Path,
    examples: Iterable[Mapping[str, np.ndarray]],
    precision: TflitePrecision,
    *,
    integer_ends: bool = False,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    tick: Tick = lambda seconds: None,
) -> int:
    """Writes the float TFLite file `model` with weights of int8 and activations of int8 or int16.

    Ranges are the extremes over `examples`, inputs by name. Inputs and outputs stay float, or with
    `integer_ends` become integers too. Returns how many examples there were.

    Raises SubmissionError where the quantiser is missing, there is no example, and where it refuses
    the model, crashes or goes beyond `limits`.
    """
    find_converter()
    usable_network(model)
    name = f"quantising {model.name}"
    with LiteRtProcess(name, tick, limits, tool="ai-edge-quantizer") as process:
        folder = process.scratch / "examples"
        folder.mkdir()
        count = 0
        for count, feeds in enumerate(examples, 1):
            np.savez(folder / f"{count:06}.npz", allow_pickle=False, **dict(feeds))
        if not count:
            raise SubmissionError("there is no example to calibrate on", "give some inputs")
        draft = process.scratch / "quantised.tflite"
        try:
            process.ask(
                "quantize",
                model=str(model.resolve()),
                examples=str(folder),
                precision=precision,
                integer_ends=integer_ends,
                path=str(draft),
            )
        except ChildError as error:
            raise SubmissionError(
                f"{model.name} cannot be quantised: {error}", "quantise it as ONNX"
            ) from None
        output.write_bytes(draft.read_bytes())
    return count
