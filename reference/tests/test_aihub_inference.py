"""What a compiled target computes against onnxruntime on the model that was uploaded."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from reference.aihub.tasks import (
    InferenceTask,
    LinkTask,
    Model,
    ModelKind,
    QuantizeTask,
    TaskError,
)
from reference.aihub.work import run
from reference.aihub.worker import JobChild
from reference.tests import npu_models as models
from reference.tests.aihub_jobs import (
    LIMITS,
    QCS6490,
    S24,
    compile_it,
    download,
    infer,
    load,
    onnx_model,
    refusal,
    upload,
)
from reference.tests.npu_models import FLOAT, INT64, PHOTO, PICTURE, needs_compiler, on_cpu
from reference.tests.test_npu_binary import build as several

pytestmark = [needs_compiler, pytest.mark.usefixtures("shared_cache")]
# Units in the last place of float16 that a chain of eight operators may lose.
CLOSE = 8 * 2.0**-11
PHOTOS = [PHOTO, PHOTO[..., ::-1].copy(), PHOTO[:, ::-1].copy()]


def relative(answer: np.ndarray, expected: np.ndarray) -> float:
    assert answer.shape == expected.shape
    return float(np.abs(answer - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize(
    "runtime", ["qnn_dlc", "qnn_context_binary", "precompiled_qnn_onnx", "onnx"]
)
def test_a_target_computes_what_the_model_does(runtime: str, tmp_path: Path) -> None:
    model = onnx_model(models.net, tmp_path)
    made = compile_it(model, tmp_path / "job", f"--target_runtime {runtime}")
    assert [(s.name, s.shape, s.dtype) for s in made.input_spec] == [("x", PICTURE, "float32")]
    assert [(s.name, s.shape) for s in made.output_spec] == [("output_0", (1, 8, 32, 32))]
    answers = download(infer(made.model, tmp_path / "run", {"x": PHOTOS}).outputs)
    assert list(answers) == ["output_0"]
    errors = [
        relative(answer, on_cpu(model.path, {"x": photo})[0])
        for photo, answer in zip(PHOTOS, answers["output_0"], strict=True)
    ]
    if runtime == "onnx":
        assert max(errors) < 1e-5
    else:
        assert min(errors) > 0, "float16, and no copy of the CPU's float32"
        assert max(errors) < CLOSE


def test_the_notice_says_what_computed(tmp_path: Path) -> None:
    model = onnx_model(models.net, tmp_path)
    (host,) = infer(model, tmp_path / "cpu", {"x": [PHOTO]}).notices
    assert host == (
        "computed by ONNX Runtime on this host's CPU in the model's own precision, not by a device"
    )
    result = infer(model, tmp_path / "npu", {"x": [PHOTO]}, "--compute_unit npu")
    assert result.notices == (
        "computed by QAIRT's emulator of SM8650 on this host, not by a device",
    )
    assert relative(download(result.outputs)["y"][0], on_cpu(model.path, {"x": PHOTO})[0]) > 0


def test_int64_is_truncated(tmp_path: Path) -> None:
    """The spec says int32, int32 comes in, and what comes out is the original's."""
    model = onnx_model(models.table, tmp_path)
    assert refusal(models.table, tmp_path, "--target_runtime qnn_dlc") == (
        "Must use --truncate_64bit_io when input tensors have type int64."
    )
    assert refusal(models.table, tmp_path, "--target_runtime onnx") is None, "which has int64"
    made = compile_it(model, tmp_path / "job", "--target_runtime qnn_dlc --truncate_64bit_io")
    assert [(s.name, s.shape, s.dtype) for s in made.input_spec] == [("i", (1, 2), "int32")]
    index = np.array([[3, 1]])
    result = infer(made.model, tmp_path / "run", {"i": [index.astype(np.int32)]})
    assert relative(
        download(result.outputs)["output_0"][0], on_cpu(model.path, {"i": index})[0]
    ) < (CLOSE)
    with pytest.raises(TaskError) as raised:
        infer(made.model, tmp_path / "wide", {"i": [index]})
    assert str(raised.value) == (
        "input 'i': sample 0 is int64[1, 2], and the model takes int32[1, 2];"
        " --truncate_64bit_io made it int32"
    )


def argmax() -> onnx.ModelProto:
    nodes = [models.node("ArgMax", "x", "y", axis=1)]
    return models.model(nodes, [("x", FLOAT, (1, 8, 4, 4))], [("y", INT64, (1, 1, 4, 4))])


def test_int64_outputs(tmp_path: Path) -> None:
    model = onnx_model(argmax, tmp_path)
    assert refusal(argmax, tmp_path, "--target_runtime qnn_context_binary") == (
        "Must use --truncate_64bit_io when output tensors have type int64."
    )
    made = compile_it(
        model, tmp_path / "job", "--target_runtime qnn_context_binary --truncate_64bit_io"
    )
    assert made.output_spec[0].dtype == "int32"
    x = np.random.default_rng(0).permutation(128).reshape(1, 8, 4, 4).astype(np.float32)
    (answer,) = download(infer(made.model, tmp_path / "run", {"x": [x]}).outputs)["output_0"]
    assert answer.dtype == np.int32
    assert (answer == on_cpu(model.path, {"x": x})[0]).all()


def test_channels_last_and_names(tmp_path: Path) -> None:
    model = onnx_model(models.net, tmp_path)
    options = (
        "--target_runtime qnn_dlc --output_names mask --force_channel_last_input x"
        " --force_channel_last_output mask"
    )
    made = compile_it(model, tmp_path / "job", options)
    assert [(s.name, s.shape) for s in made.input_spec] == [("x", (1, 32, 32, 3))]
    assert [(s.name, s.shape) for s in made.output_spec] == [("mask", (1, 32, 32, 8))]
    moved = PHOTO.transpose(0, 2, 3, 1).copy()
    (answer,) = download(infer(made.model, tmp_path / "run", {"x": [moved]}).outputs)["mask"]
    expected = on_cpu(model.path, {"x": PHOTO})[0]
    assert relative(answer.transpose(0, 3, 1, 2), expected) < CLOSE


def test_quantised_inputs_and_outputs(tmp_path: Path) -> None:
    model = onnx_model(models.quantised, tmp_path)
    made = compile_it(
        model, tmp_path / "job", "--target_runtime qnn_dlc --quantize_io", device=QCS6490
    )
    (taken,), (given,) = made.input_spec, made.output_spec
    assert (taken.dtype, taken.scale, taken.zero_point) == ("uint8", np.float32(1 / 255), 0)
    assert (given.dtype, given.scale, given.zero_point) == ("uint8", np.float32(0.02), 128)
    pixels = np.round(PHOTO * 255).astype(np.uint8)
    result = infer(made.model, tmp_path / "run", {"x": [pixels]}, device=QCS6490)
    (answer,) = download(result.outputs)["output_0"]
    expected = on_cpu(model.path, {"x": pixels / np.float32(255)})[0]
    assert np.abs((answer.astype(np.float32) - 128) * 0.02 - expected).max() < 0.0201, "one step"
    with pytest.raises(TaskError, match=r"it is quantised, with scale 0.00392157 and zero point 0"):
        infer(made.model, tmp_path / "float", {"x": [PHOTO]}, device=QCS6490)


def test_quantise_then_compile(tmp_path: Path) -> None:
    """Float is refused by a chip without float16; quantised as the refusal says, it compiles."""
    model = onnx_model(models.net, tmp_path)
    with pytest.raises(TaskError) as raised:
        compile_it(model, tmp_path / "refused", "--target_runtime qnn_dlc", device=QCS6490)
    assert str(raised.value) == (
        "the model computes in float, and QCS6490 has no float16;"
        " quantise it first (submit_quantize_job) and add --quantize_io"
    )
    calibration = upload({"x": PHOTOS}, tmp_path / "calibration.h5")
    task = QuantizeTask(model, "int8", "int8", calibration, "--range_scheme min_max")
    quantised = run(task, tmp_path / "quantised", LIMITS)
    assert "QuantizeLinear" in {node.op_type for node in load(quantised.model).graph.node}
    assert quantised.notices == ("calibrated on 3 samples by their minima and maxima, w8a8",)
    assert quantised.model is not None
    made = compile_it(quantised.model, tmp_path / "job", "--target_runtime qnn_dlc", device=QCS6490)
    result = infer(made.model, tmp_path / "run", {"x": [PHOTO]}, device=QCS6490)
    (answer,) = download(result.outputs)["output_0"]
    assert relative(answer, on_cpu(model.path, {"x": PHOTO})[0]) < 0.1


def test_linked_graphs(tmp_path: Path) -> None:
    """Two DLCs in one binary; each is chosen by its name and computes its own."""
    made = []
    for name, build in (("picture", models.net), ("vector", models.elementwise)):
        options = f"--qnn_options context_enable_graphs={name} --target_runtime qnn_dlc"
        made.append(compile_it(onnx_model(build, tmp_path), tmp_path / name, options).model)
    linked = run(LinkTask(tuple(filter(None, made)), S24, ""), tmp_path / "linked", LIMITS)
    assert linked.model is not None
    assert linked.model.kind is ModelKind.QNN_CONTEXT_BINARY
    assert linked.metadata[30] == "picture,vector"
    assert {(spec.graph, spec.shape) for spec in linked.input_spec} == {
        ("picture", PICTURE),
        ("vector", (1, 8)),
    }
    assert [spec.graph for spec in linked.output_spec] == ["picture", "vector"]
    x = np.linspace(-1, 1, 8, dtype=np.float32)[None]
    for name, feed, build in (("picture", PHOTO, models.net), ("vector", x, models.elementwise)):
        options = f"--qnn_options context_enable_graphs={name}"
        result = infer(linked.model, tmp_path / f"run-{name}", {"x": [feed]}, options)
        expected = on_cpu(models.save(build, tmp_path), {"x": feed})[0]
        assert relative(download(result.outputs)["output_0"][0], expected) < CLOSE
    with pytest.raises(TaskError, match="has the graphs picture, vector: choose one with"):
        infer(linked.model, tmp_path / "both", {"x": [x]})
    with pytest.raises(TaskError, match="has no graph 'other', but picture, vector"):
        infer(
            linked.model, tmp_path / "no", {"x": [x]}, "--qnn_options context_enable_graphs=other"
        )
    wrapped = compile_it(linked.model, tmp_path / "wrap", "")
    assert wrapped.model is not None
    assert sorted(file.name for file in wrapped.model.path.iterdir()) == [
        "model.bin",
        "picture.onnx",
        "vector.onnx",
    ]
    (notice,) = wrapped.notices
    assert notice == "a file for each graph of the one binary: picture.onnx, vector.onnx"
    assert [spec.graph for spec in wrapped.input_spec] == ["picture", "vector"]
    for name, feed, build in (("picture", PHOTO, models.net), ("vector", x, models.elementwise)):
        options = f"--qnn_options context_enable_graphs={name}"
        result = infer(wrapped.model, tmp_path / f"onnx-{name}", {"x": [feed]}, options)
        expected = on_cpu(models.save(build, tmp_path), {"x": feed})[0]
        assert relative(download(result.outputs)["output_0"][0], expected) < CLOSE
    with pytest.raises(TaskError, match="has the graphs picture, vector: choose one with"):
        infer(wrapped.model, tmp_path / "which", {"x": [x]})
    with pytest.raises(TaskError, match="the graphs must have different names: vector, vector"):
        run(LinkTask((made[1], made[1]), S24, ""), tmp_path / "twice", LIMITS)


def test_a_binary_from_elsewhere(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs and can be wrapped, since it says what it takes; a DLC does not, and is refused."""
    model = onnx_model(models.net, tmp_path)
    binary = compile_it(model, tmp_path / "bin", "--target_runtime qnn_context_binary").model
    dlc = compile_it(model, tmp_path / "dlc", "--target_runtime qnn_dlc").model
    assert binary is not None
    assert dlc is not None
    monkeypatch.setenv("LPCVC_CACHE", str(tmp_path_factory.mktemp("other")))
    result = infer(binary, tmp_path / "run", {"x": [PHOTO]}, profile=True)
    expected = on_cpu(model.path, {"x": PHOTO})[0]
    assert relative(download(result.outputs)["output_0"][0], expected) < CLOSE
    assert result.profile is not None
    assert result.profile.layers == (), "which nothing tells"
    assert result.profile.basis == (
        "not measured: no latency estimate: the model was compiled elsewhere, and tells nothing"
        " that could be simulated"
    )
    wrapped = compile_it(binary, tmp_path / "wrap", "")
    assert [node.op_type for node in load(wrapped.model).graph.node] == ["EPContext"]
    again = infer(wrapped.model, tmp_path / "again", {"x": [PHOTO]})
    assert relative(download(again.outputs)["output_0"][0], expected) < CLOSE
    with pytest.raises(TaskError, match="runs only DLCs that it compiled itself"):
        infer(dlc, tmp_path / "foreign", {"x": [PHOTO]})
    with pytest.raises(TaskError, match="links only DLCs that it compiled itself"):
        run(LinkTask((dlc,), S24, ""), tmp_path / "link", LIMITS)
    with pytest.raises(TaskError, match=r"is for SM8650, and QCS6490 .Proxy. has QCS6490"):
        infer(binary, tmp_path / "device", {"x": [PHOTO]}, device=QCS6490)


def context_model(target: Model, folder: Path, **attributes: object) -> Model:
    """The ONNX model of a context binary, with other attributes."""
    made = load(target)
    kept = [entry for entry in made.graph.node[0].attribute if entry.name not in attributes]
    del made.graph.node[0].attribute[:]
    new = [onnx.helper.make_attribute(name, value) for name, value in attributes.items()]
    made.graph.node[0].attribute.extend([*kept, *new])
    folder.mkdir()
    onnx.save(made, folder / "model.onnx")
    return Model(folder, ModelKind.ONNX)


def test_where_a_context_binary_may_be(tmp_path: Path) -> None:
    """In the model itself or beside it, and nowhere else."""
    source = onnx_model(models.net, tmp_path)
    target = compile_it(source, tmp_path / "job", "--target_runtime precompiled_qnn_onnx").model
    assert target is not None
    data = (target.path / "model.bin").read_bytes()
    inside = context_model(target, tmp_path / "inside", embed_mode=1, ep_cache_context=data)
    result = infer(inside, tmp_path / "run", {"x": [PHOTO]})
    expected = on_cpu(source.path, {"x": PHOTO})[0]
    assert relative(download(result.outputs)["output_0"][0], expected) < CLOSE
    assert [file.name for file in inside.path.iterdir()] == ["model.onnx"], "left as it was"
    for index, name in enumerate(("../job/model/model.bin", str(target.path / "model.bin"), "no")):
        folder = tmp_path / f"outside-{index}"
        elsewhere = context_model(target, folder, ep_cache_context=name).path / "model.onnx"
        answer = JobChild().inspect(model=str(elsewhere), scratch=str(tmp_path))
        assert answer["refusal"].endswith("which is not beside it")


@pytest.mark.parametrize("runtime", ["qnn_context_binary", "precompiled_qnn_onnx"])
def test_jobs_of_several_inputs_and_outputs(runtime: str, tmp_path: Path) -> None:
    """Compiled, profiled and run on the hub; each output is its own, in the model's order."""
    path = tmp_path / "model.onnx"
    onnx.save(several(3, 2, quantised=False), path)
    options = f"--target_runtime {runtime}"
    made = compile_it(Model(path, ModelKind.ONNX), tmp_path / "job", options)
    rng = np.random.default_rng(0)
    shapes = {f"x{i}": (1, 4 + i, 6, 8) for i in range(3)}
    feeds = {name: rng.random(shape, dtype=np.float32) for name, shape in shapes.items()}
    result = infer(made.model, tmp_path / "run", {n: [x] for n, x in feeds.items()}, profile=True)
    answers = [value[0] for value in download(result.outputs).values()]
    for answer, expected in zip(answers, on_cpu(path, feeds), strict=True):
        np.testing.assert_allclose(answer, expected, rtol=2e-3)
    assert [spec.shape for spec in made.output_spec] == [(1, 6, 8), (1, 6, 16)]
    assert result.profile is not None
    assert len(result.profile.layers) == 5


def test_broken_binaries(tmp_path: Path) -> None:
    model = onnx_model(models.net, tmp_path)
    whole = compile_it(model, tmp_path / "bin", "--target_runtime qnn_context_binary").model
    assert whole is not None
    data = whole.path.read_bytes()
    for index, bad in enumerate((b"no binary", data[:5000])):
        path = tmp_path / f"bad-{index}.bin"
        path.write_bytes(bad)
        with pytest.raises(TaskError, match=r"the context binary cannot be read|crashed"):
            infer(Model(path, whole.kind), tmp_path / f"run-{index}", {"x": [PHOTO]})


def test_wrong_data(tmp_path: Path) -> None:
    model = onnx_model(models.net, tmp_path)
    with pytest.raises(TaskError) as raised:
        infer(model, tmp_path / "size", {"x": [PHOTO, PHOTO[:, :, :16]]})
    assert str(raised.value) == (
        "input 'x': sample 1 is float32[1, 3, 16, 32], and the model takes float32[1, 3, 32, 32]"
    )
    with pytest.raises(TaskError, match="there is nothing to do"):
        infer(model, tmp_path / "none", None)


def test_a_qnn_model_on_the_cpu(tmp_path: Path) -> None:
    model = Model(tmp_path / "model.dlc", ModelKind.QNN_DLC)
    with pytest.raises(TaskError, match="a QNN model runs on the NPU alone"):
        infer(model, tmp_path / "run", {"x": [PHOTO]}, "--compute_unit cpu")


def test_an_index_beyond_the_table(tmp_path: Path) -> None:
    made = compile_it(
        onnx_model(models.table_int32, tmp_path), tmp_path / "job", "--target_runtime qnn_dlc"
    )
    with pytest.raises(TaskError, match=r"the model fails on this input: .*execute error"):
        infer(made.model, tmp_path / "run", {"i": [np.array([[0, 99]], np.int32)]})


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (ModelKind.TORCHSCRIPT, "the model must be compiled first"),
        (ModelKind.TFLITE, "model is not a TFLite file"),
    ],
)
def test_models_that_do_not_run(kind: ModelKind, reason: str, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"")
    with pytest.raises(TaskError, match=reason):
        infer(Model(tmp_path / "model", kind), tmp_path / "run", {"x": [PHOTO]})


def test_samples_stream(tmp_path: Path) -> None:
    """Many samples, each in its own place; the scratch folder goes with the job."""
    model = onnx_model(models.elementwise, tmp_path)
    rng = np.random.default_rng(0)
    samples = [rng.normal(size=(1, 8)).astype(np.float32) for _ in range(50)]
    result = infer(model, tmp_path / "run", {"x": samples})
    answers = download(result.outputs)["y"]
    for sample, answer in zip(samples, answers, strict=True):
        assert (answer == np.maximum(sample, 0) * 2).all()
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["inputs.h5", "outputs.h5"]


def test_ticks_come_while_a_job_works(tmp_path: Path) -> None:
    waited: list[float] = []
    model = onnx_model(models.net, tmp_path)
    data = upload({"x": [PHOTO]}, tmp_path / "x.h5")
    made = compile_it(model, tmp_path / "job", "--target_runtime qnn_dlc")
    assert made.model is not None
    task = InferenceTask(made.model, S24, "", data, False)
    run(task, tmp_path / "run", LIMITS, waited.append)
    assert all(seconds > 0 for seconds in waited)
