"""Evidence of what is broken, and the charts beside it: values, order and places."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from conformance.contract.evidence import Run
from conformance.contract.probes import probes_for
from conformance.parity.sections import parity_sections
from conformance.report.charts import bars
from conformance.report.document import Section, subjects_of
from conformance.report.estimate_charts import estimates_chart, layer_times
from conformance.report.session import _id, _words
from conformance.report.terminal import Row
from conformance.report.writers import as_html
from conformance.rulebook import all_rules
from conformance.selftest.facts import answered, evidence, graph_of
from conformance.selftest.page import read_page
from conformance.selftest.reports import RAMP, depth_of, made_up, masks_of
from conformance.selftest.test_report_sections import DEVICE, on_npu, sections
from reference.action.contract import ACTION_2026
from reference.depth.contract import DEPTH_2025
from reference.npu.latency import Estimate
from reference.npu.schedule import Operator, Schedule
from reference.pidnet.contract import PIDNET
from reference.segmentation.contract import SEGMENTATION_2025

MASK = np.zeros((1024, 1024), np.float32)
MASK[:, :512] = 1


def test_where_values_break_the_contract_on_the_npu() -> None:
    """With the slack of compiled models: one step beyond 1 is none of it, soft edges are."""
    step = np.nextafter(np.float32(1), np.float32(2))
    for values, legend in (
        (np.where(MASK, step, MASK), None),
        (np.where(MASK, np.float32(0.5), MASK), "neither 0 nor 1, 50%"),
    ):
        runs = masks_of(values).kept("photo")
        e = on_npu(evidence(track=SEGMENTATION_2025))
        e._attempts["model"] = [run for run in runs if run.probe.name == "astronaut"]
        found = sections(e).get("broken")
        assert (found and [name for _, name in found.figures[0].legend]) == (legend and [legend])
    e = on_npu(evidence())
    e._attempts["model"] = depth_of(RAMP + np.float32(2e-6)).kept("photo")[:1]
    found = sections(e)["broken"]
    assert found.title.endswith("on the emulated NPU of Samsung Galaxy S24")
    assert found.figures[0].legend[0][1].startswith("above 1, ")


@pytest.mark.parametrize("track", [PIDNET, ACTION_2026])
def test_no_number_is_no_class(track: Any) -> None:
    """Of maps it is drawn as what it is; of a row of logits there is nothing to rank."""
    shape = (1, *track.parts[0].output.shape[1:])
    nan = np.full([size if isinstance(size, int) else 1 for size in shape], np.nan, np.float32)
    found = sections(answered(track, {"astronaut": nan}))
    words = " ".join(f"{f.alt} {f.legend} {f.chart}" for s in found.values() for f in s.figures)
    assert "road" not in words
    assert "100%" in words or "no class, for a value is not a number" in words


def test_pixels_that_flip_in_a_second_run_and_in_the_export() -> None:
    """A model that is the same in both shows nothing of two runs."""
    other = MASK.copy()
    other[:256] = 1 - other[:256]
    probes = probes_for(SEGMENTATION_2025, SEGMENTATION_2025.parts[0])
    again = next(probe for probe in probes if probe.role == "repeat")
    (photo,) = (probe for probe in probes if probe.name == again.of)
    same = answered(SEGMENTATION_2025, {photo.name: MASK, again.name: MASK})
    assert "repeats" not in sections(same)
    answers = {photo.name: MASK, again.name: other}
    found = sections(answered(SEGMENTATION_2025, answers, {photo.name: other}))
    assert photo.content is not None
    share = f"{256 / photo.content[0]:.3%}"
    for kind, words in (
        ("repeats", "the first run, the second, and"),
        ("differences", "the original, its ONNX export, and"),
    ):
        (figure,) = found[kind].figures
        assert figure.caption == f"{photo.name}: {share} of the pixels flipped"
        assert words in found[kind].notes[0]
        assert found[kind].tables[0].rows[0][1] == "1"


def test_facts_of_the_model() -> None:
    graph = graph_of("Conv image,w,b -> x; Relu x -> y; Relu y -> z")
    found = sections(evidence(graph))["facts"]
    (table,), (chart,) = found.tables, found.charts
    told = dict(table.rows)
    assert table.caption == "model, my.onnx"
    assert told["input"] == "image float32 1x3x480x640"
    assert told["parameters"].startswith("28, ")
    assert (chart.labels, chart.values) == (("Relu", "Conv"), (2.0, 1.0))
    many = graph_of("; ".join(f"Op{n} image -> x{n}" for n in range(12)))
    (chart,) = sections(evidence(many))["facts"].charts
    assert (len(chart.values), chart.labels[-1], chart.values[-1]) == (9, "4 other types", 4.0)


SCHEDULE = Schedule(
    matrix=3.0,
    vector=1.0,
    dma=1.0,
    scalar=0.0,
    operators=(
        Operator("conv_token_17", "Conv2d", "matrix", 3.0, 0),
        Operator("add", "ElementWiseAdd", "vector", 1.0, 0),
    ),
    kinds={},
)


def estimate(ms: float | None) -> Estimate:
    ends = (None, None) if ms is None else (ms / 2, ms * 2)
    known: Any = dict.fromkeys(("remedy", "anchor", "calibration", "toolchain"), "")
    known |= {"reasons": (), "notes": (), "confidence": "good", "schedule": SCHEDULE}
    return Estimate(DEVICE, "tflite", ms, *ends, **known)


def test_the_estimate_beside_the_budget_and_what_takes_the_time() -> None:
    e = on_npu(evidence())
    e.estimates = {"model": estimate(20.0)}
    found = sections(e)["estimate"]
    beside, layers = found.charts
    assert (beside.unit, beside.limit, beside.spans) == ("ms", DEPTH_2025.budget_ms, ((10, 40),))
    (bar,) = bars(beside)
    assert bar.value == "20 (10 to 40)"
    rect, limit = ET.fromstring(bar.svg).find("rect"), 100 * 33.333 / 40
    assert rect is not None
    assert rect.get("width") == "50.00%", "40 ms are the whole cell"
    at = [x.get("x1", "") for x in ET.fromstring(bar.svg).iter("line") if x.get("class") == "limit"]
    assert float(at[0].rstrip("%")) == pytest.approx(limit, abs=0.02)
    assert "simulated" in layers.caption
    assert layers.labels == ("Conv2d conv (matrix)", "ElementWiseAdd add (vector)")
    assert layers.values == (3.0, 1.0)
    assert "Conv2d conv (matrix) with 3 ms, 75%" in layers.alt
    assert "not measured" in found.notes[1]


def test_estimates_of_two_parts_are_added_up() -> None:
    chart = estimates_chart({"image": estimate(10.0), "text": estimate(4.0)}, 35.0)
    assert chart is not None
    assert (chart.labels, chart.values) == (("image", "text", "together"), (10.0, 4.0, 14.0))
    assert chart.spans[2] == (7.0, 28.0)
    one = estimates_chart({"image": estimate(10.0), "text": estimate(None)}, 35.0)
    assert one is not None
    assert one.labels == ("image",), "and nothing of both"
    assert estimates_chart({"model": estimate(None)}, 35.0) is None
    assert layer_times("model", replace(SCHEDULE, operators=())) is None


def test_where_two_runtimes_part() -> None:
    run, other = (masks_of(mask).kept("photo")[0] for mask in (MASK, 1 - MASK))
    sides: dict[str, Run] = {"torch": run, "onnx": other}
    found = SimpleNamespace(
        located="not located", errors=(), broken=("iou",), probe=run.probe, precision="float32"
    )
    own: Any = SimpleNamespace(
        agreements={("model", ("torch", "onnx")): found},
        kept_run=lambda part, runtime: sides[runtime],
        assessment=SimpleNamespace(track=SEGMENTATION_2025),
        label="mine",
    )
    (section,) = parity_sections(own)
    assert section.title == "Where the answers part"
    assert section.figures[0].caption.endswith("100.000% of the pixels flipped")
    assert "that of torch, that of onnx, and" in section.figures[0].alt
    found.broken, found.located = (), ""
    assert [*parity_sections(own)] == [], "nothing was looked for"


def test_what_fails_is_first_with_what_shows_it() -> None:
    """Then advice, what was not checked, what is kept; and what shows nothing broken is last."""
    one = Row("depth, a", "DEP-7", "documented", "FAIL", "seen", "clamp", "depth-2025")
    rows = [
        replace(one, rule="COM-1", status="pass"),
        replace(one, rule="DEP-8", status="warn", shown_by="answers"),
        replace(one, shown_by="broken"),
        replace(one, rule="COM-10", shown_by="broken"),
        replace(one, rule="COM-11", status="skip", seen="no probe"),
        replace(one, subject="depth, b", rule="DEP-9", shown_by="broken"),
    ]
    kinds = ("facts", "broken", "answers")
    found = tuple(Section(kind, f"Title {kind}", "depth, a") for kind in kinds)
    report = replace(made_up(), subjects=subjects_of(rows), sections=found)
    text = as_html(report)
    page = read_page(text)
    assert [h for level, h in page.headings if level == 2] == [
        "To mend",
        "What fails",
        "Advice",
        "Not checked",
        "Title facts",
        "Environment",
    ]
    assert [*page.rules] == [
        "rule-1-COM-10",
        "rule-1-DEP-7",
        "rule-2-DEP-9",
        "rule-1-DEP-8",
        "rule-1-COM-1",
        "rule-1-COM-11",
    ]
    shown = {id: "Title" in words for id, words in page.rules.items()}
    assert shown == {id: id in ("rule-1-COM-10", "rule-1-DEP-7", "rule-1-DEP-8") for id in shown}
    assert text.count(">Title broken<") == 1
    assert "Title broken: shown above" in page.rules["rule-1-DEP-7"]


def test_what_rules_are_shown_by_is_drawn() -> None:
    """A kind that nothing makes would be a promise that is never kept."""
    kinds = {rule.shown_by for rule in all_rules().values()} - {""}
    known = {"broken", "answers", "repeats", "differences", "facts"}
    assert kinds == known | {"placement", "estimate", "latency"}


def test_other_checks_have_names() -> None:
    report: Any = SimpleNamespace(when="call")
    report.nodeid = "conformance/contract/test_tokenizer.py::test_recorded_texts[retrieval-2026]"
    assert _words(report) == "tokenizer, recorded texts (retrieval-2026)"
    report.nodeid, report.when = "a/test_contract.py::test_contract[depth-2025::DEP-4]", "setup"
    assert _words(report) == "contract (depth-2025::DEP-4), setup"
    assert _id(report) == "test_contract[depth-2025::DEP-4]"
    report.nodeid = "a/test_broken.py"
    assert (_id(report), _words(report)) == ("a/test_broken.py", "broken, setup")
