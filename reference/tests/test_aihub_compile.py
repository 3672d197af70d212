"""Compile jobs: every form that is taken, input_specs, and what is refused in which words."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from reference.aihub.tasks import (
    CompileTask,
    InferenceTask,
    Model,
    ModelKind,
    QuantizeTask,
    TaskError,
)
from reference.aihub.work import run
from reference.process import Limits
from reference.tests import npu_models as models
from reference.tests.aihub_jobs import (
    LIMITS,
    S24,
    compile_it,
    download,
    infer,
    load,
    onnx_model,
    refusal,
    upload,
)
from reference.tests.npu_models import FLOAT, INT64, PHOTO, needs_compiler, node, on_cpu, save

pytestmark = pytest.mark.usefixtures("shared_cache")
DLC, PLAIN = "--target_runtime qnn_dlc", "--target_runtime onnx"


def test_dynamic_shapes_are_bound(tmp_path: Path) -> None:
    model = onnx_model(models.dynamic, tmp_path)
    made = compile_it(model, tmp_path / "job", PLAIN, {"x": (2, 3, 32, 32)})
    assert made.input_spec[0].shape == (2, 3, 32, 32)
    assert made.output_spec[0].shape == (2, 8, 32, 32)
    batch = np.concatenate([PHOTO, PHOTO])
    (answer,) = download(infer(made.model, tmp_path / "run", {"x": [batch]}).outputs)["output_0"]
    assert np.allclose(answer, on_cpu(model.path, {"x": batch})[0], atol=1e-5)
    with pytest.raises(TaskError, match="has a dynamic shape: compile it with input_specs"):
        infer(model, tmp_path / "as-it-is", {"x": [batch]})


WRONG_SPECS: dict[str, tuple[Callable[[], onnx.ModelProto], dict[str, tuple], str]] = {
    "none": (
        models.dynamic,
        {},
        "input 'x' has the dynamic shape [n, 3, 32, 32]:"
        " give input_specs with a size for every dimension",
    ),
    "another name": (
        models.net,
        {"image": (1, 3, 32, 32)},
        "input_specs has 'image', and the inputs of the model are 'x'",
    ),
    "one missing": (
        models.mask_head,
        {"x": (1, 3, 32, 32)},
        "input_specs has 'x', and the inputs of the model are 'x', 'q'",
    ),
    "another size": (
        models.dynamic,
        {"x": (2, 3, 32, 16)},
        "input_specs gives 'x' as float32[2, 3, 32, 16],"
        " and the model has it as float32[n, 3, 32, 32]",
    ),
    "another rank": (
        models.net,
        {"x": (3, 32, 32)},
        "input_specs gives 'x' as float32[3, 32, 32],"
        " and the model has it as float32[1, 3, 32, 32]",
    ),
    "another dtype": (
        models.table,
        {"i": ((1, 2), "int32")},
        "input_specs gives 'i' as int32[1, 2], and the model has it as int64[1, 2]",
    ),
}


@pytest.mark.parametrize("case", WRONG_SPECS)
def test_specs_that_do_not_fit(case: str, tmp_path: Path) -> None:
    build, specs, reason = WRONG_SPECS[case]
    assert refusal(build, tmp_path, PLAIN, specs) == reason


def nonzero() -> onnx.ModelProto:
    return models.one("NonZero", [("x", FLOAT, (2, 3))], ("y", INT64, (2, "n")))


REFUSED: dict[str, tuple[Callable[[], onnx.ModelProto], str, str]] = {
    "size of the data": (
        nonzero,
        PLAIN,
        "the size of output 'output_0' depends on the data; write it with tensors of fixed shape",
    ),
    "output names": (
        models.net,
        f"{PLAIN} --output_names a,b",
        "--output_names has 2 names, and the model has 1 outputs",
    ),
    "name of an input": (
        models.net,
        f"{PLAIN} --output_names x",
        "'x' names an input: give other --output_names",
    ),
    "channels last of none": (
        models.net,
        f"{PLAIN} --force_channel_last_output y",
        "--force_channel_last_output names 'y', and the model has 'output_0'",
    ),
    "channels last of a vector": (
        models.elementwise,
        f"{PLAIN} --force_channel_last_input x",
        "--force_channel_last_input names 'x', which has 2 dimensions, not 3 or more",
    ),
    "quantised I/O of a float model": (
        models.net,
        f"{PLAIN} --quantize_io",
        "--quantize_io needs a quantised model, and no input or output of this one is:"
        " quantise it first with submit_quantize_job",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_models_that_do_not_fit(case: str, tmp_path: Path) -> None:
    build, options, reason = REFUSED[case]
    assert refusal(build, tmp_path, options, {}) == reason


def test_a_refusal_ends_the_job(tmp_path: Path) -> None:
    build, options, reason = REFUSED["output names"]
    with pytest.raises(TaskError) as raised:
        compile_it(onnx_model(build, tmp_path), tmp_path / "job", options)
    assert str(raised.value) == reason
    assert list((tmp_path / "job").iterdir()) == []


@needs_compiler
def test_a_node_for_the_cpu(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"the NPU does not take Einsum '/y/Einsum': .*MatMul"):
        compile_it(onnx_model(models.mask_head, tmp_path), tmp_path / "job", DLC)


@pytest.mark.parametrize("kind", [ModelKind.TFLITE, ModelKind.QNN_DLC])
def test_kinds_that_do_not_compile(kind: ModelKind, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"")
    with pytest.raises(TaskError, match="only PyTorch, ONNX and AIMET models and QNN context"):
        compile_it(Model(tmp_path / "model", kind), tmp_path / "job", PLAIN)


def test_files_that_are_no_models(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(TaskError, match="is not an ONNX model or was cut short"):
        compile_it(Model(path, ModelKind.ONNX), tmp_path / "job", PLAIN)
    folder = tmp_path / "empty"
    folder.mkdir()
    with pytest.raises(TaskError, match=r"the model must hold one \.onnx file, and has 0"):
        compile_it(Model(folder, ModelKind.ONNX), tmp_path / "job", PLAIN)
    with pytest.raises(TaskError, match=r"the model must hold one \.onnx file, and has 0"):
        compile_it(Model(folder, ModelKind.AIMET_ONNX), tmp_path / "job", PLAIN)
    save(models.net, folder)
    with pytest.raises(TaskError, match=r"must hold one \.encodings file, and has 0"):
        compile_it(Model(folder, ModelKind.AIMET_ONNX), tmp_path / "job", PLAIN)


def in_two_files(folder: Path) -> Model:
    folder.mkdir()
    onnx.save(
        models.net(),
        folder / "model.onnx",
        save_as_external_data=True,
        location="model.data",
        size_threshold=100,
    )
    return Model(folder, ModelKind.ONNX)


@needs_compiler
def test_weights_in_a_file_of_their_own(tmp_path: Path) -> None:
    model = in_two_files(tmp_path / "two")
    expected = on_cpu(model.path / "model.onnx", {"x": PHOTO})[0]
    made = compile_it(model, tmp_path / "onnx", PLAIN)
    assert made.model is not None
    assert sorted(file.name for file in made.model.path.iterdir()) == ["model.data", "model.onnx"]
    shutil.rmtree(model.path)
    for target in (made, compile_it(in_two_files(tmp_path / "two"), tmp_path / "dlc", DLC)):
        result = infer(target.model, tmp_path / f"run-{target.model.kind}", {"x": [PHOTO]})
        (answer,) = download(result.outputs)["output_0"]
        assert np.abs(answer - expected).max() < 0.01


def test_weights_outside_the_folder(tmp_path: Path) -> None:
    model = in_two_files(tmp_path / "two")
    (model.path / "model.data").rename(tmp_path / "model.data")
    (model.path / "model.data").symlink_to(tmp_path / "model.data")
    with pytest.raises(TaskError, match=r"wants its weights in 'model\.data', which is not"):
        compile_it(model, tmp_path / "job", PLAIN)


def crossed() -> onnx.ModelProto:
    """Outputs under each other's target names, an input as output, and one output twice."""
    nodes = [
        node("Relu", "x", "output_1"),
        node("Neg", "x", "output_0"),
        node("Abs", "output_0", "output_3"),
        node("Exp", "output_3", "e"),
    ]
    outputs = ["output_1", "output_0", "x", "e", "e"]
    made = models.model(nodes, [("x", FLOAT, (1, 4))], [(o, FLOAT, (1, 4)) for o in outputs[:4]])
    made.graph.output.append(made.graph.output[3])
    return made


def test_outputs_keep_their_order(tmp_path: Path) -> None:
    made = compile_it(onnx_model(crossed, tmp_path), tmp_path / "job", PLAIN)
    assert [s.name for s in made.output_spec] == [f"output_{index}" for index in range(5)]
    x = np.array([[-1, 0, 2, 3]], np.float32)
    answers = download(infer(made.model, tmp_path / "run", {"x": [x]}).outputs)
    expected = [np.maximum(x, 0), -x, x, np.exp(abs(x)), np.exp(abs(x))]
    for array, (answer,) in zip(expected, answers.values(), strict=True):
        assert np.allclose(answer, array)


def branching() -> onnx.ModelProto:
    """The branches of an If read and give tensors of the outer graph's names."""

    def branch(op: str) -> onnx.GraphProto:
        inner = helper.make_tensor_value_info("inner", FLOAT, (1, 4))
        return helper.make_graph([helper.make_node(op, ["y"], ["inner"])], op, [], [inner])

    nodes = [
        node("Relu", "x", "y"),
        helper.make_node("If", ["c"], ["z"], then_branch=branch("Neg"), else_branch=branch("Abs")),
    ]
    inputs = [("x", FLOAT, (1, 4)), ("c", onnx.TensorProto.BOOL, ())]
    return models.model(nodes, inputs, [("y", FLOAT, (1, 4)), ("z", FLOAT, (1, 4))])


def test_names_inside_branches(tmp_path: Path) -> None:
    made = compile_it(onnx_model(branching, tmp_path), tmp_path / "job", PLAIN)
    x = np.array([[-1, 0, 2, 3]], np.float32)
    feeds = {"x": [x, x], "c": [np.array(True), np.array(False)]}
    folder = tmp_path / "run"
    with pytest.raises(TypeError):  # the client cannot write a scalar
        infer(made.model, folder, feeds)
    assert {node.op_type for node in load(made.model).graph.node} >= {"Relu", "If"}


@needs_compiler
def test_a_compiler_that_never_ends(tmp_path: Path) -> None:
    task = CompileTask(onnx_model(models.huge_relu, tmp_path), S24, DLC)
    with pytest.raises(TaskError, match="gave no answer for 3 s and was stopped"):
        run(task, tmp_path / "job", Limits(timeout=3.0))
    assert list((tmp_path / "job").iterdir()) == []


def test_a_model_that_eats_memory(tmp_path: Path) -> None:
    data = upload({"x": [np.ones((1, 8), np.float32)]}, tmp_path / "x.h5")
    model = onnx_model(models.huge_constant, tmp_path)
    task = InferenceTask(model, S24, "--compute_unit cpu", data, False)
    with pytest.raises(TaskError, match=r"needs more memory than its limit of 1\.0 GiB"):
        run(task, tmp_path / "job", Limits(timeout=60.0, memory=2**30))


@needs_compiler
def test_metadata(tmp_path: Path) -> None:
    model = onnx_model(models.net, tmp_path)
    made = compile_it(
        model, tmp_path / "bin", "--target_runtime qnn_context_binary --qnn_graph_name mine"
    )
    facts = {3: "2.51.0", 30: "mine", 31: "v75", 32: "SM8650", 33: "HTP", 34: "8 MB", 35: "3"}
    assert made.metadata == facts
    assert made.notices[0].startswith("the graph that is called 'mine' here is 'QNNExecution")
    assert made.logs["compile.log"].stat().st_size > 1000
    dlc = compile_it(model, tmp_path / "dlc", f"{DLC} --truncate_64bit_tensors")
    assert dlc.metadata == {3: "2.51.0"}, "it is for every chip"
    assert dlc.notices == (
        "--truncate_64bit_tensors changed nothing: the compiler does that by itself",
    )


@needs_compiler
def test_the_second_time_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LPCVC_CACHE", str(tmp_path / "cache"))
    model = onnx_model(models.net, tmp_path)
    one = compile_it(model, tmp_path / "one", DLC)
    entries = sorted((tmp_path / "cache").iterdir())
    other = compile_it(model, tmp_path / "other", DLC)
    assert one.model is not None
    assert other.model is not None
    assert one.model.path.read_bytes() == other.model.path.read_bytes()
    assert sorted((tmp_path / "cache").iterdir()) == entries, "compiled once"


@needs_compiler
@pytest.mark.slow
def test_quantised_while_it_is_compiled(tmp_path: Path) -> None:
    model = onnx_model(models.net, tmp_path)
    calibration = upload({"x": [PHOTO, PHOTO[..., ::-1].copy()]}, tmp_path / "calibration.h5")
    options = f"{DLC} --quantize_full_type int8 --quantize_io"
    made = compile_it(model, tmp_path / "job", options, calibration=calibration)
    (taken,), (given,) = made.input_spec, made.output_spec
    assert taken.dtype == given.dtype == "uint8"
    assert taken.scale is not None
    assert given.scale is not None
    assert given.zero_point is not None
    levels = np.round(PHOTO / taken.scale + (taken.zero_point or 0)).clip(0, 255).astype(np.uint8)
    (answer,) = download(infer(made.model, tmp_path / "run", {"x": [levels]}).outputs)["output_0"]
    expected = on_cpu(model.path, {"x": PHOTO})[0]
    error = (answer.astype(np.float32) - given.zero_point) * given.scale - expected
    assert np.abs(error).max() < 0.1 * np.abs(expected).max()


def test_calibration_that_does_not_fit(tmp_path: Path) -> None:
    calibration = upload({"image": [PHOTO]}, tmp_path / "x.h5")
    task = QuantizeTask(onnx_model(models.net, tmp_path), "int8", "int8", calibration, "")
    with pytest.raises(TaskError, match="the data set has 'image', and the model takes 'x'"):
        run(task, tmp_path / "job", LIMITS)
