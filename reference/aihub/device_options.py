"""Options of a runtime on a device: what of them reaches the compiler, and what nothing here heeds.

The names and values are those of AI Hub's public documentation.
"""

import re
from typing import Any

from reference.aihub.tasks import TaskError
from reference.errors import SubmissionError
from reference.npu.toolchain import find_toolchain

_DEVICE_ONLY = "it changes a device's time or memory, and nothing here"
_PRIORITIES = ("LOW", "NORMAL", "NORMAL_HIGH", "HIGH")
_NUMBER, _TRUTH = re.compile(r"\d{1,9}"), re.compile(r"true|false", re.IGNORECASE)
# The values that AI Hub takes of what is heeded by a device alone.
_OF_A_DEVICE: dict[str, tuple[str, ...] | re.Pattern[str]] = {
    "context_async_execution_queue_depth_numeric": _NUMBER,
    "context_error_reporting_options_level": ("BRIEF", "DETAILED"),
    "context_error_reporting_options_storage_limit": _NUMBER,
    "context_gpu_performance_hint": ("HIGH", "NORMAL", "LOW"),
    "context_gpu_use_gl_buffers": _TRUTH,
    "context_htp_performance_mode": (
        "BALANCED",
        "BURST",
        "DEFAULT",
        "EXTREME_POWER_SAVER",
        "HIGH_PERFORMANCE",
        "HIGH_POWER_SAVER",
        "LOW_BALANCED",
        "LOW_POWER_SAVER",
        "POWER_SAVER",
        "SUSTAINED_HIGH_PERFORMANCE",
    ),
    "context_memory_limit_hint": _NUMBER,
    "context_priority": _PRIORITIES,
    "default_graph_gpu_disable_memory_optimizations": _TRUTH,
    "default_graph_gpu_disable_node_optimizations": _TRUTH,
    "default_graph_gpu_disable_queue_recording": _TRUTH,
    "default_graph_gpu_precision": ("FLOAT16", "FLOAT32", "HYBRID", "USER_PROVIDED"),
    "default_graph_htp_num_hvx_threads": _NUMBER,
    "default_graph_priority": _PRIORITIES,
}
# What would change the answers or the placement, and the compiler here does in one way.
_FIXED = {
    "default_graph_htp_precision": ("FLOAT16",),
    "default_graph_htp_disable_fold_relu_activation_into_conv": ("FALSE",),
    "default_graph_htp_disable_short_depth_conv_on_hmx": ("FALSE",),
    "default_graph_htp_optimization_type": ("FINALIZE_OPTIMIZATION_FLAG",),
}
_LEVELS = ("default_graph_htp_optimizations", "default_graph_htp_optimization_value")
_VTCM = "default_graph_htp_vtcm_size"


def read_qnn_options(option: str, text: str) -> dict[str, Any]:
    """The fields of the options that `name=value` with semicolons between gives.

    These are `graphs`, `level`, `vtcm_mb` and `notices`. Raises TaskError for what is unknown or
    cannot be honoured.
    """
    found: dict[str, Any] = {}
    notices = []
    for pair in filter(None, text.split(";")):
        name, equals, value = pair.partition("=")
        where = f"{option} {name}"
        if not equals or not value:
            raise TaskError(f"{option} must be name=value, with semicolons between, not {pair!r}")
        if name == "context_enable_graphs":
            found["graphs"] = read_names(where, value)
        elif name in _LEVELS:
            found["level"] = read_level(where, value.upper().removeprefix("O="))
        elif name == _VTCM:
            found["vtcm_mb"] = read_vtcm(where, value)
        elif name in _OF_A_DEVICE:
            _check(where, value, _OF_A_DEVICE[name])
            notices.append(f"{option} {pair}: {_DEVICE_ONLY}")
        elif name not in _FIXED or value.upper() not in _FIXED[name]:
            raise TaskError(f"the local AI Hub does not support {option} {pair}; leave it out")
    return {**found, "notices": tuple(notices)} if notices else found


def read_names(option: str, value: str) -> tuple[str, ...]:
    """Different names with commas between."""
    names = tuple(name.strip() for name in value.split(","))
    if not all(names) or len({*names}) < len(names):
        raise TaskError(f"{option} must be different names with a comma between, not {value!r}")
    return names


def read_level(option: str, value: str) -> int:
    """How much the compiler is to optimise."""
    _check(option, value, ("1", "2", "3"))
    return int(value)


def read_vtcm(option: str, value: str) -> int:
    """The MB of the chip's fast memory that a graph may take; 0 is all."""
    _check(option, value, _NUMBER)
    return int(value)


def of_a_device(option: str, value: str) -> dict[str, Any]:
    """What is heeded by a device alone."""
    return {"notices": (f"{option} {value}: {_DEVICE_ONLY}",)}


def read_providers(option: str, value: str) -> dict[str, Any]:
    """Where ONNX Runtime is to run a model; raises TaskError for a list without the NPU."""
    if "qnn" not in value.lower().split(","):
        raise TaskError(
            f"the local AI Hub does not support {option} {value}; name qnn, or choose"
            f" --compute_unit cpu"
        )
    return of_a_device(option, value)


def read_qairt(option: str, value: str) -> dict[str, Any]:
    """The version of the toolchain; any is taken for the one that is here, with a notice."""
    if value in ("latest", "default"):
        return {"qairt": value}
    if not re.fullmatch(r"v?\d{1,4}(\.\d{1,15}){1,3}(_\w+)?", value):
        raise TaskError(f"{option} must be latest, default or a version, not {value!r}")
    try:
        here = find_toolchain().qairt
    except SubmissionError as error:
        raise TaskError(str(error)) from None
    if f"{here}.".startswith(f"{value}."):
        return {"qairt": value}
    return {"qairt": value, "notices": (f"{option} {value}: this hub has QAIRT {here} alone",)}


def _check(option: str, value: str, values: tuple[str, ...] | re.Pattern[str]) -> None:
    if isinstance(values, re.Pattern):
        fits = values.fullmatch(value) is not None
        what = "a number" if values is _NUMBER else "true or false"
    else:
        fits, what = value.upper() in values, f"one of {', '.join(values)}"
    if not fits:
        raise TaskError(f"{option} must be {what}, not {value!r}")
