"""The options of jobs: free-form text, as AI Hub takes it, to plain values.

The options are those of AI Hub's public documentation (workbench.aihub.qualcomm.com/docs/hub/api)
and of qai-hub-models. What exists there and cannot be done here is refused by name; what does not
exist is refused as unknown.
"""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from reference.aihub.device_options import (
    of_a_device,
    read_level,
    read_names,
    read_providers,
    read_qairt,
    read_qnn_options,
    read_vtcm,
)
from reference.aihub.tasks import (
    ModelKind,
    TaskError,
)
from reference.closest import did_you_mean
from reference.litert.quantize import TflitePrecision
from reference.litert.toolchain import has_converter
from reference.npu.devices import Device, Tuning
from reference.npu.quantize import Precision

RUNTIMES = {
    "tflite": ModelKind.TFLITE,
    "onnx": ModelKind.ONNX,
    "precompiled_qnn_onnx": ModelKind.ONNX,
    "qnn_context_binary": ModelKind.QNN_CONTEXT_BINARY,
    "qnn_dlc": ModelKind.QNN_DLC,
}
PYTORCH = (ModelKind.TORCHSCRIPT, ModelKind.TORCH_EXPORTED_PROGRAM)
TFLITE_PRECISIONS: tuple[TflitePrecision, ...] = ("w8a8", "w8a16")
_UNITS = ("npu", "gpu", "cpu")
# Of a quantize job: weights and activations.
PRECISIONS: dict[tuple[str, str], Precision] = {
    ("int8", "int8"): "w8a8",
    ("int8", "int16"): "w8a16",
    ("int4", "int8"): "w4a8",
    ("int4", "int16"): "w4a16",
    ("int16", "int16"): "w16a16",
}
_INTEGERS = ("int8", "uint8", "int16", "uint16")
_FULL_TYPES: dict[str, Precision | Literal[""]] = {
    "int8": "w8a8",
    "int16": "w16a16",
    "w8a8": "w8a8",
    "w8a16": "w8a16",
    "w4a8": "w4a8",
    "w4a16": "w4a16",
    "float16": "",
}
_MOST_PASSES, _MOST_SECONDS = 100, 600.0  # AI Hub's own defaults


@dataclass(frozen=True)
class _Common:
    """Of every job. `notices` say of what was asked for that it changes nothing here, and why."""

    qairt: str = ""
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tuned(_Common):
    """Of jobs that compile for a chip."""

    graphs: tuple[str, ...] = ()
    level: int = Tuning.level
    vtcm_mb: int = Tuning.vtcm_mb

    @property
    def tuning(self) -> Tuning:
        """What the compiler is asked for."""
        return Tuning(self.level, self.vtcm_mb)


@dataclass(frozen=True)
class CompileOptions(Tuned):
    """Of a compile job. `quantize` is a precision of `reference.npu.quantize`, empty for none."""

    runtime: str = ""
    units: tuple[str, ...] = _UNITS
    output_names: tuple[str, ...] = ()
    truncate_io: bool = False
    truncate_tensors: bool = False
    last_inputs: tuple[str, ...] = ()
    last_outputs: tuple[str, ...] = ()
    quantize: Precision | Literal[""] = ""
    quantize_io: bool = False
    quantize_io_type: str = ""
    graph_name: str = ""

    @property
    def graph(self) -> str:
        """The name that the owner gives the graph, empty for none."""
        return self.graph_name or "".join(self.graphs)


@dataclass(frozen=True)
class RunOptions(Tuned):
    """Of an inference or profile job: `passes` at most, in about `seconds` at most."""

    units: tuple[str, ...] = _UNITS
    passes: int = _MOST_PASSES
    seconds: float = _MOST_SECONDS
    dequantize: bool = False


@dataclass(frozen=True)
class QuantizeOptions(_Common):
    """Of a quantize job."""

    range_scheme: str = "auto"


@dataclass(frozen=True)
class LinkOptions(Tuned):
    """Of a link job."""


def compile_options(text: str) -> CompileOptions:
    """The options of a compile job; raises TaskError for what is unknown or cannot be done."""
    return CompileOptions(**_parse(text, _COMPILE))


def run_options(text: str) -> RunOptions:
    """The options of an inference or profile job; raises TaskError as `compile_options` does."""
    return RunOptions(**_parse(text, _RUN))


def quantize_options(text: str) -> QuantizeOptions:
    """The options of a quantize job; raises TaskError as `compile_options` does."""
    return QuantizeOptions(**_parse(text, _QUANTIZE))


def link_options(text: str) -> LinkOptions:
    """The options of a link job; raises TaskError as `compile_options` does."""
    return LinkOptions(**_parse(text, _LINK))


def target_runtime(options: CompileOptions, device: Device, kind: ModelKind) -> str:
    """The runtime asked for; without one it is ONNX Runtime for Windows devices, else TFLite.

    For what cannot become TFLite here, that default is a DLC: everything but PyTorch models, and
    those too where no converter is installed.
    """
    if options.runtime:
        return options.runtime
    if device.name.endswith("CRD"):
        return "onnx"
    return "tflite" if kind in PYTORCH and has_converter() else "qnn_dlc"


def compile_target(options: str, device: Device, kind: ModelKind) -> ModelKind:
    """What the target model of a compile job will be; known before the job runs.

    Raises TaskError for options that are unknown or cannot be honoured.
    """
    chosen = compile_options(options)
    if kind is ModelKind.QNN_CONTEXT_BINARY:
        return ModelKind.ONNX
    return RUNTIMES[target_runtime(chosen, device, kind)]


def unsupported(what: str, remedy: str) -> TaskError:
    """What AI Hub has, and the local one not."""
    return TaskError(f"the local AI Hub does not support {what}; {remedy}")


def choices(names: Mapping[str, object] | Sequence[str], *without: str) -> str:
    """`a, b or c`."""
    *most, last = (name for name in names if name not in without)
    return f"{', '.join(most)} or {last}" if most else last


Reader = Callable[[str, str], dict[str, Any]]


def _one_of(field: str, known: Mapping[str, str]) -> Reader:
    def read(option: str, value: str) -> dict[str, Any]:
        if value not in known:
            raise TaskError(f"{option} must be {choices(known)}, not {value!r}")
        return {field: known[value]}

    return read


def _runtime(option: str, value: str) -> dict[str, Any]:
    if value == "qnn_lib_aarch64_android":
        raise unsupported(f"{option} {value}", "choose qnn_dlc, which replaces it")
    return _one_of("runtime", {name: name for name in RUNTIMES})(option, value)


def _range_scheme(option: str, value: str) -> dict[str, Any]:
    if value == "mse_minimizer":
        raise unsupported(f"{option} {value}", "choose min_max")
    return _one_of("range_scheme", {"auto": "auto", "min_max": "min_max"})(option, value)


def _units(option: str, value: str) -> dict[str, Any]:
    units = _UNITS if value in ("all", "default") else tuple(value.split(","))
    if unknown := [unit for unit in units if unit not in _UNITS]:
        raise TaskError(f"{option} must be all or a list of {choices(_UNITS)}, not {unknown[0]!r}")
    return {"units": units}


def _names(field: str) -> Reader:
    def read(option: str, value: str) -> dict[str, Any]:
        return {field: read_names(option, value)}

    return read


def _text(field: str) -> Reader:
    return lambda option, value: {field: value}


def _number(field: str, kind: type[int] | type[float]) -> Reader:
    def read(option: str, value: str) -> dict[str, Any]:
        try:
            number = kind(value)
        except ValueError:
            number = kind(0)
        if not 0 < number < float("inf"):
            raise TaskError(f"{option} must be a number above 0, not {value!r}")
        return {field: number}

    return read


@dataclass(frozen=True)
class _Flag:
    """An option that may stand alone, or before `true` or `false`; with a `notice` it sets none."""

    field: str
    notice: str = ""


# What follows is None where AI Hub has the option and the local one cannot honour it.
_Table = Mapping[str, Reader | _Flag | None]
_SHARED: _Table = {"--qairt_version": read_qairt}
_COMPILE: _Table = {
    **_SHARED,
    "--target_runtime": _runtime,
    "--compute_unit": _units,
    "--output_names": _names("output_names"),
    "--truncate_64bit_io": _Flag("truncate_io"),
    "--truncate_64bit_tensors": _Flag("truncate_tensors"),
    "--force_channel_last_input": _names("last_inputs"),
    "--force_channel_last_output": _names("last_outputs"),
    "--quantize_full_type": _one_of("quantize", _FULL_TYPES),
    "--quantize_io": _Flag("quantize_io"),
    "--qnn_graph_name": _text("graph_name"),
    "--qnn_options": read_qnn_options,
    "--quantize_io_type": _one_of("quantize_io_type", {t: t for t in _INTEGERS}),
    "--quantize_weight_type": None,
    "--qnn_context_binary_vtcm": lambda option, value: {"vtcm_mb": read_vtcm(option, value)},
    "--qnn_context_binary_optimization_level": lambda option, value: {
        "level": read_level(option, value)
    },
    "--qnn_bin_conversion_via_model_library": _Flag(
        "", "the compiler takes the model without a library between, and makes the same of it"
    ),
}
_RUN: _Table = {
    **_SHARED,
    "--compute_unit": _units,
    "--max_profiler_iterations": _number("passes", int),
    "--max_profiler_time": _number("seconds", float),
    "--dequantize_outputs": _Flag("dequantize"),
    "--qnn_options": read_qnn_options,
    "--tflite_delegates": of_a_device,
    "--tflite_options": of_a_device,
    "--onnx_options": of_a_device,
    "--onnx_execution_providers": read_providers,
}
_QUANTIZE: _Table = {**_SHARED, "--range_scheme": _range_scheme, "--lite_mp": None}
_LINK: _Table = {**_SHARED, "--qnn_options": read_qnn_options}


def _parse(text: str, table: _Table) -> dict[str, Any]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise TaskError(f"the options cannot be read ({error}): {text}") from None
    found: dict[str, Any] = {}
    notices: list[str] = []
    while words:
        option, equals, value = words.pop(0).partition("=")
        if option not in table:
            near = did_you_mean(option, table, 1)
            raise TaskError(f"unknown option {option!r}" + (f"; {near}" if near else ""))
        reader = table[option]
        if reader is None:
            raise unsupported(option, "leave it out")
        if isinstance(reader, _Flag):
            if not equals:
                value = words.pop(0) if words and words[0] in ("true", "false") else "true"
            if value not in ("true", "false"):
                raise TaskError(f"{option} must be true or false, not {value!r}")
            if reader.notice:
                notices.append(f"{option}: {reader.notice}")
            else:
                found[reader.field] = value == "true"
            continue
        if not equals:
            if not words or words[0].startswith("--"):
                raise TaskError(f"{option} needs a value")
            value = words.pop(0)
        given = reader(option, value)
        notices += given.pop("notices", ())
        found |= given
    return {**found, "notices": tuple(dict.fromkeys(notices))}
