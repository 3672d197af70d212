"""What a model card shows, from what a hub says: against the card's own rows and block."""

import csv
from pathlib import Path
from types import SimpleNamespace

import pytest

from conformance.device.evidence import Latency
from conformance.selftest.scripted_hub import MB, Script
from conformance.selftest.test_device_rules import prepare, verdicts_of
from conformance.verbs.export_card import profile_block, table_row
from reference.data import fixture
from reference.pidnet.contract import PIDNET

pytest.importorskip("qai_hub", reason="needs the hub extra")


def test_the_block_of_a_card(tmp_path: Path) -> None:
    own = prepare(PIDNET, tmp_path, Script([26.04], memory=(24 * MB, 94 * MB)))
    verdicts_of(own)
    assert profile_block("PidNet", own.evidence).splitlines() == [
        "Profiling Results",
        "-" * 60,
        "PidNet",
        "Device                          : Samsung Galaxy S24 (ANDROID 14)",
        "Runtime                         : QNN_DLC",
        "Estimated inference time (ms)   : 26.0",
        "Estimated peak memory usage (MB): [24, 94]",
        "Total # Ops                     : 2",
        "Compute Unit(s)                 : npu (2 ops) gpu (0 ops) cpu (0 ops)",
    ]
    assert table_row("PidNet", own.evidence) == (
        "PidNet", "float", "Samsung Galaxy S24", "Snapdragon® 8 Gen 3 Mobile", "QNN_DLC",
        "26.04 ms", "24 - 94 MB", "NPU", "PidNet.dlc",
    )  # fmt: skip


def measured(device: str, precision: str, runtime: str, ms: float, memory: tuple, units: dict):
    """What a card's row is made of."""
    listed = SimpleNamespace(name=device, emulated=False, chipset="a chip", system="ANDROID 14")
    return SimpleNamespace(
        device=listed, precision=precision, runtime=runtime, units=units,
        latency=Latency(ms, ms, ms, 1), memory=tuple(round(mb * MB) for mb in memory),
    )  # fmt: skip


def test_the_rows_of_the_card() -> None:
    """All 59, from device, precision, runtime and what a profile job reports."""
    with fixture("published.tsv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["track"] == "pidnet"]
    shown = []
    for row in rows:
        memory = (float(row["memory_low_mb"]), float(row["memory_high_mb"]))
        key = row["device"], row["precision"], row["runtime"], float(row["milliseconds"])
        shown.append(table_row("PidNet", measured(*key, memory, {"NPU": 169, "CPU": 1})))
        assert shown[-1][3] == row["chipset"]
    assert len(shown) == 59
    assert {" ".join(row) for row in shown} >= {
        "PidNet float QCS8275 (Proxy) Qualcomm® QCS8275 (Proxy) TFLITE 136.955 ms 0 - 52 MB NPU"
        " PidNet.tflite",
        "PidNet w8a8 RB3 Gen 2 (Proxy) Qualcomm® QCS6490 (Proxy) TFLITE 177.632 ms 2 - 82 MB NPU"
        " PidNet.tflite",
        "PidNet float QCS8550 (Proxy) Qualcomm® QCS8550 (Proxy) QNN_DLC 36.05 ms 24 - 58 MB NPU"
        " PidNet.dlc",
        "PidNet float Snapdragon X Elite CRD Snapdragon® X Elite ONNX 34.538 ms 24 - 24 MB NPU"
        " PidNet.onnx",
    }
    assert table_row("m", measured("Abacus", "float", "onnx", 1.0, (0, 1), {}))[3] == "a chip"


def test_the_block_of_the_card() -> None:
    """The card's own figures; its name of the device is that of another list than AI Hub's."""
    e = measured("QCS8275 (Proxy)", "float", "tflite", 136.955, (0, 52), {"NPU": 169})
    assert profile_block("PidNet", e).splitlines()[3:] == [
        "Device                          : QCS8275 (Proxy) (ANDROID 14)",
        "Runtime                         : TFLITE",
        "Estimated inference time (ms)   : 137.0",
        "Estimated peak memory usage (MB): [0, 52]",
        "Total # Ops                     : 169",
        "Compute Unit(s)                 : npu (169 ops) gpu (0 ops) cpu (0 ops)",
    ]


def test_what_was_compiled_is_what_the_hub_says(tmp_path: Path) -> None:
    """A local hub may make something else than what was asked for, with a notice."""
    own = prepare(PIDNET, tmp_path, Script())
    assert own.evidence.runtime == "qnn_dlc", "as asked, of a hub that does not say"
    (jobs,) = own.entry.jobs.values()
    target = SimpleNamespace(model_type=SimpleNamespace(name="TFLITE"))
    jobs.compiling.get_target_model = lambda: target
    assert own.evidence.runtime == "tflite"
