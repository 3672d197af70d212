"""The calibration of the latency estimate: in step with its data, and as good as is said."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference.data import fixture
from reference.npu.accuracy import accuracy_tables, held_out_estimates
from reference.npu.calibration import (
    ATTENTION,
    CLASSES,
    CONVOLUTION,
    FORMULAS,
    Simulated,
    kind_of,
    load_calibration,
    read_calibration,
)
from reference.npu.devices import find_device
from reference.npu.fit import (
    Row,
    Tables,
    by_family,
    calibrate,
    fit_formula,
    held_out,
    interval_of,
    read_tables,
    tables_version,
)

S24, QCS8550, QCS8275 = "Samsung Galaxy S24", "QCS8550 (Proxy)", "QCS8275 (Proxy)"
TABLES = read_tables()


def numbers(value: object) -> object:
    """All numbers rounded to what another machine's linear algebra gives too."""
    if isinstance(value, dict):
        return {key: numbers(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [numbers(entry) for entry in value]
    return pytest.approx(value, rel=2e-3, abs=2e-4) if isinstance(value, float) else value


def test_the_calibration_is_what_the_tables_give() -> None:
    """Else: python -m reference.npu.calibrate."""
    kept = json.loads(fixture("latency/calibration.json").read_text())
    made = json.loads(json.dumps(dataclasses.asdict(calibrate(TABLES))))
    assert made == numbers(kept)
    assert kept["version"] == tables_version()
    assert dataclasses.asdict(load_calibration()) == dataclasses.asdict(read_calibration(kept))


def test_the_tables() -> None:
    assert len(TABLES) == 16
    rows = {row.model: row for row in TABLES["aot", S24]}
    resnet = rows["resnet18"]
    assert (resnet.family, resnet.ms, resnet.model_class) == ("CNN", 0.929, CONVOLUTION)
    assert (resnet.simulated.whole, resnet.simulated.matrix) == (1.5022, 1.1379)
    assert rows["openai_clip"].model_class == ATTENTION
    left_out = {"nasnet", "whisper_base:HfWhisperEncoder", "mobile_bert_uncased_google"}
    assert not {row.model for rows in TABLES.values() for row in rows} & {*left_out, "video_mae"}
    assert "fcn_resnet50" not in rows, "it was simulated channel-first alone"
    assert "fcn_resnet50" in {row.model for row in TABLES["onnx", S24]}
    text = next(row for row in TABLES["onnx", S24] if row.model.startswith("albert"))
    assert text.simulated == rows["albert_base_v2_hf"].simulated


def row(ms: float, matrix: float, vector: float, dma: float, rest: float = 0.0) -> Row:
    return Row("m", "f", Simulated(matrix + vector + rest, matrix, vector, dma, 0.0, {}), ms)


def test_coefficients_are_found_in_spite_of_outliers() -> None:
    rng = np.random.default_rng(0)
    rows = []
    for index in range(40):
        matrix, vector, dma = rng.uniform(0.1, 20, 3)
        ms = 0.2 + 0.4 * matrix + 0.7 * vector
        rows.append(row(ms * (3 if index % 8 == 0 else 1), matrix, vector, dma))
    assert fit_formula(rows, "units") == pytest.approx((0.2, 0.4, 0.7, 0.0), abs=2e-3)


ROWS = st.lists(
    st.builds(row, *[st.floats(0.1, 50)] * 5), min_size=6, max_size=14, unique_by=lambda r: r.ms
)


@given(ROWS, st.sampled_from(FORMULAS))
def test_no_coefficient_is_negative_and_none_can_be_bettered(rows: list[Row], formula: str) -> None:
    """Moving one coefficient alone does not make the sum of relative errors clearly smaller."""
    found = np.array(fit_formula(rows, formula))
    terms = np.array([r.simulated.terms(formula) for r in rows])
    ms = np.array([r.ms for r in rows])

    def loss(coefficients: np.ndarray) -> float:
        return float(np.abs(terms @ coefficients / ms - 1).sum())

    assert (found >= 0).all()
    for index in range(len(found)):
        for step in (-0.05, 0.05):
            other = found.copy()
            other[index] *= 1 + step
            assert loss(other) > loss(found) * 0.97 - 0.05


@given(st.lists(st.floats(-2, 2), min_size=5, max_size=60))
def test_an_interval_holds_four_of_five(errors: list[float]) -> None:
    found = interval_of(errors)
    assert found.low <= 1 <= found.high
    slack = 1e-3
    inside = [math.log(found.low) - slack <= e <= math.log(found.high) + slack for e in errors]
    assert np.mean(inside) >= 0.8 - 2 / len(errors)
    assert found.count == len(errors)


def test_what_is_better_than_the_line() -> None:
    """The line is left only where held-out families are estimated better."""
    fits = load_calibration().fits
    chosen = {(k, c): fits[S24][k][c].formula for k in ("aot", "onnx") for c in CLASSES}
    assert chosen["aot", ATTENTION] == "line"
    for (kind, name), formula in chosen.items():
        if formula == "line":
            continue
        own = {f: class_errors(TABLES, kind, name, f) for f in ("line", formula)}
        assert np.mean(own[formula]) < 0.95 * np.mean(own["line"])
        assert np.percentile(own[formula], 90) <= np.percentile(own["line"], 90)


def class_errors(tables: Tables, kind: str, name: str, formula: str) -> list[float]:
    return [
        abs(error)
        for (of_kind, _), rows in tables.items()
        if of_kind == kind
        for r, error in zip(rows, held_out(rows, formula, by_family), strict=True)
        if r.model_class == name
    ]


def test_the_chip_that_a_line_does_not_fit() -> None:
    """Its matrix unit is slow: half of the convolutional models would be 30 % off by a line."""
    rows = TABLES["aot", QCS8275]
    line, units = (
        [abs(e) for r, e in zip(rows, held_out(rows, f, by_family), strict=True) if not att(r)]
        for f in ("line", "units")
    )
    assert np.median(line) > 0.3
    assert np.median(units) < 0.2
    assert load_calibration().fits[QCS8275]["aot"][CONVOLUTION].formula == "units"


def att(r: Row) -> bool:
    return r.model_class == ATTENTION


def test_four_of_five_held_out_models_are_in_the_interval() -> None:
    held = held_out_estimates({("aot", S24): TABLES["aot", S24]})
    for guess in ("one", "family"):
        inside = [getattr(h, guess).low <= h.row.ms <= getattr(h, guess).high for h in held]
        assert 0.7 <= np.mean(inside) <= 0.9
    errors = [abs(h.one.ms / h.row.ms - 1) for h in held]
    assert np.median(errors) < 0.12
    table = accuracy_tables(held)
    assert f"| aot | {S24} | all | {len(held)} |" in table
    assert "segformer_base" in table


@pytest.mark.slow
def test_the_table_of_errors_is_what_the_tables_give() -> None:
    """Else: python -m reference.npu.calibrate."""
    kept = fixture("latency/errors.md").read_text()
    assert accuracy_tables(held_out_estimates(TABLES)) == kept


def test_one_device_from_another() -> None:
    calibration = load_calibration()
    one, other = find_device(S24), find_device(QCS8550)
    ratio = calibration.ratio("qnn_dlc", one, other)
    assert ratio is not None
    pairs = {r.model: r.ms for r in TABLES["aot", QCS8550]}
    errors = [abs(r.ms * ratio.median / pairs[r.model] - 1) for r in TABLES["aot", S24]]
    assert np.median(errors) < 0.045
    back = calibration.ratio("qnn_dlc", other, one)
    assert back is not None
    assert back.median == pytest.approx(1 / ratio.median, rel=2e-3)
    assert calibration.ratio("qnn_dlc", one, find_device("Samsung Galaxy S23")) is None


def test_devices_of_the_same_chip() -> None:
    calibration = load_calibration()
    named = {
        "Snapdragon 8 Elite QRD": "Samsung Galaxy S25",
        "SA7255P ADP": QCS8275,
        "SA8255 (Proxy)": "SA8775P ADP",
        "SA8650 (Proxy)": "",  # what the compiler takes for it is another chip
        "Samsung Galaxy S23": "",
        "XR2 Gen 2 (Proxy)": "",
    }
    assert {name: calibration.source(find_device(name)) for name in named} == named
    assert not calibration.covers(find_device("SA8775P ADP"), "onnx")
    assert [kind_of(r) for r in ("onnx", "tflite", "qnn_dlc")] == ["onnx", "aot", "aot"]


def test_likeness() -> None:
    one, other = (
        Simulated(1, 1, 1, 1, 1, kinds) for kinds in ({"Conv2d": 3, "Relu": 4}, {"Relu": 2})
    )
    assert one.likeness(one) == pytest.approx(1)
    assert one.likeness(other) == other.likeness(one) == pytest.approx(0.8)
    assert one.likeness(Simulated(1, 1, 1, 1, 1, {})) == 0
    assert one.terms("parts") == (1, 1, 1, 0)
