"""The emulated NPU of a device for ONNX and TFLite files, each with its own compiler."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from conformance.runtimes.tflite import from_file, to_file
from conformance.submission.graph import TFLITE_FILES
from reference.cache import Cache
from reference.errors import SubmissionError
from reference.litert.compile import CompiledTflite, compile_tflite
from reference.litert.emulator import TfliteEmulator
from reference.npu.compile import Compiled, compile_model
from reference.npu.devices import Device
from reference.npu.emulator import Emulator
from reference.process import Limits, Tick

Made = Compiled | CompiledTflite
Feeds = dict[str, np.ndarray]


def compile_file(
    model: Path,
    device: Device,
    *,
    dlc: bool = False,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    cache: Cache | None = None,
    tick: Tick = lambda seconds: None,
) -> Made:
    """Compiles the ONNX or TFLite file `model` for `device`, as `compile_model` or
    `compile_tflite` does, and raises as they do.
    """
    compiler = compile_tflite if is_tflite(model) else compile_model
    return compiler(model, device, dlc=dlc, limits=limits, cache=cache, tick=tick)


def is_tflite(model: Path) -> bool:
    """Whether a file is TFLite and no ONNX, by its name."""
    return model.suffix.lower() in TFLITE_FILES


def no_schedule(model: Path) -> SubmissionError:
    """What to say where a latency is to be estimated of a TFLite file."""
    return SubmissionError(
        f"{model.name} is TFLite, which the compiler gives no schedule of",
        "estimate the ONNX or PyTorch model that it was made of, with --runtime tflite",
    )


@contextmanager
def emulated(
    made: Made,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    tick: Tick = lambda seconds: None,
) -> Iterator[Callable[[Feeds], Feeds]]:
    """The forward pass on the emulated NPU: outputs by name for inputs by name.

    Quantised inputs and outputs of a TFLite file are float32. Raises as the emulators do.
    """
    if isinstance(made, Compiled):
        with Emulator(made, limits, tick) as emulator:
            yield lambda feeds: {**emulator.run(feeds)}
    else:
        with TfliteEmulator(made, limits, tick) as parts:
            yield lambda feeds: from_file(made.network, parts.run(to_file(made.network, feeds)))
