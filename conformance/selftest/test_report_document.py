"""What a report says, and how its files say it, without a run."""

import json
import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from conformance.contract.pictures import answer, difference
from conformance.report import document, writers
from conformance.report.badge import badge
from conformance.report.charts import Bar, bars
from conformance.report.document import Chart, Section, merged, subjects_of
from conformance.report.palette import BADGE, THEME
from conformance.report.terminal import FACTS, row_of
from conformance.report.writers import as_html, as_json, as_markdown, write_report
from conformance.selftest.page import read_page
from conformance.selftest.reports import (
    HOSTILE,
    RAMP,
    ROWS,
    classes_of,
    depth_of,
    made_up,
    masks_of,
)
from conformance.selftest.test_report import FILES, SCHEMA
from reference.depth.contract import DEPTH_2025
from reference.pictures import NOT_A_NUMBER, coloured
from reference.pidnet.cityscapes import CITYSCAPES
from reference.pidnet.contract import PIDNET
from reference.segmentation.contract import SEGMENTATION_2025


def only(*statuses: str) -> document.Report:
    rows = [replace(ROWS[0], rule=f"PID-{n}", status=s) for n, s in enumerate(statuses, 1)]
    return replace(made_up(), subjects=subjects_of(rows), others=())


@pytest.mark.parametrize(
    ("statuses", "verdict", "sentence"),
    [
        (("pass", "skip"), "passing", "1 rule checked, all passed."),
        (("pass", "warn"), "warnings", "Nothing fails the gate: 1 warned, 1 passed."),
        (("warn", "FAIL", "FAIL"), "failing", "2 checks failed; 0 passed."),
        (("skip",), "incomplete", "Nothing was checked."),
        ((), "incomplete", "Nothing was checked."),
    ],
)
def test_the_verdict(statuses: tuple[str, ...], verdict: str, sentence: str) -> None:
    report = only(*statuses)
    assert (report.verdict, report.sentence) == (verdict, sentence)


def test_a_run_that_ended_early_is_never_passing() -> None:
    early = replace(only("pass"), ended="interrupted")
    assert early.verdict == "incomplete"
    assert early.sentence == "The run ended early (interrupted): 1 rule checked."
    assert replace(only("FAIL"), ended="interrupted").verdict == "failing"
    assert replace(only("pass"), others=made_up().others).verdict == "failing"


def test_json_keeps_its_schema() -> None:
    report = json.loads(as_json(made_up()))
    jsonschema.validate(report, SCHEMA)
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert report["sections"][2]["charts"][0]["values"] == [None, 9, -1.5]
    for broken in ({"verdict": "fine"}, {"counts": {}}, {"more": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**report, **broken}, SCHEMA)


def test_the_page_is_safe_and_can_be_read_by_all() -> None:
    text = as_html(made_up())
    page = read_page(text)
    assert page.of("script") == []
    assert "{{" in text, "a text that looks like a template is a text"
    assert "49" not in page.rules["rule-1-COM-2"]
    for name in ("src", "href", "action", "srcset", "poster"):
        for _, attributes in page.tags:
            value = attributes.get(name, "#")
            assert value.startswith(("#", "data:")), value
    assert not re.search(r"url\(|@import|@font-face", text)
    assert not [name for _, a in page.tags for name in a if name.startswith("on")]
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    links = [a["href"].removeprefix("#") for a in page.of("a")]
    assert set(links) <= set(ids)
    labels = [a["aria-labelledby"] for _, a in page.tags if "aria-labelledby" in a]
    assert set(labels) <= set(ids)
    assert page.of("img")
    assert all(len(a["alt"]) > 10 for a in page.of("img"))
    assert all(len(a["aria-label"]) > 5 for a in page.of("svg"))
    levels = [level for level, _ in page.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert all(a.get("scope") in ("row", "col") for a in page.of("th"))
    assert [len(page.of(tag)) for tag in ("header", "main", "footer")] == [1, 1, 1]
    assert page.of("html")[0]["lang"] == "en"


def test_markdown_is_no_markup_of_strangers() -> None:
    text = as_markdown(made_up())
    assert text.startswith("# LPCVC conformance: failing\n\n**2 checks failed; 1 passed.**")
    assert "<script" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) > 15
    cells = [len(re.split(r"(?<!\\)\|", row)) for row in rows]
    for row, (before, after) in zip(rows[1:], pairwise(cells), strict=True):
        assert before == after or "---" not in row, row
    assert "](http" not in text.replace("\\]", "")


def test_markdown_fits_a_job_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "MOST_MARKDOWN_BYTES", 1500)
    text = as_markdown(made_up())
    assert len(text.encode()) <= 1500
    assert text.endswith("The whole is in report.html.\n")


def test_files_are_replaced_and_those_of_others_stay(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "report.html").write_text("old")
    write_report(made_up(), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == FILES | {"notes.txt"}
    assert (tmp_path / "report.html").read_text() == as_html(made_up())


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_contrast(theme: int) -> None:
    """WCAG AA: 4.5 for text, 3 for what is drawn."""
    colour = {name: pair[theme] for name, pair in THEME.items()}
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    for ground in ("page", "card"):
        for text in ("ink", "soft", "link", "pass", "fail", "warn", "skip"):
            assert contrast(colour[text], colour[ground]) >= 4.5, (text, ground)
    for status in ("pass", "fail", "warn", "skip"):
        assert contrast(colour[status], colour[f"{status}-tint"]) >= 4.5, status


@pytest.mark.parametrize("verdict", BADGE)
def test_badge(verdict: document.Verdict) -> None:
    root = ET.fromstring(badge(verdict))
    names = {"s": "http://www.w3.org/2000/svg"}
    assert root.attrib["aria-label"] == f"lpcvc conformance: {verdict}"
    assert root.findtext("s:title", namespaces=names) == f"lpcvc conformance: {verdict}"
    assert [t.text for t in root.findall("s:g/s:text", names)] == ["lpcvc", verdict]
    assert contrast(BADGE[verdict], "#ffffff") >= 4.5
    assert float(root.attrib["width"]) < 150


def opened(figure: document.Figure) -> np.ndarray:
    image = Image.open(BytesIO(figure.image))
    assert image.size == figure.size
    return np.asarray(image).astype(int)


def test_depth_pictures() -> None:
    """Yellow where it is far, violet where near; what is not finite has a colour of its own."""
    (run, *_) = depth_of(RAMP).kept("photo")
    figure = answer(DEPTH_2025, run)
    pixels = opened(figure)
    assert pixels.shape == (240, 642, 3)
    assert np.abs(pixels[2, -20] - (68, 1, 84)).max() < 25
    assert np.abs(pixels[-2, -20] - (253, 231, 37)).max() < 25
    assert (figure.scale.low, figure.scale.high) == ("0", "1")
    constant = answer(DEPTH_2025, depth_of(RAMP * 0).kept("photo")[0])
    assert (constant.scale.low, constant.scale.high) == ("0", "0")
    nothing = answer(DEPTH_2025, depth_of(RAMP * np.nan).kept("photo")[0])
    assert np.abs(opened(nothing)[100, -100] - NOT_A_NUMBER).max() < 25


def test_a_mask_is_drawn_without_the_padding() -> None:
    mask = np.zeros((1024, 1024))
    mask[:, :512] = 1
    runs = masks_of(mask).kept("photo")
    for run in runs:
        figure = answer(SEGMENTATION_2025, run)
        height, width = run.probe.content
        assert figure.size == (642, round(320 * height / width))
        assert figure.legend[0][1] == f"mask, {512 / width:.1%} of the picture"
        red = opened(figure)
        assert (red[:, 330:470, 0] > red[:, 330:470, 2] + 40).all()
        assert (np.abs(red[:, 500:, 0] - red[:, 500:, 2]) < 40).all()


def test_classes_have_the_colours_of_cityscapes() -> None:
    best = np.full((128, 256), 10)
    best[:32] = 13
    (run, *_) = classes_of(best).kept("photo")
    figure = answer(PIDNET, run)
    assert figure.legend == (("#4682b4", "sky 75%"), ("#00008e", "car 25%"))
    pixels = opened(figure)
    assert np.abs(pixels[10, -50] - CITYSCAPES[13][1]).max() < 12
    assert np.abs(pixels[-10, -50] - CITYSCAPES[10][1]).max() < 12


def test_differences() -> None:
    host, other = (depth_of(values).kept("photo")[0] for values in (RAMP, RAMP * 0.9))
    figure = difference(DEPTH_2025, host, other, "this machine", "NPU")
    assert figure.caption == "astronaut: largest difference 0.1"
    assert figure.size[0] == 3 * 320 + 4
    one, two = np.zeros((128, 256), int), np.zeros((128, 256), int)
    two[:, 64:] = 5
    runs = [classes_of(best).kept("photo")[0] for best in (one, two)]
    assert "75.000% of the pixels" in difference(PIDNET, *runs, "this machine", "NPU").caption
    masks = [masks_of(np.full((1024, 1024), v)).kept("photo")[0] for v in (0, 1)]
    assert (
        "100.000% of the pixels" in difference(SEGMENTATION_2025, *masks, "this machine", "NPU").alt
    )


def lines(bar: Bar, kind: str) -> list[tuple[float, float]]:
    """Where the lines of a kind begin and end, in percent of the cell."""
    found = [x for x in ET.fromstring(bar.svg).iter("line") if x.get("class") == kind]
    return [tuple(float(x.get(end, "").rstrip("%")) for end in ("x1", "x2")) for x in found]


def rectangle(bar: Bar) -> tuple[float, float]:
    """Where a bar begins and ends, in percent of its cell."""
    (rect,) = ET.fromstring(bar.svg).iter("rect")
    x, width = (float(rect.get(name, "").rstrip("%")) for name in ("x", "width"))
    return x, x + width


some = st.floats(-1e6, 1e6, allow_subnormal=False)


@given(st.lists(some, min_size=1, max_size=10), st.none() | some)
def test_bars_are_as_long_as_their_values(values: list[float], limit: float | None) -> None:
    """From a common zero, and the limit is on the scale of the bars."""
    chart = Chart("bars", "", "x", tuple("x" * len(values)), tuple(values), "ms", limit=limit)
    marks = [0.0, *values, *([] if limit is None else [limit])]
    low, span = min(marks), (max(marks) - min(marks)) or 1.0
    for bar, value in zip(bars(chart), values, strict=True):
        start, end = rectangle(bar)
        assert abs(start - (min(value, 0) - low) / span * 100) < 0.02
        assert abs(end - (max(value, 0) - low) / span * 100) < 0.03
        held = [] if limit is None else [pytest.approx((limit - low) / span * 100, abs=0.01)]
        assert [x for x, _ in lines(bar, "limit")] == held


def test_a_bar_with_its_interval_and_limit() -> None:
    labels, values = ("image", "text", HOSTILE), (20.0, math.nan, 4321.9)
    spans = ((10.0, 40.0), (math.nan, math.nan), (1.0, 5000.0))
    chart = Chart("bars", "", "x", labels, values, "ms", 2, spans, 33.33)
    one, none, last = bars(chart)
    assert (one.value, none.value) == ("20 (10 to 40)", "none")
    assert last.value == "4,322 (1 to 5,000)"
    assert rectangle(one) == (0, 0.4)
    assert lines(one, "span") == [(0.2, 0.8), (0.2, 0.2), (0.8, 0.8)]
    assert "<rect" not in none.svg
    assert lines(none, "limit") == lines(one, "limit") == [(0.67, 0.67)]
    named = ET.fromstring(one.svg)
    assert named.get("aria-label") == "image: 20 (10 to 40) ms, limit 33.3"
    assert named.findtext("title") == named.get("aria-label")
    assert ET.fromstring(last.svg).get("aria-label", "").startswith(HOSTILE)
    assert [bar.marked for bar in (one, none, last)] == [False, False, True]


@given(st.integers(-5, 5), st.integers(-5, 5), st.floats(allow_nan=True))
def test_colours_are_defined_for_every_number(low: int, high: int, value: float) -> None:
    pixels = coloured(np.array([[value]]), low, high, "viridis")
    assert ((pixels == NOT_A_NUMBER).all()) == (not np.isfinite(value))


def test_of_two_processes_the_one_that_saw_more(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = made_up().sections[0].figures
    less = Section("answers", "A", "x", figures=figures[:1])
    more, other = replace(less, figures=figures[:2]), replace(less, subject="y")
    assert merged([less, other, more]) == (more, other)
    room = len(figures[0].image) + 10
    monkeypatch.setattr(document, "MOST_PICTURE_BYTES", room)
    (fitted,) = merged([more])
    assert [f.caption for f in fitted.figures] == [figures[0].caption]
    assert fitted.notes == ("1 picture left out: the page would grow too large",)


def test_a_row_travels_with_a_report() -> None:
    for row in ROWS:
        assert row_of(SimpleNamespace(**{FACTS: {**vars(row), "beside": "x"}})) == row
    assert row_of(SimpleNamespace()) is None
