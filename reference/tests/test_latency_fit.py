"""The calibration of the latency estimate: in step with its data, and as good as is said."""

import dataclasses
import itertools
import json
import math
from pathlib import Path

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
    INTEGERS,
    Simulated,
    kind_of,
    load_calibration,
    read_calibration,
)
from reference.npu.devices import find_device
from reference.npu.fit import (
    W8A8,
    Row,
    by_family,
    calibrate,
    choose_formulas,
    errors_by_class,
    fit_formula,
    held_out,
    held_out_errors,
    interval_of,
    intervals,
    read_tables,
    tables_version,
)

S24, QCS8550, VENTUNO = "Samsung Galaxy S24", "QCS8550 (Proxy)", "Arduino VENTUNO Q"
TABLES, QUANTISED = read_tables(), read_tables(W8A8)


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
    made = json.loads(json.dumps(dataclasses.asdict(calibrate(TABLES, QUANTISED))))
    assert made == numbers(kept)
    assert kept["version"] == tables_version()
    assert dataclasses.asdict(load_calibration()) == dataclasses.asdict(read_calibration(kept))


def test_the_tables() -> None:
    assert {kind: sum(1 for k, _ in TABLES if k == kind) for kind, _ in TABLES} == {
        "aot": 12,
        "onnx": 9,
        "tflite": 10,
    }
    rows = {row.model: row for row in TABLES["aot", S24]}
    resnet = rows["resnet18"]
    assert (resnet.family, resnet.model_class) == ("CNN", CONVOLUTION)
    assert resnet.simulated.whole == pytest.approx(1.5, abs=0.01)
    assert rows["vit"].model_class == ATTENTION
    assert rows["vit"].simulated.whole == pytest.approx(12.7, abs=0.05), "its projections cut first"
    left_out = {"nasnet", "whisper_base", "mobile_bert_uncased_google", "video_mae", "openai_clip"}
    assert not {row.model for rows in TABLES.values() for row in rows} & left_out
    assert "fcn_resnet50" not in rows, "it was simulated channel-first alone"
    assert "fcn_resnet50" in {row.model for row in TABLES["onnx", S24]}
    text = next(row for row in TABLES["onnx", S24] if row.model.startswith("albert"))
    assert text.simulated == rows["albert_base_v2_hf"].simulated
    assert text.simulated.whole == pytest.approx(27.1, abs=0.05), "from the package's own code"
    tflite = {row.model: row.ms for row in TABLES["tflite", S24]}
    assert tflite["resnet18"] != resnet.ms
    assert "resnet_3d" in rows
    assert "resnet_3d" not in tflite


def test_no_job_is_counted_twice() -> None:
    """Qualcomm publishes the figures of one device for others with or without the same chip."""
    for (kind, one), (other_kind, other) in itertools.combinations(TABLES, 2):
        if kind == other_kind:
            there = {row.model: row.ms for row in TABLES[kind, other]}
            same = [row.ms == there.get(row.model) for row in TABLES[kind, one]]
            assert np.mean(same) < 0.05, (one, other)


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


def test_an_interval_has_the_sides_of_all_devices_and_the_reach_of_its_own() -> None:
    """One device is three times as far off as the other, and both more above than below."""
    rng = np.random.default_rng(1)
    errors = [float(e) for e in np.where(rng.random(60) < 0.5, -1, 2) * rng.uniform(0.01, 0.1, 60)]
    made = intervals({("onnx", "one", "x"): errors, ("onnx", "two", "x"): [3 * e for e in errors]})
    one, two = made["onnx", "one", "x"], made["onnx", "two", "x"]
    assert math.log(two.high) == pytest.approx(3 * math.log(one.high), rel=5e-3)
    assert math.log(one.high) > -1.5 * math.log(one.low)
    assert np.mean([one.low <= math.exp(e) <= one.high for e in errors]) == pytest.approx(0.8)
    other = intervals({("onnx", "one", "x"): errors, ("aot", "two", "x"): [-e for e in errors]})
    assert math.log(other["aot", "two", "x"].low) == pytest.approx(
        -math.log(other["onnx", "one", "x"].high), rel=2e-3
    )


def test_what_is_better_than_the_line() -> None:
    """For each device; attention, of which there are few models, keeps the line."""
    fits = load_calibration().fits
    assert {
        fit.formula for kinds in fits.values() for f in kinds.values() for fit in f.values()
    } == {*FORMULAS}
    for (kind, device), rows in TABLES.items():
        kept = fits[device].get(kind, {})
        assert kept.get(ATTENTION) is None or kept[ATTENTION].formula == "line"
        if device in (S24, VENTUNO) and kept[CONVOLUTION].formula != "line":
            line, own = (errors(rows, formula) for formula in ("line", kept[CONVOLUTION].formula))
            assert np.mean(own) < 0.95 * np.mean(line)


def errors(rows: list[Row], formula: str) -> list[float]:
    held = zip(rows, held_out(rows, formula, by_family), strict=True)
    return [abs(error) for row, error in held if not att(row)]


def test_the_chip_that_a_line_does_not_fit() -> None:
    """Its matrix unit is slow: half of the convolutional models would be 18 % off by a line."""
    rows = TABLES["onnx", VENTUNO]
    fit = load_calibration().fits[VENTUNO]["onnx"][CONVOLUTION]
    assert fit.formula == "parts"
    assert np.median(errors(rows, "line")) > 0.17
    assert np.median(errors(rows, "parts")) < 0.12


def att(r: Row) -> bool:
    return r.model_class == ATTENTION


def test_intervals_hold_four_of_five_in_every_cell() -> None:
    """Of the models of each device, runtime and class with ten or more, their family held out."""
    errors = held_out_errors(TABLES)
    cells = errors_by_class(TABLES, choose_formulas(TABLES, errors), errors)
    fits = load_calibration().fits
    large = {cell: found for cell, found in cells.items() if len(found) >= 10}
    assert len(large) >= 50
    for (kind, device, name), found in large.items():
        interval = fits[device][kind][name].interval
        inside = np.mean([interval.low <= math.exp(e) <= interval.high for e in found])
        assert 0.75 <= inside <= 0.85, (kind, device, name)


def test_w8a8_has_fits_of_its_own() -> None:
    """For every device and runtime that has ten such models; beside float models none changes."""
    rows = QUANTISED["aot", S24]
    assert len(rows) >= 15
    assert {row.model_class for row in rows} == {INTEGERS}
    assert not {row.model_class for row in TABLES["aot", S24]} & {INTEGERS}
    calibration = load_calibration()
    fits = calibration.fits[S24]["aot"]
    assert fits[INTEGERS].interval.count == len(rows)
    assert fits[INTEGERS].coefficients != fits[CONVOLUTION].coefficients
    alone = calibrate(TABLES, {}).fits[S24]["aot"]
    assert INTEGERS not in alone
    assert alone[CONVOLUTION] == fits[CONVOLUTION]


def test_the_tables_of_errors() -> None:
    held = held_out_estimates({("aot", S24): TABLES["aot", S24]})
    classes = {name: [h for h in held if h.row.model_class == name] for name in CLASSES}
    for name, most in ((CONVOLUTION, 0.10), (ATTENTION, 0.12)):
        off = [abs(h.family.ms / h.row.ms - 1) for h in classes[name]]
        assert np.median(off) < most
    table = accuracy_tables(held)
    assert f"| aot | {S24} | all | {len(held)} |" in table
    assert "7.9 / 39.6, 78% |" in table, "the calibration before, for convolution"


def test_the_table_of_errors_is_what_the_tables_give() -> None:
    """Else: python -m reference.npu.calibrate."""
    for name, tables in (("errors.md", TABLES), ("errors-w8a8.md", QUANTISED)):
        kept = fixture(f"latency/{name}").read_text()
        assert accuracy_tables(held_out_estimates(tables)) == kept


def test_one_device_from_another() -> None:
    calibration = load_calibration()
    one, other = find_device(S24), find_device(QCS8550)
    ratio = calibration.ratio("qnn_dlc", one, other)
    assert ratio is not None
    pairs = {r.model: r.ms for r in TABLES["aot", QCS8550]}
    off = [abs(r.ms * ratio.median / pairs[r.model] - 1) for r in TABLES["aot", S24]]
    assert np.median(off) < 0.045
    back = calibration.ratio("qnn_dlc", other, one)
    assert back is not None
    assert back.median == pytest.approx(1 / ratio.median, rel=2e-3)
    assert calibration.ratio("qnn_dlc", one, find_device("Samsung Galaxy S23")) is None
    assert calibration.ratio("tflite", one, other) != ratio


def test_devices_of_the_same_chip() -> None:
    calibration = load_calibration()
    named = {
        "Snapdragon 8 Elite QRD": "Samsung Galaxy S25",
        "Snapdragon 8 Elite Gen 5 QRD": "Samsung Galaxy S26",
        "QCS8450 (Proxy)": "Samsung Galaxy S22 5G",
        "QCS9075 (Proxy)": "Dragonwing IQ-9075 EVK",
        "QCS8275 (Proxy)": "SA7255P ADP",
        "SA7255P ADP": "SA7255P ADP",
        "SA8255 (Proxy)": "SA8775P ADP",
        "SA8650 (Proxy)": "SA8775P ADP",  # by Qualcomm's word: the compiler has no record of it
        "XR2 Gen 2 (Proxy)": "Samsung Galaxy S22 5G",
        "Samsung Galaxy S23": "",
    }
    assert {name: calibration.source(find_device(name)) for name in named} == named
    stand_ins = {name for name in named if calibration.stand_in(find_device(name))}
    assert stand_ins == {"SA8650 (Proxy)", "XR2 Gen 2 (Proxy)"}
    assert not calibration.covers(find_device("SA8775P ADP"), "onnx")
    kinds = [kind_of(r) for r in ("onnx", "tflite", "qnn_dlc", "qnn_context_binary")]
    assert kinds == ["onnx", "tflite", "aot", "aot"]


def test_likeness() -> None:
    one, other = (
        Simulated(1, 1, 1, 1, 1, kinds) for kinds in ({"Conv2d": 3, "Relu": 4}, {"Relu": 2})
    )
    assert one.likeness(one) == pytest.approx(1)
    assert one.likeness(other) == other.likeness(one) == pytest.approx(0.8)
    assert one.likeness(Simulated(1, 1, 1, 1, 1, {})) == 0
    assert one.terms("parts") == (1, 1, 1, 0)


def test_the_table_of_the_documentation() -> None:
    """Its lines are those of the tables that are made."""
    root = Path(__file__).parents[2]
    files = (root / f"fixtures/latency/errors{end}.md" for end in ("", "-w8a8"))
    made = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    told = (root / "docs/latency.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in told if line.startswith(("| aot ", "| onnx ", "| tflite "))]
    assert len(rows) > 30
    assert not {*rows} - {*made}
