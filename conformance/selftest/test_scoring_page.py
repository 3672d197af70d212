"""The page of a score: its number, bars by class, what went wrong."""

import math
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.report.charts import bars
from conformance.scoring.page import _by_class, as_page
from conformance.scoring.report import Scoring
from conformance.scoring.store import Run
from conformance.scoring.summary import summarise
from conformance.selftest.page import read_page
from conformance.selftest.reports import HOSTILE
from reference.action.dataset import Truth
from reference.datasets.items import Item
from reference.pidnet.metric import METRIC as PIDNET
from reference.pidnet.metric import pooled_miou
from reference.registry import find_track
from reference.scores import OfClass, Result
from reference.segmentation.dataset import Mask

RUN = Run(HOSTILE, "model", "m", "d", "onnxruntime", "v")


def scored(track: str, found: list[tuple[Item, Result]], **more: Any) -> Scoring:
    metric = find_track(track).room("metric").METRIC
    items, results = [item for item, _ in found], {result.item: result for _, result in found}
    summary = summarise(metric.headline, items, results)
    classes = tuple(metric.classes(found))
    return Scoring(
        find_track(track), RUN, Path("data"), (), summary, (), (), classes=classes, **more
    )


def one(name: str, truth: Any, **numbers: float) -> tuple[Item, Result]:
    return Item(name, "model", name, truth=truth), Result(name, numbers)


def test_classes_of_each_track_in_its_own_words() -> None:
    """The sky is blue in one frame alone; what no list says of a mask is in no class."""
    class_of = {
        "classification": [one("a", 2.0, correct=1.0), one("b", 2.0, correct=0.0)],
        "action": [one("a", Truth(1, None), top1=1.0), one("b", Truth(0, None), top1=0.0)],
        "segmentation": [
            one("a", Mask(None, Path(), "cup"), iou=0.5),
            one("b", Mask(None, Path()), iou=0.9),
        ],
    }
    found = {track: scored(track, rows).classes for track, rows in class_of.items()}
    contracts = {name: find_track(name).room("contract").CLASSES for name in [*class_of][:2]}
    assert found["classification"] == (OfClass(contracts["classification"][2], 0.5, 2),)
    first, second = (name.replace("_", " ") for name in contracts["action"][:2])
    assert found["action"] == (OfClass(second, 1.0, 1), OfClass(first, 0.0, 1))
    assert found["segmentation"] == (OfClass("cup", 0.5, 1),)


@given(st.lists(st.lists(st.integers(0, 50), min_size=361, max_size=361), min_size=1, max_size=3))
def test_the_mean_over_the_classes_is_the_score(frames: list[list[int]]) -> None:
    matrices = [np.array(frame).reshape(19, 19) for frame in frames]
    found = [
        (Item(str(n), "model", str(n)), Result(str(n), {}, matrix))
        for n, matrix in enumerate(matrices)
    ]
    assert PIDNET.classes is not None
    classes = PIDNET.classes(found)
    values = [each.value for each in classes if not math.isnan(each.value)]
    wanted = pooled_miou(np.sum(matrices, axis=0)[None])[0]
    assert (np.mean(values) if values else 0.0) == pytest.approx(wanted)
    assert [each.items for each in classes] == [
        sum(matrix[n].any() for matrix in matrices) for n in range(19)
    ]


def test_bars_by_class() -> None:
    """Of a percentage the cell is 100; the best first, and what is nowhere last."""
    rows = [one(str(n), float(n % 3), correct=float(n % 3 == 2 or n == 0)) for n in range(6)]
    scoring = scored("classification", rows)
    (chart,) = _by_class(scoring).charts
    names = find_track("classification").room("contract").CLASSES
    assert chart.labels == tuple(f"{names[n]} (2)" for n in (2, 0, 1))
    assert (chart.values, chart.marked, chart.top) == ((100.0, 50.0, 0.0), 2, 100.0)
    widths = [rect.get("width") for bar in bars(chart) for rect in ET.fromstring(bar.svg)[1:]]
    assert widths == ["100.00%", "50.00%", "0.00%"]
    matrix = np.zeros((19, 19), int)
    matrix[10, 10], matrix[5, 10] = 30, 10
    frames = [(Item("a", "model", "a"), Result("a", {"miou": 37.5}, matrix))]
    (chart,) = _by_class(scored("pidnet", frames)).charts
    assert chart.labels[:3] == ("sky (1)", "pole (1)", "road (0)")
    assert chart.values[:2] == (75.0, 0.0)
    assert (math.isnan(chart.values[2]), chart.marked, chart.top) == (True, 1, None)


def test_the_page() -> None:
    rows = [one(HOSTILE, 2.0, correct=1.0), one("b", 3.0, correct=0.0)]
    odd = (Item("c", "model", "c", truth=4.0), Result("c", {"correct": 0.0}, note="5 are NaN"))
    text = as_page(scored("classification", [*rows, odd], chance=1 / 64, remarks=(("close", "x"),)))
    page = read_page(text)
    assert page.headings == [
        (1, "accuracy 33.33"),
        (2, "accuracy"),
        (2, "accuracy by class"),
        (2, "The worst items"),
        (2, "What went wrong"),
    ]
    assert page.of("script") == []
    assert {HOSTILE, "5 are NaN", "0.0000", "1.0000"} <= page.cells
    assert "1.56: what answers score that say nothing" in text
    assert all(len(a["aria-label"]) > 5 for a in page.of("svg"))
    lost = Result("a", error="crashed")
    none = as_page(scored("classification", [(Item("a", "model", "a"), lost)][:0]))
    assert read_page(none).headings[0] == (1, "No score: no item has an answer")
    unsaid = as_page(scored("segmentation", [one("b", Mask(None, Path()), iou=0.9)]))
    assert "No item of these data says its class" in unsaid
