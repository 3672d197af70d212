"""Estimates that rest on a measurement: of the model, or of one like it."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from reference.errors import SubmissionError
from reference.export import export_onnx
from reference.npu.anchors import Anchor, published_anchors, read_anchors
from reference.npu.calibration import (
    ATTENTION,
    CONVOLUTION,
    Interval,
    load_calibration,
)
from reference.npu.latency import estimate_on
from reference.npu.simulation import Simulation, simulate
from reference.retrieval.contract import RETRIEVAL_2026
from reference.tests import npu_models as models
from reference.tests.npu_models import needs_compiler, save
from reference.tests.test_latency import QCS8550, S24, TRANSFORMER, XR2, simulation

pytestmark = needs_compiler


def anchor(device: Any, ms: float, runtime: str | None = None) -> Anchor:
    return Anchor(Path("known.onnx"), device, ms, runtime)


def test_a_measured_model_on_another_device() -> None:
    """Its own time on the S24 tells that on the QCS8550 better than any simulation."""
    made = simulation(**TRANSFORMER)
    found = estimate_on(made, QCS8550, [(anchor(S24, 20.0), made)])
    ratio = load_calibration().ratio("qnn_dlc", S24, QCS8550)
    assert found.milliseconds == pytest.approx(20 * ratio.median)
    assert found.high == pytest.approx(20 * ratio.median * ratio.interval.high)
    assert found.high / found.low < 1.2
    assert (found.confidence, found.reasons) == ("good", ())
    assert found.anchor.startswith("known.onnx on Samsung Galaxy S24, 20 ms, times 1.")


def test_a_measured_model_on_its_own_device() -> None:
    made = simulation()
    known = [(anchor(QCS8550, 9.0), made), (anchor(S24, 5.0), made)]
    found = estimate_on(made, S24, known)
    assert (found.milliseconds, found.low, found.high) == (5.0, 5.0, 5.0)
    assert found.anchor == "measured: known.onnx on Samsung Galaxy S24, 5 ms"


def test_a_similar_model_on_the_device() -> None:
    """A part of the logarithm of what the simulation is off for it is expected of the other too."""
    base, made = simulation(8.0), simulation(16.0)
    plain, expected = (estimate_on(model, S24).milliseconds for model in (made, base))
    found = estimate_on(made, S24, [(anchor(S24, 2 * expected), base)])
    kinship = load_calibration().kinships["aot"][CONVOLUTION]
    assert 0.1 < kinship.weight < 0.8
    assert found.milliseconds == pytest.approx(plain * 2**kinship.weight)
    assert found.high == pytest.approx(found.milliseconds * kinship.interval.high)
    assert "a similar model" in found.anchor


def test_a_similar_model_that_says_nothing() -> None:
    """Where the pairs of published models give it no weight, the fit is the answer."""
    base, made = simulation(8.0, **TRANSFORMER), simulation(16.0, **TRANSFORMER)
    calibration = load_calibration()
    kinship = dataclasses.replace(calibration.kinships["aot"][ATTENTION], weight=0.0)
    none = dataclasses.replace(calibration, kinships={"aot": {ATTENTION: kinship}})
    found = estimate_on(made, S24, [(anchor(S24, 99.0), base)], none)
    assert found.milliseconds == estimate_on(made, S24).milliseconds
    assert found.notes == ("no anchor used: none tells more than the fit",)


def test_a_similar_model_on_a_device_that_is_not_calibrated() -> None:
    base, made = simulation(8.0), simulation(16.0)
    found = estimate_on(made, XR2, [(anchor(XR2, 11.0), base)])
    assert found.milliseconds == pytest.approx(22.0)
    assert found.anchor.endswith("times the ratio of simulated times")
    assert estimate_on(made, XR2, [(anchor(S24, 11.0), base)]).anchor == ""


def scaled(part: int, factor: float = 1.0, **more: int) -> Simulation:
    """A model like the published one, with `factor` times its simulated time."""
    _, known = published_anchors()[part]
    return simulation(known.whole * factor, **{**known.kinds, **more})


@pytest.mark.parametrize(("part", "ms", "what"), [(0, 26.156, "image"), (1, 4.556, "text")])
def test_what_the_leaderboard_says_of_a_similar_model(part: int, ms: float, what: str) -> None:
    """Nothing else was measured on the XR2 Gen 2: it says more than another device's fit."""
    found = estimate_on(scaled(part, 1.5), XR2)
    interval = load_calibration().kinships["aot"][ATTENTION].unfitted
    assert found.milliseconds == pytest.approx(1.5 * ms)
    assert (found.low, found.high) == pytest.approx(
        (1.5 * ms * interval.low, 1.5 * ms * interval.high)
    )
    assert found.anchor.startswith(f"CLIP ViT-B-16 {what}, LPCVC leaderboard on XR2 Gen 2 (Proxy)")
    assert found.confidence == "low"


def test_where_the_leaderboard_says_nothing() -> None:
    """Of other kinds of model, of other devices and runtimes, and beside what the user measured."""
    assert estimate_on(simulation(), XR2).anchor == ""
    assert estimate_on(scaled(0), S24).anchor == ""
    assert estimate_on(dataclasses.replace(scaled(0), runtime="onnx"), XR2).anchor == ""
    own = scaled(0, 2.0, Softmax=30)
    found = estimate_on(scaled(0), XR2, [(anchor(XR2, 50.0), own)])
    assert found.milliseconds == pytest.approx(25.0)


@pytest.mark.slow
def test_the_published_models_are_the_reference(tmp_path: Path) -> None:
    """As the sample exports it, without mean and std."""
    from reference.retrieval.model import build

    encoders = build(normalise=False)
    assert [anchor.ms for anchor, _ in published_anchors()] == [26.156, 4.556]
    for part, (_, known) in zip(RETRIEVAL_2026.parts, published_anchors(), strict=True):
        path = export_onnx(encoders[part.name], part, tmp_path / f"{part.name}.onnx")
        made = simulate(path, "qnn_dlc").simulated
        assert made.kinds == known.kinds
        for name in ("whole", "matrix", "vector", "dma", "ends"):
            assert getattr(made, name) == pytest.approx(getattr(known, name), rel=0.02), name


def test_anchors_that_say_nothing() -> None:
    """Another kind of model, or a model that could not be simulated."""
    made = simulation()
    plain = estimate_on(made, S24)
    other = Simulation(Path("q.onnx"), "other", "qnn_dlc", None, "quantised")
    known = [(anchor(S24, 99.0), simulation(9.0, **TRANSFORMER)), (anchor(S24, 99.0), other)]
    found = estimate_on(made, S24, known)
    assert found.notes == ("no anchor used: none tells more than the fit",)
    assert dataclasses.replace(found, notes=()) == plain


def test_a_measurement_that_says_less_than_the_fit() -> None:
    """What two devices' ratios scatter is held against what the fit does; none is as wide here."""
    made, calibration = simulation(), load_calibration()
    ratio = calibration.ratio("qnn_dlc", S24, QCS8550)
    wide = Interval(0.1, 10.0, 9)
    starts = {S24.name: {QCS8550.name: dataclasses.replace(ratio, interval=wide)}}
    other = dataclasses.replace(calibration, ratios={**calibration.ratios, "aot": starts})
    found = estimate_on(made, QCS8550, [(anchor(S24, 99.0), made)], other)
    assert (found.milliseconds, found.anchor) == (estimate_on(made, QCS8550).milliseconds, "")
    assert estimate_on(made, QCS8550, [(anchor(S24, 99.0), made)]).anchor


def test_anchors_hold_for_one_runtime() -> None:
    assert anchor(S24, 1.0).holds_for("onnx")
    assert anchor(S24, 1.0, "qnn_dlc").holds_for("qnn_context_binary")
    assert not anchor(S24, 1.0, "onnx").holds_for("qnn_dlc")


def test_reading_anchors(tmp_path: Path) -> None:
    save(models.net, tmp_path)
    path = tmp_path / "anchors.json"
    entry = {"model": "net.onnx", "device": "Samsung Galaxy S24 (Family)", "ms": 5}
    path.write_text(json.dumps([entry, {**entry, "runtime": "onnx"}]))
    assert read_anchors(path) == (
        Anchor(tmp_path / "net.onnx", S24, 5.0),
        Anchor(tmp_path / "net.onnx", S24, 5.0, "onnx"),
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "cannot be read"),
        ("{}", "not a list"),
        ("[1]", "anchor 1 of anchors.json lacks something"),
        ('[{"model": "net.onnx", "ms": 5}]', "lacks something"),
        ('[{"model": "net.onnx", "device": "S24", "ms": "5"}]', "has '5' for ms"),
        ('[{"model": "net.onnx", "device": "S24", "ms": true}]', "has True for ms"),
        ('[{"model": "net.onnx", "device": "S24", "ms": 0}]', "has 0 for ms"),
        ('[{"model": "net.onnx", "device": "S24", "ms": NaN}]', "has nan for ms"),
        ('[{"model": "net.onnx", "device": "S24", "ms": 1, "runtime": "x"}]', "runtime 'x'"),
        ('[{"model": "no.onnx", "device": "S24", "ms": 1}]', "there is no"),
        ('[{"model": "net.onnx", "device": "Galaxy S99", "ms": 1}]', "unknown device"),
    ],
)
def test_anchors_that_cannot_be_read(text: str, problem: str, tmp_path: Path) -> None:
    save(models.net, tmp_path)
    path = tmp_path / "anchors.json"
    path.write_text(text)
    with pytest.raises(SubmissionError, match=problem):
        read_anchors(path)
