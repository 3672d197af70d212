"""Whether the options of a job go together, and with its model and device: said before it runs."""

from collections.abc import Sequence

from reference.aihub.options import (
    PRECISIONS,
    PYTORCH,
    RUNTIMES,
    TFLITE_PRECISIONS,
    CompileOptions,
    Tuned,
    choices,
    compile_options,
    link_options,
    quantize_options,
    run_options,
    target_runtime,
    unsupported,
)
from reference.aihub.tasks import (
    CompileTask,
    InferenceTask,
    LinkTask,
    ModelKind,
    QuantizeTask,
    Task,
    TaskError,
)
from reference.errors import SubmissionError
from reference.litert.toolchain import find_converter
from reference.npu.devices import Device

_QNN = (ModelKind.QNN_DLC, ModelKind.QNN_CONTEXT_BINARY)


def check_options(task: Task) -> None:
    """Raises TaskError where the options of `task` are unknown or do not go together."""
    match task:
        case CompileTask():
            _check_compile(task, compile_options(task.options))
        case InferenceTask():
            chosen = run_options(task.options)
            if chosen.units == ("gpu",):
                raise unsupported("--compute_unit gpu", "choose npu or cpu")
            if task.model.kind in _QNN and "npu" not in chosen.units:
                raise TaskError("a QNN model runs on the NPU alone: choose --compute_unit npu")
            if chosen.dequantize:
                raise unsupported("--dequantize_outputs", "scale and zero point are in output_spec")
            _check_one_graph(chosen.graphs)
            _check_memory(chosen, task.device)
        case QuantizeTask():
            quantize_options(task.options)
            if (task.weights, task.activations) not in PRECISIONS:
                raise unsupported(
                    f"{task.weights} weights with {task.activations} activations",
                    f"choose {choices([f'{w} with {a}' for w, a in PRECISIONS])}",
                )
            if task.model.kind is not ModelKind.ONNX:
                raise TaskError("only an ONNX model can be quantised: compile it to ONNX first")
        case LinkTask():
            _check_memory(link_options(task.options), task.device)


def _check_compile(task: CompileTask, chosen: CompileOptions) -> None:
    if task.model.kind is ModelKind.QNN_CONTEXT_BINARY:
        if task.options.strip() or task.input_specs:
            raise TaskError(
                "a QNN context binary is wrapped as it is: give no options and no specs"
            )
        return
    runtime = target_runtime(chosen, task.device, task.model.kind)
    if runtime == "tflite":
        _check_tflite(task, chosen)
        return
    if runtime != "onnx" and "npu" not in chosen.units:
        raise unsupported(
            f"--compute_unit {','.join(chosen.units)} for {runtime}", "it is for the NPU alone"
        )
    _check_one_graph(chosen.graphs)
    _check_memory(chosen, task.device)
    bits = chosen.quantize.rpartition("a")[2]
    if chosen.quantize_io_type not in ("", f"uint{bits}"):
        raise unsupported(
            f"--quantize_io_type {chosen.quantize_io_type}",
            "inputs and outputs have the type of the activations: uint8 or uint16",
        )
    _check_calibrated(task, chosen)


def _check_tflite(task: CompileTask, chosen: CompileOptions) -> None:
    if task.model.kind not in PYTORCH:
        others = choices(RUNTIMES, "tflite")
        raise unsupported(
            "--target_runtime tflite for what is not PyTorch",
            f"give the model as TorchScript or .pt2, or choose --target_runtime {others}",
        )
    try:
        find_converter()
    except SubmissionError as error:
        raise TaskError(str(error)) from None
    if chosen.quantize not in ("", *TFLITE_PRECISIONS):
        raise unsupported(
            f"--quantize_full_type {chosen.quantize} for tflite", "choose int8 or w8a16"
        )
    if chosen.quantize_io and not chosen.quantize:
        raise unsupported("--quantize_io for tflite alone", "add --quantize_full_type int8")
    if chosen.quantize_io_type not in ("", f"int{chosen.quantize.rpartition('a')[2]}"):
        raise unsupported(
            f"--quantize_io_type {chosen.quantize_io_type} for tflite",
            "inputs and outputs have the type of the activations: int8 or int16",
        )
    _check_calibrated(task, chosen)


def _check_calibrated(task: CompileTask, chosen: CompileOptions) -> None:
    if chosen.quantize and task.calibration is None:
        raise unsupported(
            "--quantize_full_type without calibration data", "give submit_compile_job some"
        )


def _check_memory(chosen: Tuned, device: Device) -> None:
    if chosen.vtcm_mb > device.vtcm_mb:
        raise TaskError(
            f"{chosen.vtcm_mb} MB of VTCM are asked for, and {device.soc} has {device.vtcm_mb} MB"
        )


def _check_one_graph(graphs: Sequence[str]) -> None:
    if len(graphs) > 1:
        raise TaskError(f"context_enable_graphs must name one graph, not {len(graphs)}")
