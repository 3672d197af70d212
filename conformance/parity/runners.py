"""The runtimes as runners: tensors inside one model for one set of inputs, each in a child."""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from conformance.parity.flow import Flow
from conformance.parity.locate import Runner
from conformance.runtimes.npu import compile_file, remembered
from conformance.runtimes.process import ModelProcess
from conformance.submission.model import Model
from reference.agreement import Array
from reference.cache import Cache
from reference.npu.devices import Device
from reference.process import Limits, Tick

Feeds = dict[str, np.ndarray]


@dataclass(frozen=True)
class Workplace:
    """Where children write, what they may take, and who hears how long they have taken."""

    folder: Path
    limits: Limits
    tick: Tick

    def process(self, model: Model) -> ModelProcess:
        """A child for `model`, not loaded yet."""
        name = model.path.name
        return ModelProcess(name, self.folder, self.tick, self.limits, torch=model.torch)

    def fresh(self) -> Path:
        """A new folder."""
        return Path(tempfile.mkdtemp(dir=self.folder))


def run_model(model: Model, feeds: Iterable[Feeds], place: Workplace) -> list[Array]:
    """The first output for each of `feeds`, in onnxruntime on the CPU or in PyTorch.

    Raises SubmissionError where the model cannot be loaded and ChildError where it does not take
    the inputs.
    """
    with place.process(model) as process:
        process.load(model)
        return [process.run(one, place.fresh() / "pass").outputs[0] for one in feeds]


def emulate(
    model: Path, device: Device, feeds: Feeds, place: Workplace, cache: Cache | None = None
) -> dict[str, Array]:
    """The outputs of the ONNX or TFLite file `model` on the emulated NPU of `device`.

    Raises as `compile_file` and `emulated` do, SubmissionError where it does not compile.
    """
    compiled = compile_file(model, device, limits=place.limits, cache=cache, tick=place.tick)
    with remembered(compiled, place.limits, place.tick, cache) as forward:
        return {**forward(feeds)}


def torch_runner(model: Model, modules: dict[str, str], feeds: Feeds, place: Workplace) -> Runner:
    """What PyTorch modules return, under the names of the ONNX tensors; `modules` by tensor."""

    def run(tensors: Sequence[str]) -> dict[str, Array]:
        with place.process(model) as process:
            process.watch(model, [modules[name] for name in tensors])
            outputs = process.run(feeds, place.fresh() / "pass").outputs
        return dict(zip(tensors, outputs, strict=True))

    return run


def onnx_runner(flow: Flow, feeds: Feeds, place: Workplace) -> Runner:
    """Tensors in onnxruntime on the CPU."""

    def run(tensors: Sequence[str]) -> dict[str, Array]:
        part, own = _exposed(flow, tensors, feeds, place)
        model = Model("", "onnx", str(part))
        with place.process(model) as process:
            process.load(model)
            outputs = process.run(own, place.fresh() / "pass").outputs
        return dict(zip(tensors, outputs, strict=True))

    return run


def npu_runner(flow: Flow, device: Device, feeds: Feeds, place: Workplace) -> Runner:
    """Tensors on the emulated NPU; what is compiled for them goes with the workplace."""

    def run(tensors: Sequence[str]) -> dict[str, Array]:
        part, own = _exposed(flow, tensors, feeds, place)
        return emulate(part, device, own, place, Cache(part.parent / "cache"))

    return run


def torch_modules(model: Model, place: Workplace) -> set[str]:
    """The names of the modules that can be watched; none in an archive of code."""
    with place.process(model) as process:
        return set(process.watch(model, []))


def _exposed(
    flow: Flow, tensors: Sequence[str], feeds: Feeds, place: Workplace
) -> tuple[Path, Feeds]:
    """The part of the model that computes `tensors`, and the inputs that it takes."""
    path = place.fresh() / "part.onnx"
    inputs = flow.expose(tensors, path)
    return path, {name: array for name, array in feeds.items() if name in inputs}
