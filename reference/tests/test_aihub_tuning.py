"""What is asked of compiler and quantiser reaches them; what a device heeds is a notice."""

import re
from pathlib import Path

import numpy as np
import onnx
import pytest

from reference.aihub.local import local_hub
from reference.aihub.tasks import LinkTask, ModelKind, QuantizeTask, Result
from reference.aihub.work import run
from reference.npu.compile import compile_model
from reference.npu.devices import Tuning
from reference.tests import npu_models as models
from reference.tests.aihub_jobs import (
    LIMITS,
    S24,
    compile_it,
    download,
    infer,
    load,
    onnx_model,
    upload,
)
from reference.tests.npu_models import PHOTO, needs_compiler, on_cpu

pytestmark = [needs_compiler, pytest.mark.usefixtures("shared_cache")]
CONTEXT = "--target_runtime qnn_context_binary"
VTCM, LEVEL = 34, 35  # keys of the client's metadata


def test_the_compiler_is_told(tmp_path: Path) -> None:
    model = onnx_model(models.net, tmp_path)
    usual = compile_it(model, tmp_path / "usual", CONTEXT)
    asked = "default_graph_htp_optimizations=O=1;default_graph_htp_vtcm_size=2"
    tuned = compile_it(model, tmp_path / "tuned", f"{CONTEXT} --qnn_options {asked}")
    assert [(made.metadata[VTCM], made.metadata[LEVEL]) for made in (usual, tuned)] == [
        ("8 MB", "3"),
        ("2 MB", "1"),
    ]
    assert said(usual) == {"mode": "3", "vtcm": None}
    assert said(tuned) == {"mode": "1", "vtcm": "2"}
    assert usual.notices == tuned.notices == ()


def said(made: Result) -> dict[str, str | None]:
    """What the compiler says that it was asked for."""
    log = made.logs["compile.log"].read_text()
    mode = re.findall(r"htp_graph_finalization_optimization_mode: (\d)", log)
    vtcm = re.findall(r"vtcm_mb: (\d+)", log)
    return {"mode": mode[0], "vtcm": vtcm[0] if vtcm else None}


def test_another_tuning_is_another_result(tmp_path: Path) -> None:
    """One that is as usual is found where it always was."""
    path = models.save(models.net, tmp_path)
    usual = compile_model(path, S24, limits=LIMITS)
    assert compile_model(path, S24, tuning=Tuning(3, 0)).folder == usual.folder
    assert compile_model(path, S24, tuning=Tuning(1, 0), limits=LIMITS).folder != usual.folder


def test_a_dlc_is_tuned_where_it_is_run_or_linked(tmp_path: Path) -> None:
    model = onnx_model(models.net, tmp_path)
    tuned = "--qnn_options default_graph_htp_optimization_value=2"
    made = compile_it(model, tmp_path / "dlc", f"--target_runtime qnn_dlc {tuned}")
    assert made.model is not None
    assert made.notices == (
        "a DLC is tuned where it is compiled for a chip: when it runs, or is linked",
    )
    linked = run(LinkTask((made.model,), S24, tuned), tmp_path / "linked", LIMITS)
    assert (linked.metadata[LEVEL], linked.metadata[VTCM]) == ("2", "8 MB")
    mode = "--qnn_options context_htp_performance_mode=BURST"
    result = infer(made.model, tmp_path / "run", {"x": [PHOTO]}, mode)
    assert result.notices[1].startswith(f"{mode}: it changes a device's time")
    assert made.model.kind is ModelKind.QNN_DLC


# Of the largest value: what is left of it after rounding weights and activations.
PRECISIONS = {
    "int8 int8": 0.05,
    "int8 int16": 0.02,
    "int4 int8": 0.3,
    "int4 int16": 0.3,
    "int16 int16": 0.002,
}


@pytest.mark.parametrize(
    "precision",
    [
        pytest.param(name, marks=[] if name == "int4 int16" else [pytest.mark.slow])
        for name in PRECISIONS
    ],
)
def test_every_precision_is_compiled_and_run(precision: str, tmp_path: Path) -> None:
    """Weights and activations have the bits asked for; the answers are as close as these allow."""
    weights, activations = precision.split()
    model = onnx_model(models.net, tmp_path)
    calibration = upload({"x": [PHOTO, PHOTO[..., ::-1].copy()]}, tmp_path / "calibration.h5")
    task = QuantizeTask(model, weights, activations, calibration, "")
    quantised = run(task, tmp_path / "quantised", LIMITS).model
    name = onnx.TensorProto.DataType.Name
    kinds = {w.name: name(w.data_type) for w in load(quantised).graph.initializer}
    assert kinds["kernel_quantized"] == weights.upper()
    assert kinds["x_zero_point"] == f"U{activations.upper()}"
    made = compile_it(quantised, tmp_path / "job", CONTEXT)
    result = infer(made.model, tmp_path / "run", {"x": [PHOTO]})
    (answer,) = download(result.outputs)["output_0"]
    expected = on_cpu(model.path, {"x": PHOTO})[0]
    error = float(np.abs(answer - expected).max() / np.abs(expected).max())
    assert error < PRECISIONS[precision]


@pytest.mark.parametrize("full_type", ["int16", "w4a16"])
def test_full_types_of_a_compile_job(full_type: str, tmp_path: Path) -> None:
    calibration = upload({"x": [PHOTO]}, tmp_path / "calibration.h5")
    options = f"--target_runtime qnn_dlc --quantize_full_type {full_type} --quantize_io"
    made = compile_it(
        onnx_model(models.net, tmp_path),
        tmp_path / "job",
        f"{options} --quantize_io_type uint16",
        calibration=calibration,
    )
    assert [spec.dtype for spec in (*made.input_spec, *made.output_spec)] == ["uint16"] * 2


def test_two_graphs_in_one_call_of_the_client(tmp_path: Path) -> None:
    """Compiled, linked and embedded; each graph is found by its name in what comes back."""
    qai_hub = pytest.importorskip("qai_hub", reason="needs the hub extra")
    device = qai_hub.Device(S24.name)
    given = [str(models.save(build, tmp_path)) for build in (models.net, models.elementwise)]
    x = np.linspace(-1, 1, 8, dtype=np.float32)[None]
    with local_hub(tmp_path / "state") as hub:
        client = hub.client
        compiled, linked, embedded = client.submit_compile_and_link_jobs(
            given, device=device, graph_names=["picture", "vector"], embed_in_onnx=True
        )
        for job in (*compiled, linked, embedded):
            assert job.wait().success, job.get_status().message
        target = client.get_model(embedded.get_target_model().model_id)
        shapes = {name: [t.shape for t in specs] for name, specs in target.input_spec.items()}
        assert shapes == {"picture": [PHOTO.shape], "vector": [x.shape]}
        options = "--qnn_options context_enable_graphs=vector"
        run = client.submit_inference_job(target, device, {"x": [x]}, options=options)
        assert run.wait().success
        (answer,) = run.download_output_data()["output_0"]
    np.testing.assert_allclose(answer, on_cpu(Path(given[1]), {"x": x})[0], rtol=2e-3)
