"""What a job asks of a worker and what it gives back: files in, files and figures out. Nothing here
knows of HTTP, users or queues.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from reference.npu.devices import Device


class ModelKind(IntEnum):
    """The kinds of model, by their number in the client's protocol (`ModelType`)."""

    TORCHSCRIPT = 1
    TFLITE = 4
    ONNX = 6
    QNN_CONTEXT_BINARY = 11
    AIMET_ONNX = 12
    QNN_DLC = 15
    TORCH_EXPORTED_PROGRAM = 16


class ComputeUnit(IntEnum):
    """Where a layer runs, by its number in the client's protocol."""

    CPU = 1
    GPU = 2
    NPU = 3


class TaskError(Exception):
    """A job that cannot be done, for a reason that its owner can act on; shown to them as it is."""


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a model. `dtype` is numpy's name; `shape` is static.

    `scale` and `zero_point` are those of a quantised tensor, None where there are none. `graph` is
    the name of its graph where a file has several.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: float | None = None
    graph: str = ""


@dataclass(frozen=True)
class Model:
    """A model on disk: a file, or a folder of an ONNX file with what belongs to it."""

    path: Path
    kind: ModelKind


@dataclass(frozen=True)
class CompileTask:
    """`input_specs` is empty where none were given. `calibration` is a data set (HDF5)."""

    model: Model
    device: Device
    options: str
    input_specs: tuple[TensorSpec, ...] = ()
    calibration: Path | None = None


@dataclass(frozen=True)
class QuantizeTask:
    """`weights` and `activations` are int4, int8 or int16; `calibration` is a data set (HDF5)."""

    model: Model
    weights: str
    activations: str
    calibration: Path
    options: str


@dataclass(frozen=True)
class LinkTask:
    """Several DLCs to become the graphs of one context binary."""

    models: tuple[Model, ...]
    device: Device
    options: str


@dataclass(frozen=True)
class InferenceTask:
    """A run of a model on `data` (HDF5), or on random data where that is None.

    With `profile` its layers, memory and time are wanted too.
    """

    model: Model
    device: Device
    options: str
    data: Path | None
    profile: bool


Task = CompileTask | QuantizeTask | LinkTask | InferenceTask


@dataclass(frozen=True)
class Layer:
    """One layer of a profile; `microseconds` and `cycles` are None where nothing tells them.

    `part` is the unit of the NPU that does most of its work (matrix, vector, DMA or scalar), empty
    where that is not known.
    """

    name: str
    type: str
    unit: ComputeUnit
    microseconds: float | None = None
    cycles: int | None = None
    part: str = ""


@dataclass(frozen=True)
class Estimated:
    """Microseconds of one inference on a device, by estimate: 80 % of such estimates are expected
    to have the true latency between `low` and `high`.
    """

    time: float
    low: float
    high: float


@dataclass(frozen=True)
class Profile:
    """What a profile job reports; no figure was measured on a device.

    `times` (microseconds of each pass), `load_time`, `compile_time`, `peak_memory` (bytes) and
    `load_peak_memory` are this host's, and `clock` says what it did. `estimate` is None where there
    is none; `basis` says what it rests on, or why there is none. `simulation` says whose times the
    layers have, and is empty where they have none.
    """

    times: tuple[float, ...]
    load_time: float
    compile_time: float
    peak_memory: int
    load_peak_memory: int
    layers: tuple[Layer, ...]
    clock: str
    tools: dict[str, str]
    estimate: Estimated | None = None
    basis: str = "not measured, and not estimated"
    simulation: str = ""

    @property
    def host_time(self) -> float | None:
        """The median of the host's passes in microseconds; None without any."""
        times = sorted(self.times)
        return times[len(times) // 2] if times else None


@dataclass(frozen=True)
class Result:
    """What a job made; all files lie in the folder that was given to it.

    `metadata` is keyed by the numbers of the client's protocol (`ModelMetadataKey`). `outputs` of
    an inference is a data set (HDF5). `logs` are for the user, by file name. `notices` are shown
    with the job.
    """

    model: Model | None = None
    input_spec: tuple[TensorSpec, ...] = ()
    output_spec: tuple[TensorSpec, ...] = ()
    metadata: dict[int, str] = field(default_factory=dict)
    outputs: Path | None = None
    profile: Profile | None = None
    logs: dict[str, Path] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
