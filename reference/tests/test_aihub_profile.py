"""What a profile job reports, and that nobody takes it for what a device does."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("qai_hub", reason="needs the hub extra")

from qai_hub.client import _profile_pb_to_python_dict

from reference.aihub.codec import decode
from reference.aihub.jobs.profile import npu_layers
from reference.aihub.records import Asked, JobRecord, JobState, Made
from reference.aihub.tasks import ComputeUnit, Estimated, ModelKind, Profile
from reference.aihub.wire import profile_message, summary_message
from reference.npu.devices import find_device
from reference.npu.latency import estimate
from reference.npu.schedule import UNITS, Operator
from reference.npu.trace import Node
from reference.tests import npu_models as models
from reference.tests.aihub_jobs import (
    S24,
    SIMULATED,
    compile_it,
    download,
    infer,
    onnx_model,
)
from reference.tests.hub_runner import PROFILE
from reference.tests.npu_models import PHOTO, needs_compiler

compiled = pytest.mark.usefixtures("shared_cache")
HOST = "this host's, emulating the NPU; it says nothing of a device"


def read(profile: Profile) -> dict:
    """What `download_profile` of the client gives."""
    return _profile_pb_to_python_dict(profile_message(profile))


def said(profile: Profile) -> dict[str, str]:
    """The versions of the tools by name."""
    return {tool.name: tool.version for tool in profile_message(profile).tool_versions}


@needs_compiler
@compiled
@pytest.mark.parametrize(
    ("target", "runtime"),
    [
        ("qnn_dlc", "qnn_dlc"),
        ("qnn_context_binary", "qnn_context_binary"),
        ("precompiled_qnn_onnx", "qnn_context_binary"),
        ("onnx", "onnx"),
    ],
)
def test_the_time_is_the_estimate(target: str, runtime: str, tmp_path: Path) -> None:
    """In each runtime that of `lpcvc estimate`, with its interval; the host's is another field."""
    model = onnx_model(models.net, tmp_path)
    made = compile_it(model, tmp_path / "job", f"--target_runtime {target}")
    result = infer(made.model, tmp_path / "run", None, "--max_profiler_iterations 2", profile=True)
    profile = result.profile
    assert profile is not None
    own = estimate(model.path, S24, runtime)
    assert profile.estimate is not None
    assert own.milliseconds is not None
    assert profile.estimate.time == pytest.approx(1000 * own.milliseconds)
    assert profile.estimate.low < profile.estimate.time < profile.estimate.high
    assert profile.basis == own.summary
    assert "not a measurement" in profile.basis
    summary = read(profile)["execution_summary"]
    assert summary["estimated_inference_time"] == round(profile.estimate.time)
    assert summary["all_inference_times"] == [round(profile.estimate.time)]
    assert min(profile.times) > 10 * profile.estimate.high or target == "onnx", "the host's"
    assert len(profile.times) == 2
    notice = f"{own.summary}; clients show it as estimated_inference_time"
    assert notice in result.notices
    assert f"host time: {profile.clock}" in result.notices
    assert said(profile)["time"] == own.summary
    assert all(layer.microseconds is None for layer in profile.layers), "of a chip not simulated"
    assert profile.simulation == ""


@needs_compiler
@compiled
def test_a_model_without_an_estimate_is_not_measured(tmp_path: Path) -> None:
    """Quantised in another way, or for a device that nothing is published of."""
    npu, other = "--target_runtime qnn_dlc", find_device("Samsung Galaxy S23")
    quantised = onnx_model(models.quantised_16, tmp_path / "q")
    dlc = compile_it(quantised, tmp_path / "dlc", npu).model
    foreign = compile_it(onnx_model(models.net, tmp_path), tmp_path / "o", npu, device=other).model
    cases = {
        "it is w8a16": infer(dlc, tmp_path / "1", None, profile=True),
        "to calibrate with": infer(foreign, tmp_path / "2", None, "", other, profile=True),
    }
    for reason, result in cases.items():
        profile = result.profile
        assert profile is not None
        assert profile.estimate is None
        assert profile.basis.startswith("not measured: no latency estimate")
        assert reason in profile.basis
        assert f"{profile.basis}; clients show 0 as estimated_inference_time" in result.notices
        summary = read(profile)["execution_summary"]
        assert summary["estimated_inference_time"] == 0
        assert summary["all_inference_times"] == []
        assert min(profile.times) > 0


@needs_compiler
@compiled
def test_layers_of_a_simulated_chip(tmp_path: Path) -> None:
    """Their times are of the compiler's simulation, and add up to the whole of it."""
    model = onnx_model(models.net, tmp_path)
    made = compile_it(model, tmp_path / "job", "--target_runtime qnn_dlc", device=SIMULATED)
    result = infer(made.model, tmp_path / "run", {"x": [PHOTO]}, device=SIMULATED, profile=True)
    profile = result.profile
    assert profile is not None
    assert len(download(result.outputs)["output_0"]) == 1
    assert profile.simulation == (
        "the compiler's simulation of SA8255: 0.027 ms, 0.022 to 0.035 ms; not measured"
    )
    micros = {layer.name: layer.microseconds for layer in profile.layers}
    assert sum(time or 0.0 for time in micros.values()) == pytest.approx(27, rel=0.02)
    assert micros["/u/Resize"] is not None, "which the compiler calls /u/Resize_token_11"
    assert micros["/c/Conv"] is None, "fused with the Relu behind it"
    parts = {layer.name: layer.part for layer in profile.layers}
    assert (parts["/r/Relu"], parts["/u/Resize"]) == ("matrix", "vector")
    assert said(profile)["layers"] == profile.simulation
    detail = {each["name"]: each for each in read(profile)["execution_detail"]}
    assert detail["/u/Resize"]["execution_time"] == round(micros["/u/Resize"])
    assert "execution_time" not in detail["/c/Conv"]
    assert profile.estimate is not None, "that chip is calibrated, too"
    assert profile.clock == HOST


@needs_compiler
@compiled
def test_what_the_host_took(tmp_path: Path) -> None:
    """It is kept, named as the host's, and in no field that a client shows as a device's."""
    model = onnx_model(models.net, tmp_path)
    made = compile_it(model, tmp_path / "job", "--target_runtime qnn_dlc")
    result = infer(made.model, tmp_path / "run", None, profile=True)
    profile = result.profile
    assert profile is not None
    assert result.outputs is None
    assert len(profile.times) == 3, "of up to 100: more would say no more"
    assert all(time > 0 for time in profile.times)
    assert profile.clock == HOST
    assert {layer.unit for layer in profile.layers} == {ComputeUnit.NPU}
    assert {"Conv", "MaxPool", "Resize"} <= {layer.type for layer in profile.layers}
    assert profile.tools["QAIRT"] == "2.51.0 emulator on this host, not a device"
    assert profile.peak_memory >= profile.load_peak_memory > 10e6
    assert profile.load_time > 0
    assert "timed on random data: no data set was given" in result.notices
    assert any("read 28672 and write 32768 bytes" in notice for notice in result.notices)
    for name, value in read(profile)["execution_summary"].items():
        if "inference_time" not in name:
            assert not value or value == (0, 0), name
    assert said(profile)["host time"].endswith(f": {HOST}")
    assert said(profile)["host memory"].endswith("MB, the peak of the host's process")


@needs_compiler
@compiled
def test_a_profile_of_onnx(tmp_path: Path) -> None:
    """Time of this host's CPU; the units are those that the compiler gives the nodes."""
    model = onnx_model(models.mask_head, tmp_path)
    result = infer(model, tmp_path / "run", None, "--max_profiler_iterations 5", profile=True)
    assert result.profile is not None
    assert len(result.profile.times) == 5
    assert result.profile.clock == "this host's, on its CPU; it says nothing of a device"
    units = {layer.type: layer.unit for layer in result.profile.layers}
    assert units["Einsum"] is ComputeUnit.CPU
    assert units["Conv"] is ComputeUnit.NPU
    assert result.profile.tools["ONNX Runtime"].endswith("CPU on this host, not a device")
    assert result.profile.estimate is None
    assert "not measured: no latency estimate" in result.profile.basis
    assert "stays on the CPU" in result.profile.basis
    alone = infer(model, tmp_path / "cpu", None, "--compute_unit cpu", profile=True)
    assert alone.profile is not None
    assert [layer.unit for layer in alone.profile.layers] == [ComputeUnit.CPU] * 2
    assert alone.profile.basis == (
        "not measured: no latency estimate: only the NPU is estimated, and the model does not run"
        " on it"
    )


_NAMES = st.sampled_from(["a", "b", "c_token_3", "d"])
_OPERATORS = st.lists(
    st.builds(
        Operator,
        st.sampled_from(["a", "a_token_1", "b_token_22", "c_token_3", "(input)", "x"]),
        st.just("op"),
        st.sampled_from(UNITS),
        st.floats(0, 10),
        st.just(0),
    ),
    max_size=8,
)


@given(st.lists(_NAMES, max_size=5), _OPERATORS)
def test_no_time_is_lost_between_nodes_and_operators(
    names: list[str], operators: list[Operator]
) -> None:
    nodes = [Node(name, "Op") for name in names]
    layers = npu_layers(nodes, operators)
    assert [layer.name for layer in layers[: len(nodes)]] == names
    total = sum(layer.microseconds or 0.0 for layer in layers)
    assert total == pytest.approx(1000 * sum(operator.ms for operator in operators))
    for layer in layers:
        assert (layer.microseconds is None) == (layer.part == "")


@pytest.mark.parametrize("estimated", [True, False])
def test_what_a_list_of_jobs_says(estimated: bool) -> None:
    """The estimate, or nothing: a client shows None, and not this host's time."""
    made = PROFILE if estimated else Profile(PROFILE.times, 1.0, 1.0, 9, 9, (), "host's", {})
    asked = Asked("inference", "name", ("m1",), ("Samsung Galaxy S24",), profile=True)
    job = JobRecord("j1", "me@team.org", asked, JobState.DONE, 1.0, "n", made=Made(profile=made))
    for version, kind in (((0, 56), "inference_job_summary"), ((0, 50), "profile_job_summary")):
        own = getattr(summary_message(job, ModelKind.QNN_DLC, version), kind)
        assert own.HasField("execution_time") == estimated
        assert own.execution_time == (2100 if estimated else 0)
        assert not own.HasField("execution_peak_memory")


def test_times_below_a_microsecond() -> None:
    """They are not 0, which says that there is none."""
    short = replace(PROFILE, estimate=Estimated(0.2, 0.1, 0.4))
    assert read(short)["execution_summary"]["estimated_inference_time"] == 1
    assert read(short)["execution_summary"]["all_inference_times"] == [1]


def test_a_profile_of_an_earlier_version() -> None:
    """It had this host's time alone, which is shown as no device's."""
    text = json.dumps({**asdict(PROFILE), "clock": "this host's"})
    old = {
        k: v for k, v in json.loads(text).items() if k not in ("estimate", "basis", "simulation")
    }
    for layer in old["layers"]:
        del layer["part"]
    profile = decode(Profile, json.dumps(old))
    assert (profile.times, profile.clock) == (PROFILE.times, "this host's")
    assert read(profile)["execution_summary"]["estimated_inference_time"] == 0
    assert said(profile)["time"] == "not measured, and not estimated"
