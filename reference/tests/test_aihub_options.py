"""The options of jobs: what is read, what is refused and in which words."""

import contextlib
import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference.aihub.checks import check_options
from reference.aihub.listed import qairt_versions
from reference.aihub.options import (
    PRECISIONS,
    compile_options,
    compile_target,
    link_options,
    quantize_options,
    run_options,
)
from reference.aihub.tasks import (
    CompileTask,
    InferenceTask,
    LinkTask,
    Model,
    ModelKind,
    QuantizeTask,
    Task,
    TaskError,
    TensorSpec,
)
from reference.npu.devices import Tuning, find_device

S24 = find_device("Samsung Galaxy S24")
WINDOWS = find_device("Snapdragon X Elite CRD")
ONNX = Model(Path("model.onnx"), ModelKind.ONNX)
BINARY = Model(Path("model.bin"), ModelKind.QNN_CONTEXT_BINARY)
DLC = Model(Path("model.dlc"), ModelKind.QNN_DLC)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ("--target_runtime tflite", ModelKind.TFLITE),
        ("--target_runtime onnx", ModelKind.ONNX),
        ("--target_runtime precompiled_qnn_onnx", ModelKind.ONNX),
        ("--target_runtime qnn_context_binary", ModelKind.QNN_CONTEXT_BINARY),
        ("--target_runtime=qnn_dlc", ModelKind.QNN_DLC),
    ],
)
def test_the_kind_of_the_target(options: str, kind: ModelKind) -> None:
    assert compile_target(options, S24, ModelKind.ONNX) is kind
    assert compile_target(options, S24, ModelKind.TORCHSCRIPT) is kind


def test_the_kind_without_a_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, kind in ((True, ModelKind.TFLITE), (False, ModelKind.QNN_DLC)):
        monkeypatch.setattr("reference.aihub.options.has_converter", lambda there=there: there)
        assert compile_target("", S24, ModelKind.TORCHSCRIPT) is kind
        assert compile_target("", S24, ModelKind.TORCH_EXPORTED_PROGRAM) is kind
        assert compile_target("", S24, ModelKind.ONNX) is ModelKind.QNN_DLC
    assert compile_target("", WINDOWS, ModelKind.ONNX) is ModelKind.ONNX
    assert compile_target("", S24, ModelKind.QNN_CONTEXT_BINARY) is ModelKind.ONNX


def test_all_options_of_a_compile_job() -> None:
    """As qai-hub-models and the organisers' scripts write them."""
    found = compile_options(
        " --target_runtime qnn_dlc  --output_names mask,boxes --force_channel_last_input image"
        " --force_channel_last_output 'mask, boxes' --quantize_full_type w8a16 --quantize_io"
        " --truncate_64bit_io --truncate_64bit_tensors false --compute_unit npu,cpu"
        " --qnn_options default_graph_htp_precision=FLOAT16;context_enable_graphs=prompt"
        " --qairt_version latest"
    )
    assert found.runtime == "qnn_dlc"
    assert found.output_names == ("mask", "boxes")
    assert (found.last_inputs, found.last_outputs) == (("image",), ("mask", "boxes"))
    assert (found.quantize, found.quantize_io) == ("w8a16", True)
    assert (found.truncate_io, found.truncate_tensors) == (True, False)
    assert found.units == ("npu", "cpu")
    assert found.graph == "prompt"
    assert compile_options("--qnn_graph_name a").graph == "a"
    assert compile_options("--quantize_full_type int8").quantize == "w8a8"
    assert compile_options("--quantize_full_type float16").quantize == "", "the NPU's own"


def test_all_options_of_the_others() -> None:
    found = run_options(
        "--max_profiler_iterations 20 --max_profiler_time 1.5 --compute_unit all"
        " --dequantize_outputs=false --qnn_options context_enable_graphs=g"
    )
    assert (found.passes, found.seconds) == (20, 1.5)
    assert found.units == ("npu", "gpu", "cpu")
    assert (found.dequantize, found.graphs) == (False, ("g",))
    assert (run_options("").passes, run_options("").seconds) == (100, 600.0)
    assert quantize_options(" --range_scheme min_max").range_scheme == "min_max"
    assert link_options("--qairt_version default").qairt == "default"


NO = "the local AI Hub does not support "
REFUSALS = {
    "--target_runtime": "--target_runtime needs a value",
    "--target_runtime --quantize_io": "--target_runtime needs a value",
    "--target_runtime qnn": "--target_runtime must be tflite, onnx, precompiled_qnn_onnx,"
    " qnn_context_binary or qnn_dlc, not 'qnn'",
    "--target_runtime qnn_lib_aarch64_android": NO + "--target_runtime qnn_lib_aarch64_android;"
    " choose qnn_dlc, which replaces it",
    "--target_runtim onnx": "unknown option '--target_runtim'; did you mean --target_runtime?",
    "--frobnicate": "unknown option '--frobnicate'",
    "onnx": "unknown option 'onnx'",
    "--output_names 'a": "the options cannot be read (No closing quotation): --output_names 'a",
    "--output_names a,,b": "--output_names must be different names with a comma between,"
    " not 'a,,b'",
    "--output_names a,a": "--output_names must be different names with a comma between, not 'a,a'",
    "--quantize_io=perhaps": "--quantize_io must be true or false, not 'perhaps'",
    "--quantize_full_type int3": "--quantize_full_type must be int8, int16, w8a8, w8a16, w4a8,"
    " w4a16 or float16, not 'int3'",
    "--quantize_io_type int4": "--quantize_io_type must be int8, uint8, int16 or uint16,"
    " not 'int4'",
    "--quantize_weight_type float16": NO + "--quantize_weight_type; leave it out",
    "--qnn_context_binary_vtcm much": "--qnn_context_binary_vtcm must be a number, not 'much'",
    "--qnn_context_binary_optimization_level 4": "--qnn_context_binary_optimization_level must be"
    " one of 1, 2, 3, not '4'",
    "--compute_unit tpu": "--compute_unit must be all or a list of npu, gpu or cpu, not 'tpu'",
    "--qnn_options context_enable_graphs": "--qnn_options must be name=value, with semicolons"
    " between, not 'context_enable_graphs'",
    "--qnn_options default_graph_htp_precision=FLOAT32": NO
    + "--qnn_options default_graph_htp_precision=FLOAT32; leave it out",
    "--qnn_options context_frobnicate=1": NO + "--qnn_options context_frobnicate=1; leave it out",
    "--qnn_options context_priority=URGENT": "--qnn_options context_priority must be one of LOW,"
    " NORMAL, NORMAL_HIGH, HIGH, not 'URGENT'",
    "--qnn_options default_graph_htp_optimizations=O=9": "--qnn_options"
    " default_graph_htp_optimizations must be one of 1, 2, 3, not '9'",
    "--qairt_version newest": "--qairt_version must be latest, default or a version, not 'newest'",
}


@pytest.mark.parametrize("options", REFUSALS)
def test_refused_options(options: str) -> None:
    with pytest.raises(TaskError) as raised:
        compile_options(options)
    assert str(raised.value) == REFUSALS[options]
    with pytest.raises(TaskError):
        compile_target(options, S24, ModelKind.ONNX)


@pytest.mark.parametrize("value", ["0", "-1", "x", "1e3", "nan"])
def test_passes_are_counted(value: str) -> None:
    with pytest.raises(TaskError, match=f"must be a number above 0, not '{value}'"):
        run_options(f"--max_profiler_iterations {value}")


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (compile_options, run_options, quantize_options, link_options):
        with contextlib.suppress(TaskError):
            read(text)


def compile_task(options: str, model: Model = ONNX, **more) -> CompileTask:
    return CompileTask(model, S24, options, **more)


X = TensorSpec("x", (1,), "float32")
INCONSISTENT: dict[str, tuple[Task, str]] = {
    "options of a binary": (
        compile_task("--target_runtime onnx", BINARY),
        "a QNN context binary is wrapped as it is: give no options and no specs",
    ),
    "specs of a binary": (
        compile_task("", BINARY, input_specs=(X,)),
        "a QNN context binary is wrapped as it is: give no options and no specs",
    ),
    "tflite": (
        compile_task("--target_runtime tflite"),
        NO + "--target_runtime tflite for what is not PyTorch; give the model as TorchScript or"
        " .pt2, or choose --target_runtime onnx, precompiled_qnn_onnx, qnn_context_binary or"
        " qnn_dlc",
    ),
    "QNN on the CPU": (
        compile_task("--target_runtime qnn_dlc --compute_unit cpu"),
        NO + "--compute_unit cpu for qnn_dlc; it is for the NPU alone",
    ),
    "no calibration": (
        compile_task("--target_runtime qnn_dlc --quantize_full_type int8"),
        NO + "--quantize_full_type without calibration data; give submit_compile_job some",
    ),
    "two graphs": (
        InferenceTask(DLC, S24, "--qnn_options context_enable_graphs=a,b", None, True),
        "context_enable_graphs must name one graph, not 2",
    ),
    "the GPU": (
        InferenceTask(DLC, S24, "--compute_unit gpu", None, True),
        NO + "--compute_unit gpu; choose npu or cpu",
    ),
    "dequantised": (
        InferenceTask(DLC, S24, "--dequantize_outputs", None, True),
        NO + "--dequantize_outputs; scale and zero point are in output_spec",
    ),
    "without the NPU": (
        InferenceTask(ONNX, S24, "--onnx_execution_providers qnn-gpu", None, True),
        NO + "--onnx_execution_providers qnn-gpu; name qnn, or choose --compute_unit cpu",
    ),
    "a DLC on the CPU": (
        InferenceTask(DLC, S24, "--compute_unit cpu", None, True),
        "a QNN model runs on the NPU alone: choose --compute_unit npu",
    ),
    "more memory than the chip has": (
        compile_task("--target_runtime qnn_context_binary --qnn_context_binary_vtcm 9"),
        "9 MB of VTCM are asked for, and SM8650 has 8 MB",
    ),
    "the same when linking": (
        LinkTask((DLC,), S24, "--qnn_options default_graph_htp_vtcm_size=16"),
        "16 MB of VTCM are asked for, and SM8650 has 8 MB",
    ),
    "another type of inputs": (
        compile_task(
            "--quantize_full_type w8a16 --quantize_io --quantize_io_type uint8",
            calibration=Path("x.h5"),
        ),
        NO + "--quantize_io_type uint8;"
        " inputs and outputs have the type of the activations: uint8 or uint16",
    ),
    "activations of four bits": (
        QuantizeTask(ONNX, "int8", "int4", Path("x.h5"), ""),
        NO + "int8 weights with int4 activations; choose int8 with int8, int8 with int16,"
        " int4 with int8, int4 with int16 or int16 with int16",
    ),
    "what is no ONNX": (
        QuantizeTask(DLC, "int8", "int8", Path("x.h5"), ""),
        "only an ONNX model can be quantised: compile it to ONNX first",
    ),
    "mixed precision": (
        QuantizeTask(ONNX, "int8", "int8", Path("x.h5"), "--lite_mp percentage=10"),
        NO + "--lite_mp; leave it out",
    ),
    "another range": (
        QuantizeTask(ONNX, "int8", "int8", Path("x.h5"), "--range_scheme mse_minimizer"),
        NO + "--range_scheme mse_minimizer; choose min_max",
    ),
    "linking": (
        LinkTask((DLC,), S24, "--target_runtime onnx"),
        "unknown option '--target_runtime'",
    ),
}


@pytest.mark.parametrize("case", INCONSISTENT)
def test_options_that_do_not_fit_the_job(case: str) -> None:
    task, reason = INCONSISTENT[case]
    with pytest.raises(TaskError) as raised:
        check_options(task)
    assert str(raised.value) == reason


ONLY = "it changes a device's time or memory, and nothing here"
HEEDED_BY_A_DEVICE = {
    "--qnn_options context_htp_performance_mode=BURST": f"{{}}: {ONLY}",
    "--qnn_options context_htp_performance_mode=low_power_saver": f"{{}}: {ONLY}",
    "--qnn_options context_priority=HIGH": f"{{}}: {ONLY}",
    "--qnn_options default_graph_htp_num_hvx_threads=4": f"{{}}: {ONLY}",
    "--onnx_options qnn_htp_performance_mode=burst;enable_memory_pattern=false": f"{{}}: {ONLY}",
    "--onnx_execution_providers qnn": f"{{}}: {ONLY}",
    "--tflite_delegates qnn,xnnpack": f"{{}}: {ONLY}",
    "--tflite_options kernel=1": f"{{}}: {ONLY}",
    "--qairt_version 2.50": "{}: this hub has QAIRT 2.51.0 alone",
    "--qairt_version 2.45.0.260101120000_1": "{}: this hub has QAIRT 2.51.0 alone",
}


@pytest.mark.parametrize("options", HEEDED_BY_A_DEVICE)
def test_what_a_device_alone_would_heed_is_taken_with_a_notice(options: str) -> None:
    notice = HEEDED_BY_A_DEVICE[options].format(options)
    assert run_options(options).notices == (notice,)
    assert replace(run_options(options), notices=(), qairt="") == run_options("")
    check_options(InferenceTask(DLC, S24, options, None, True))


def test_notices_are_of_all_options_each_once() -> None:
    twice = "--qnn_options context_priority=LOW --qnn_options context_priority=LOW;"
    found = run_options(f"{twice}context_memory_limit_hint=9 --tflite_options a=1")
    assert [notice.partition(": ")[0] for notice in found.notices] == [
        "--qnn_options context_priority=LOW",
        "--qnn_options context_memory_limit_hint=9",
        "--tflite_options a=1",
    ]
    (library,) = compile_options("--qnn_bin_conversion_via_model_library").notices
    assert library.startswith("--qnn_bin_conversion_via_model_library: the compiler takes")


@pytest.mark.parametrize(
    ("options", "tuning"),
    [
        ("", Tuning(3, 0)),
        ("--qnn_options default_graph_htp_optimizations=O=2", Tuning(2, 0)),
        ("--qnn_options default_graph_htp_optimization_value=1", Tuning(1, 0)),
        ("--qnn_options default_graph_htp_vtcm_size=4", Tuning(3, 4)),
        (
            "--qnn_options default_graph_htp_optimization_type=FINALIZE_OPTIMIZATION_FLAG;"
            "default_graph_htp_optimization_value=2;default_graph_htp_vtcm_size=2",
            Tuning(2, 2),
        ),
    ],
)
def test_what_reaches_the_compiler(options: str, tuning: Tuning) -> None:
    for read in (compile_options, run_options, link_options):
        assert read(options).tuning == tuning
        assert read(options).notices == ()


def test_the_older_names_of_tuning() -> None:
    older = "--qnn_context_binary_vtcm 4 --qnn_context_binary_optimization_level 2"
    assert compile_options(older).tuning == Tuning(2, 4)


def test_every_version_that_is_listed_may_be_asked_for() -> None:
    listed = qairt_versions("2.51.0")
    assert listed[:2] == ["2.51", "2.50"]
    assert len(listed) == 32
    for version in listed:
        assert run_options(f"--qairt_version {version}").qairt == version
    assert run_options("--qairt_version 2.51").notices == ()


def test_widths_are_quantised_or_refused_when_the_job_is_submitted() -> None:
    widths = ("int4", "int8", "int16")
    for weights, activations in itertools.product(widths, widths):
        task = QuantizeTask(ONNX, weights, activations, Path("x.h5"), "")
        if (weights, activations) in PRECISIONS:
            check_options(task)
            continue
        with pytest.raises(TaskError, match=f"{weights} weights with {activations} activations"):
            check_options(task)
    assert len(PRECISIONS) == 5


def test_options_that_fit() -> None:
    check_options(compile_task("--target_runtime qnn_dlc --quantize_full_type int8"
                               " --quantize_io --quantize_io_type uint8",
                               calibration=Path("x.h5")))  # fmt: skip
    check_options(compile_task("--target_runtime qnn_dlc --compute_unit npu"))
    check_options(compile_task("", BINARY))
    check_options(compile_task("--target_runtime onnx --compute_unit cpu"))
    check_options(InferenceTask(DLC, S24, "--max_profiler_iterations 1", None, True))
    check_options(LinkTask((DLC,), S24, ""))
