"""A made-up report that has everything a report can have, texts of a hostile model included."""

from dataclasses import replace
from functools import cache

import numpy as np

from conformance.contract.evidence import Evidence
from conformance.contract.pictures import answer, difference
from conformance.contract.probes import PHOTOS
from conformance.report.document import (
    Chart,
    Other,
    Report,
    Section,
    Table,
    merged,
    subjects_of,
)
from conformance.report.terminal import Row
from conformance.selftest.facts import answered
from reference.depth.contract import DEPTH_2025
from reference.pictures import Scale, stops
from reference.pidnet.contract import PIDNET
from reference.segmentation.contract import SEGMENTATION_2025

HOSTILE = "</td><script>alert(1)</script> | `x` *y* [z](http://a.example) \"'&{{ 7 * 7 }}"

ROWS = (
    Row("pidnet, my.onnx", "PID-4", "required", "pass", "one", "r", "pidnet", "", "card", "pytest"),
    Row("pidnet, my.onnx", "IMG-1", "advice", "warn", "seen", "r", "pidnet", "more", "s", "pytest"),
    Row("pidnet, my.onnx", "COM-2", "documented", "FAIL", HOSTILE, HOSTILE, "pidnet", HOSTILE),
    Row(HOSTILE, "model onnx=npu", "float16", "skip", "no compiler", "", "depth-2025"),
)
RAMP = np.linspace(0, 1, 480 * 640, dtype=np.float32).reshape(1, 1, 480, 640)


def depth_of(values: np.ndarray) -> Evidence:
    """Evidence of a model of depth with this answer to every photograph."""
    return answered(DEPTH_2025, dict.fromkeys(PHOTOS, values))


def classes_of(best: np.ndarray) -> Evidence:
    """Evidence of a PidNet whose classes (H, W) on every photograph are `best`."""
    logits = (np.arange(19).reshape(-1, 1, 1) == best).astype(np.float32)[None]
    return answered(PIDNET, dict.fromkeys(PHOTOS, logits))


def masks_of(mask: np.ndarray) -> Evidence:
    """Evidence of a segmenter with this mask for every photograph."""
    return answered(SEGMENTATION_2025, dict.fromkeys(PHOTOS, mask.astype(np.float32)))


@cache
def made_up() -> Report:
    """The report."""
    host, other = (depth_of(values).kept("photo") for values in (RAMP, RAMP * 0.9))
    figures = [answer(DEPTH_2025, run) for run in host[:2]]
    figures.append(difference(DEPTH_2025, host[0], other[0], "this machine", HOSTILE))
    bars = Chart("bars", "Texts", "Texts: a, b.", ("a", HOSTILE), (0.5, -0.25), "cosine")
    figures.append(replace(figures[0], chart=bars, scale=Scale(stops("bone"), "0", "1", HOSTILE)))
    layers = Chart(
        "bars", "Error", "It falls.", ("one", HOSTILE, "three"), (float("inf"), 9, -1.5), "dB", 1
    )
    table = Table("Placement", ("part", "nodes"), (("model", "7"), (HOSTILE, "0")), right=(1,))
    sections = [
        Section("answers", "Answers", "depth", (HOSTILE,), figures=tuple(figures)),
        Section("placement", "Placement", HOSTILE, tables=(table,)),
        Section("parity", "Error by layer", "depth", charts=(layers,)),
    ]
    others = (Other("test_recorded_texts", "pass", ""), Other("x", "fail", HOSTILE))
    return Report(
        "lpcvc-conformance 0",
        "2025-01-01T00:00:00+00:00",
        f"pytest {HOSTILE}",
        "",
        subjects_of(ROWS),
        others,
        merged(sections),
        {"python": "3", "torch": HOSTILE},
    )
