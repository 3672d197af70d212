"""Latency estimates: what they say, when there is none and why, and what anchors do."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reference.cache import Cache
from reference.data import fixture
from reference.errors import SubmissionError
from reference.npu.anchors import Anchor
from reference.npu.budget import add_up
from reference.npu.calibration import (
    CONVOLUTION,
    INTEGERS,
    Interval,
    Simulated,
    load_calibration,
)
from reference.npu.devices import all_devices, find_device
from reference.npu.latency import estimate, estimate_on
from reference.npu.schedule import Operator, Schedule
from reference.npu.simulation import Simulation, _problem, simulate
from reference.npu.trace import SimulatedTime
from reference.process import Limits
from reference.tests import npu_models as models
from reference.tests.npu_models import needs_compiler, save

S24, S25, QCS8550, XR2 = (
    find_device(name)
    for name in ("Samsung Galaxy S24", "Samsung Galaxy S25", "QCS8550 (Proxy)", "XR2 Gen 2 (Proxy)")
)
QCS9075, CLIP = find_device("QCS9075 (Proxy)"), ["retrieval image", "retrieval text"]
X_ELITE = find_device("Snapdragon X Elite CRD")
CONVOLUTIONS, TRANSFORMER = {"Conv2d": 20, "Relu": 20}, {"MatMul": 24, "Softmax": 12}

pytestmark = needs_compiler


def simulation(ms: float = 10.0, uncosted: int = 0, ends: float = 0.6, **kinds: int) -> Simulation:
    """A model that took `ms` on the simulated chip, mostly in the matrix unit."""
    schedule = Schedule(ms * 0.7, ms * 0.2, ms * 0.3, 0.0, (), kinds or CONVOLUTIONS, 0.0)
    compiled: Any = SimpleNamespace(
        simulated=SimulatedTime(ms, ms, ms, uncosted), schedule=schedule, placement=None
    )
    return Simulation(Path("net.onnx"), f"digest of {ms}", "qnn_dlc", compiled, ends=ends)


def test_a_convolutional_model() -> None:
    found = estimate_on(simulation(), S24)
    fit = load_calibration().fits[S24.name]["aot"][CONVOLUTION]
    assert fit.formula == "units"
    one, matrix, vector, dma = fit.coefficients
    assert found.milliseconds == pytest.approx(one + 7 * matrix + 2 * vector + 3 * dma)
    assert found.low == pytest.approx(found.milliseconds * fit.interval.low)
    assert found.high == pytest.approx(found.milliseconds * fit.interval.high)
    assert (found.confidence, found.reasons, found.notes, found.anchor) == ("good", (), (), "")
    assert found.summary.startswith("latency estimate for Samsung Galaxy S24, qnn_dlc: 4.")
    assert "; not a measurement (calibration " in found.summary
    assert " to latencies of QAIRT 2.50, simulated by onnxruntime-qnn " in found.summary
    assert "QAIRT 2.51" in found.summary


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (simulation(**TRANSFORMER), "attention (12 Softmax)"),
        (simulation(uncosted=3), "no cost is known of 3 of the compiler's internal operations"),
        (simulation(0.3), "below 0.3 ms"),
        (simulation(500.0), "were fitted: 500 ms simulated ("),
        (simulation(ends=30.0), "were fitted: 30 MB at its inputs and outputs (up to 9.47)"),
    ],
)
def test_why_the_confidence_is_low(made: Simulation, reason: str) -> None:
    found = estimate_on(made, S24)
    assert found.confidence == "low"
    assert any(reason in said for said in found.reasons), found.reasons
    assert found.milliseconds is not None
    assert reason in found.summary


def test_a_class_that_is_far_off_is_said() -> None:
    calibration = load_calibration()
    fit = calibration.fits[S24.name]["aot"][CONVOLUTION]
    wide = dataclasses.replace(fit, interval=Interval(0.6, 1.6, 9))
    fits = {**calibration.fits, S24.name: {"aot": {CONVOLUTION: wide}}}
    wider = dataclasses.replace(calibration, fits=fits)
    (reason,) = estimate_on(simulation(), S24, calibration=wider).reasons
    assert reason == "models like it were far off on this device when held out"


def test_beyond_the_range_the_interval_is_wider() -> None:
    inside, beyond = (estimate_on(simulation(ends=n), S24) for n in (0.6, 30.0))
    assert beyond.milliseconds == inside.milliseconds
    assert beyond.high / beyond.milliseconds == pytest.approx(
        (inside.high / inside.milliseconds) ** 2
    )
    assert beyond.low < inside.low


def test_three_softmax_are_no_transformer() -> None:
    assert estimate_on(simulation(Conv2d=50, Softmax=3), S24).confidence == "good"


@pytest.mark.parametrize(
    ("device", "runtime", "reason", "remedy"),
    [
        (find_device("Samsung Galaxy S23"), "qnn_dlc", "no published latencies", "QCS8550 (Proxy)"),
        (find_device("Snapdragon X Elite CRD"), "tflite", "no published latencies", "QCS8550"),
        (find_device("SA8775P ADP"), "onnx", "with onnx to calibrate with", "QCS8550 (Proxy)"),
        (find_device("QCS6490 (Proxy)"), "qnn_dlc", "the QCS6490 has no float16", "choose"),
    ],
)
def test_devices_without_an_estimate(
    device: Any, runtime: str, reason: str, remedy: str, tmp_path: Path
) -> None:
    """The model is not even compiled."""
    cache = Cache(tmp_path / "cache")
    found = estimate(tmp_path / "no.onnx", device, runtime, cache=cache)
    assert (found.milliseconds, found.low, found.high) == (None, None, None)
    assert (found.confidence, found.span) == ("none", "no estimate")
    assert reason in found.reasons[0]
    assert remedy in found.remedy
    assert found.summary.startswith(f"no latency estimate for {device.name}, {runtime}: ")
    assert not cache.folder.exists()


def test_every_device_answers() -> None:
    """With an estimate, or with a reason and a remedy."""
    for runtime in ("qnn_dlc", "onnx"):
        made = dataclasses.replace(simulation(), runtime=runtime)
        for device in all_devices():
            found = estimate_on(made, device)
            if found.milliseconds is None:
                assert found.reasons[0]
                assert found.remedy
            else:
                assert 0 < found.low <= found.milliseconds <= found.high
                assert found.remedy == ""


def test_a_device_of_the_same_chip() -> None:
    one, other = (
        estimate_on(simulation(), device) for device in (S25, find_device("Snapdragon 8 Elite QRD"))
    )
    assert one.milliseconds == other.milliseconds
    assert (one.notes, other.notes) == (
        (),
        ("calibrated on Samsung Galaxy S25, which has the same chip",),
    )


@pytest.mark.parametrize("runtime", ["qnn_dlc", "onnx", "tflite"])
def test_a_device_with_a_stand_in(runtime: str) -> None:
    """Qualcomm publishes the Galaxy S22's latencies for the XR2 Gen 2."""
    made = dataclasses.replace(simulation(), runtime=runtime)
    one, other = (estimate_on(made, device) for device in (find_device("Samsung Galaxy S22"), XR2))
    assert one.milliseconds == other.milliseconds
    assert one.notes == other.notes[1:]
    assert other.notes[0] == (
        "calibrated on Samsung Galaxy S22 5G, Qualcomm's stand-in: nothing is measured here"
    )


def test_3d_convolutions_with_tflite() -> None:
    """Published, they take 14 to 24 times as long as the graph of a DLC says."""
    made = simulation(Conv3d=20, Relu=17)
    assert estimate_on(made, S24).milliseconds is not None
    found = estimate_on(dataclasses.replace(made, runtime="tflite"), S24)
    assert found.milliseconds is None
    assert (found.reasons[0][:16], found.remedy[-7:]) == ("3-D convolutions", "qnn_dlc")


def test_a_class_without_enough_models() -> None:
    """The SA8775P has convolutional models alone."""
    device = find_device("SA8775P ADP")
    assert estimate_on(simulation(), device).milliseconds is not None
    found = estimate_on(simulation(**TRANSFORMER), device)
    assert found.milliseconds is None
    assert found.reasons[0].startswith("the class attention has no calibration for the ")
    assert "--anchors" in found.remedy


def test_each_runtime_has_its_own_fit() -> None:
    found = [
        estimate_on(dataclasses.replace(simulation(), runtime=runtime), S24).milliseconds
        for runtime in ("qnn_dlc", "onnx", "tflite")
    ]
    assert len(set(found)) == 3


def test_a_small_net(tmp_path: Path) -> None:
    """The graph of a DLC has channel-last images, that of onnx is as exported."""
    path, cache = save(models.net, tmp_path), Cache(tmp_path / "cache")
    found = {r: estimate(path, S24, r, cache=cache) for r in ("onnx", "qnn_dlc", "tflite")}
    assert all(0 < e.milliseconds < 0.3 and e.confidence == "low" for e in found.values())
    assert "below 0.3 ms" in found["onnx"].reasons[-1]
    assert found["tflite"].milliseconds != found["qnn_dlc"].milliseconds
    assert found["tflite"].notes == ("the graph that is simulated is that of a DLC",)
    simulated = {r: simulate(path, r, cache=cache) for r in ("onnx", "qnn_dlc")}
    assert simulated["onnx"].digest == simulated["qnn_dlc"].digest
    assert all(s.compiled.cached for s in simulated.values())
    assert simulated["onnx"].simulated != simulated["qnn_dlc"].simulated
    assert {s.ends for s in simulated.values()} == {4e-6 * (3 + 8) * 32 * 32}
    with_itself = estimate(path, QCS8550, "onnx", cache=cache, anchors=[Anchor(path, S24, 0.5)])
    assert with_itself.milliseconds == pytest.approx(0.7, rel=0.2)


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (models.quantised_16, "only w8a8 convolution is covered: it is w8a16"),
        (models.mask_head, "1 node stays on the CPU, the first Einsum '/y/Einsum'"),
        (models.dynamic, "the compiler refuses it: "),
        (models.sampled_5d, "the compiler refuses it: "),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_models_without_an_estimate(build: Any, reason: str, tmp_path: Path) -> None:
    found = estimate(save(build, tmp_path), S24, "qnn_dlc", cache=Cache(tmp_path / "cache"))
    assert (found.milliseconds, found.confidence) == (None, "none")
    assert reason in found.reasons[0]
    assert found.remedy


def test_a_convolution_in_integers(tmp_path: Path) -> None:
    """It has a fit of its own, which says that it is experimental and how many models it knows."""
    path, cache = save(models.quantised, tmp_path), Cache(tmp_path / "cache")
    simulation = simulate(path, "onnx", cache=cache)
    assert simulation.simulated is not None
    assert simulation.simulated.model_class == INTEGERS
    found = estimate_on(simulation, S24, [(Anchor(path, QCS8550, 0.5), simulation)])
    fit = load_calibration().fits[S24.name]["onnx"][INTEGERS]
    assert found.milliseconds == pytest.approx(fit.predict(simulation.simulated))
    assert found.confidence == "low"
    assert found.reasons[0] == f"w8a8 is experimental: fitted to {fit.interval.count} models"
    assert "ran as slowly as 3.7 times" in found.reasons[1]
    assert found.high / found.milliseconds >= 3.7
    here = estimate_on(simulation, S24, [(Anchor(path, S24, 0.5), simulation)])
    assert (here.milliseconds, here.anchor[:9]) == (0.5, "measured:")


def test_one_thread_that_works_alone() -> None:
    """The compiler's internal operations without a cost are no reason, however many they are."""
    made = simulation(uncosted=60, Conv2d=3, Softmax=3)
    assert estimate_on(made, S24).milliseconds is not None
    compiled = made.compiled
    compiled.failure, compiled.placement = "", SimpleNamespace(cpu=())
    assert _problem(compiled) == ("", "")
    first = Operator("node_squeeze", "Reshape", "vector", 5.6, 0)
    compiled.schedule = dataclasses.replace(compiled.schedule, alone=9.7, operators=(first,))
    problem, remedy = _problem(compiled)
    assert problem == (
        "one vector thread works alone for 97% of the simulated time, first in Reshape"
        " 'node_squeeze'"
    )
    assert "--why" in remedy


def test_a_compiler_that_takes_too_long(tmp_path: Path) -> None:
    path = save(models.huge_kernel, tmp_path)
    limits = Limits(timeout=2.0)
    found = estimate(path, S24, "qnn_dlc", limits=limits, cache=Cache(tmp_path / "cache"))
    assert found.milliseconds is None
    assert "gave no answer for 2 s" in found.reasons[0]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(SubmissionError, match=r"net\.onnx is not an ONNX model"):
        estimate(path, S24, "qnn_dlc")


REFERENCES = {
    (entry["track"], entry["part"], entry["runtime"]): Simulated(**entry["simulated"])
    for entry in json.loads(fixture("latency/references.json").read_text(encoding="utf-8"))
}


def of_reference(track: str, part: str, runtime: str) -> Simulation:
    known = REFERENCES[track, part, runtime]
    schedule = Schedule(known.matrix, known.vector, known.dma, 0.0, (), known.kinds)
    whole = SimulatedTime(known.whole, known.whole, known.whole, 0)
    compiled: Any = SimpleNamespace(simulated=whole, schedule=schedule, placement=None)
    return Simulation(Path(track), f"{track} {part}", runtime, compiled, ends=known.ends)


@pytest.mark.parametrize(
    ("start", "device", "parts"),
    [
        ("| PIDNet-S, 1024x2048 | Galaxy S24, DLC |", S24, ["pidnet model"]),
        ("| PIDNet-S, 1024x2048 | QCS9075, DLC |", QCS9075, ["pidnet model"]),
        ("| PIDNet-S, 1024x2048 | QCS9075, onnx |", QCS9075, ["pidnet model"]),
        ("| Depth Anything V2-S, 480x640 | Galaxy S24, DLC |", S24, ["depth model"]),
        ("| X-Decoder, Focal-T at 256x256 inside | X Elite, DLC", X_ELITE, ["segmentation model"]),
        ("| CLIP ViT-B/16, image | Galaxy S24, DLC |", S24, ["retrieval image"]),
        ("| CLIP ViT-B/16, text | Galaxy S24, DLC |", S24, ["retrieval text"]),
        ("| CLIP ViT-B/16, both | Galaxy S24, DLC |", S24, CLIP),
        ("| CLIP ViT-B/16, both | QCS8450, DLC |", find_device("QCS8450 (Proxy)"), CLIP),
        ("| CLIP ViT-B/16, both | XR2 Gen 2, DLC (the track's) |", XR2, CLIP),
    ],
)
def test_the_references_in_the_documentation(start: str, device: Any, parts: list[str]) -> None:
    text = (Path(__file__).parents[2] / "docs/latency.md").read_text(encoding="utf-8")
    (line,) = (line for line in text.splitlines() if line.startswith(start))
    runtime = "onnx" if "onnx" in start else "qnn_dlc"
    made = [estimate_on(of_reference(*part.split(), runtime), device) for part in parts]
    ms, low, high = add_up(made)
    assert f" {ms:.3g} ms ({low:.3g}..{high:.3g})" in line
