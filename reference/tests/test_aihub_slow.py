"""Whole models through the jobs of a local AI Hub."""

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest

from reference.aihub.tasks import Model, ModelKind, TaskError
from reference.export import export_reference
from reference.retrieval.contract import RETRIEVAL_2026
from reference.tests import npu_models as models
from reference.tests.aihub_jobs import QCS6490, compile_it, download, infer
from reference.tests.npu_models import PHOTO, needs_compiler, on_cpu, save


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LPCVC_CACHE", str(tmp_path / "cache"))


def takes_int64(path: Path) -> Path:
    """The model with its input as int64, as many exporters write it."""
    made = onnx.load(path)
    (value,) = made.graph.input
    for each in made.graph.node:
        each.input[:] = ["ids32" if name == value.name else name for name in each.input]
    cast = onnx.helper.make_node("Cast", [value.name], ["ids32"], to=onnx.TensorProto.INT32)
    made.graph.node.insert(0, cast)
    value.type.tensor_type.elem_type = onnx.TensorProto.INT64
    wide = path.with_name("int64.onnx")
    onnx.save(made, wide)
    return wide


@needs_compiler
@pytest.mark.slow
def test_a_text_encoder(tmp_path: Path) -> None:
    """The organisers' flow for CLIP's text encoder, with random weights."""
    source = takes_int64(export_reference(RETRIEVAL_2026, tmp_path)["text"])
    model = Model(source, ModelKind.ONNX)
    with pytest.raises(TaskError, match="Must use --truncate_64bit_io"):
        compile_it(model, tmp_path / "refused", "--target_runtime qnn_dlc")
    options = "--target_runtime qnn_dlc --truncate_64bit_io"
    (name,) = (value.name for value in onnx.load(source).graph.input)
    made = compile_it(model, tmp_path / "job", options, {name: ((1, 77), "int64")})
    assert (made.input_spec[0].dtype, made.input_spec[0].shape) == ("int32", (1, 77))
    ids = np.full((1, 77), 49407)
    ids[0, :5] = [49406, 320, 1125, 539, 320]
    result = infer(made.model, tmp_path / "run", {name: [ids.astype(np.int32)] * 2}, profile=True)
    first, second = download(result.outputs)["output_0"]
    assert first.tobytes() == second.tobytes()
    expected = on_cpu(source, {name: ids})[0]
    cosine = np.vdot(first, expected) / np.linalg.norm(first) / np.linalg.norm(expected)
    assert cosine > 0.9999
    assert result.profile is not None
    assert len(result.profile.times) == 2
    assert len(result.profile.layers) > 200


def aimet_export(folder: Path) -> Model:
    """What `sim.export` writes for the small net, calibrated on one picture."""
    from aimet_onnx.quantsim import QuantizationSimModel

    source = save(models.net, folder)
    sim = QuantizationSimModel(
        onnx.load(source),
        param_type="int8",
        activation_type="int8",
        providers=["CPUExecutionProvider"],
    )
    sim.compute_encodings([{"x": PHOTO}])
    exported = folder / "net.aimet"
    exported.mkdir()
    sim.export(str(exported), "model")
    return Model(exported, ModelKind.AIMET_ONNX)


@needs_compiler
@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("aimet_onnx") is None, reason="aimet-onnx is not installed"
)
def test_an_aimet_export(tmp_path: Path) -> None:
    model = aimet_export(tmp_path)
    options = "--target_runtime qnn_context_binary --quantize_io"
    made = compile_it(model, tmp_path / "job", options, device=QCS6490)
    (taken,), (given,) = made.input_spec, made.output_spec
    assert taken.scale is not None
    assert given.scale is not None
    assert given.zero_point is not None
    levels = np.round(PHOTO / taken.scale + (taken.zero_point or 0)).clip(0, 255)
    feeds = {"x": [levels.astype(taken.dtype)]}
    result = infer(made.model, tmp_path / "run", feeds, device=QCS6490)
    answer = download(result.outputs)["output_0"][0].astype(np.float32)
    expected = on_cpu(tmp_path / "net.onnx", {"x": PHOTO})[0]
    error = (answer - given.zero_point) * given.scale - expected
    assert np.abs(error).max() < 0.1 * np.abs(expected).max()


@pytest.mark.skipif(
    importlib.util.find_spec("aimet_onnx") is not None, reason="aimet-onnx is installed"
)
def test_aimet_is_missing(tmp_path: Path) -> None:
    folder = tmp_path / "model.aimet"
    folder.mkdir()
    save(models.net, folder)
    (folder / "model.encodings").write_text("{}")
    with pytest.raises(TaskError, match="aimet-onnx, which reads it, is not installed"):
        compile_it(
            Model(folder, ModelKind.AIMET_ONNX), tmp_path / "job", "--target_runtime qnn_dlc"
        )
