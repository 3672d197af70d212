"""Jobs of the local AI Hub on small models, and data sets as the client writes and reads them."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np
import onnx
from qai_hub.util.dataset_entries_converters import dataset_entries_to_h5, h5_to_dataset_entries

from reference.aihub.options import compile_options
from reference.aihub.tasks import (
    CompileTask,
    InferenceTask,
    Model,
    ModelKind,
    Result,
    TensorSpec,
)
from reference.aihub.work import run
from reference.aihub.worker import JobChild
from reference.npu.devices import Device, find_device
from reference.process import Limits
from reference.tests.npu_models import save

S24 = find_device("Samsung Galaxy S24")
QCS6490 = find_device("QCS6490 (Proxy)")
SIMULATED = find_device("SA8775P ADP")
LIMITS = Limits(timeout=300.0)

Samples = dict[str, list[np.ndarray]]


def upload(samples: Samples, path: Path) -> Path:
    """The data set as the client would upload it."""
    with h5py.File(path, "w") as file:
        dataset_entries_to_h5(samples, file)
    return path


def download(path: Path | None) -> Samples:
    """What the client makes of a data set."""
    assert path is not None
    with h5py.File(path, "r") as file:
        return h5_to_dataset_entries(file)


def onnx_model(build, folder: Path) -> Model:
    folder.mkdir(parents=True, exist_ok=True)
    return Model(save(build, folder), ModelKind.ONNX)


def compile_it(
    model: Model,
    folder: Path,
    options: str,
    specs: dict[str, tuple] | None = None,
    device: Device = S24,
    calibration: Path | None = None,
) -> Result:
    """`specs` are the client's: a shape, or a shape and a dtype."""
    tensors = tuple(to_spec(name, spec) for name, spec in (specs or {}).items())
    return run(CompileTask(model, device, options, tensors, calibration), folder, LIMITS)


def infer(
    model: Model | None,
    folder: Path,
    samples: Samples | None,
    options: str = "",
    device: Device = S24,
    profile: bool = False,
) -> Result:
    assert model is not None
    folder.mkdir(parents=True, exist_ok=True)
    data = upload(samples, folder / "inputs.h5") if samples else None
    return run(InferenceTask(model, device, options, data, profile), folder, LIMITS)


def to_spec(name: str, spec: tuple) -> TensorSpec:
    """The spec of an input as the client takes it: a shape, or a shape and a dtype."""
    shape, dtype = spec if isinstance(spec[0], tuple) else (spec, "float32")
    return TensorSpec(name, shape, dtype)


def load(model: Model | None) -> onnx.ModelProto:
    assert model is not None
    return onnx.load(model.path / "model.onnx" if model.path.is_dir() else model.path)


def refusal(
    build: Callable[[], onnx.ModelProto],
    folder: Path,
    options: str,
    specs: dict[str, tuple] | None = None,
) -> str | None:
    """Why the child refuses a compile job, None where it does not.

    It is asked in this process, since starting one takes a second.
    """
    answer = JobChild().prepare(
        model=str(save(build, folder)),
        output=str(folder / "target.onnx"),
        name="",
        specs=[asdict(to_spec(name, spec)) for name, spec in (specs or {}).items()],
        refuse_int64="onnx" not in options,
        change=asdict(compile_options(options)),
    )
    return answer.get("refusal")
