"""The emulated NPU of a device for ONNX and TFLite files, each with its own compiler."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache as once
from pathlib import Path

import numpy as np

from conformance.runtimes.tflite import from_file, to_file
from conformance.submission.graph import TFLITE_FILES
from reference.arrays import write_npy
from reference.cache import ANSWER, Cache
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


@contextmanager
def remembered(
    made: Made, limits: Limits, tick: Tick, cache: Cache | None = None
) -> Iterator[Callable[[Feeds], Feeds]]:
    """As `emulated`, of what was not emulated before: the answers are kept in the `cache`, if it
    can be written, as the emulator computes them anew to the bit.
    """
    cache = cache or Cache()
    with ExitStack() as stack:
        begin = once(lambda: stack.enter_context(emulated(made, limits, tick)))

        def answer(feeds: Feeds) -> Feeds:
            key = _answer_key(made, feeds)
            entry = cache.find(key)
            if entry is not None:
                names = json.loads((entry / ANSWER).read_text(encoding="utf-8"))
                return {name: np.load(entry / f"{n}.npy") for n, name in enumerate(names)}
            outputs = begin()(feeds)
            with suppress(SubmissionError, OSError), cache.fill(key) as draft:
                for number, array in enumerate(outputs.values()):
                    write_npy(draft / f"{number}.npy", array)
                (draft / ANSWER).write_text(json.dumps(list(outputs)), encoding="utf-8")
            return outputs

        yield answer


def _answer_key(made: Made, feeds: Feeds) -> str:
    """The folder has the name of all that decides what was compiled, the toolchain too."""
    sha = hashlib.sha256(f"answer of {made.folder.name}".encode())
    for name, array in sorted(feeds.items()):
        sha.update(repr((name, array.dtype.str, array.shape)).encode())
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()
