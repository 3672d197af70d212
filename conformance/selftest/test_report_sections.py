"""Evidence as sections: of what was seen, never of what would have to be run."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conformance.contract.evidence import Evidence
from conformance.contract.items import ContractWing
from conformance.device.evidence import DeviceEvidence
from conformance.device.hub import EMULATED, HubDevice
from conformance.device.items import DeviceWing
from conformance.npu.evidence import NpuEvidence
from conformance.npu.items import NpuWing
from conformance.report.document import Section
from conformance.report.session import ReportSession, _unmeasured, gathered
from conformance.selftest.facts import answered, evidence
from conformance.selftest.reports import RAMP, ROWS, depth_of
from reference.classification.contract import CLASSIFICATION_2025
from reference.depth.contract import DEPTH_2025
from reference.npu.compile import Compiled
from reference.npu.devices import find_device
from reference.npu.process import BINARY
from reference.npu.toolchain import Toolchain
from reference.npu.trace import CpuNode, Node, Placement, SimulatedTime, Traffic
from reference.pictures import NOT_A_NUMBER
from reference.process import Limits
from reference.retrieval.contract import RETRIEVAL_2026
from reference.segmentation.contract import SEGMENTATION_2025

DEVICE = find_device("Samsung Galaxy S24")


WINGS = {Evidence: ContractWing, NpuEvidence: NpuWing, DeviceEvidence: DeviceWing}


def sections(e: Any) -> dict[str, Section]:
    kind: Any = WINGS.get(type(e), ContractWing)
    wing = kind.__new__(kind)
    wing.assessments = [SimpleNamespace(label="mine", collected=e)]
    return {section.kind: section for section in gathered(wing.sections)}


def on_npu(host: Evidence) -> NpuEvidence:
    return NpuEvidence(DEVICE, host, lambda text: None, Limits())


def compiled(folder: Path, *, cpu: int) -> Compiled:
    nodes = tuple(CpuNode(f"n{i}", "NonZero", "refused | here", "") for i in range(cpu))
    (folder / BINARY).write_bytes(bytes(150_000))
    return Compiled(
        device=DEVICE,
        toolchain=Toolchain("2", "2.51"),
        placement=Placement((Node("conv", "Conv"),), nodes, 3),
        failure="",
        remedy="",
        notes=(),
        traffic=Traffic(spill=1_000_000, fill=2_000_000, written=4_000_000, read=5_000_000),
        simulated=SimulatedTime(1.5, 1.0, 2.0, 0),
        schedule=None,
        seconds=1.0,
        peak_memory=None,
        cached=False,
        folder=folder,
    )


def test_nothing_is_run_for_a_report() -> None:
    """Evidence that no rule has asked for has no process to run a model with; here the graphs
    alone were read.
    """
    for track in (DEPTH_2025, RETRIEVAL_2026):
        host = evidence(track=track)
        assert [*sections(host)] == ["facts"]
        del host.graphs
        assert sections(host) == {}
        assert sections(on_npu(host)) == {}
    assert sections(None) == {}


def test_placement(tmp_path: Path) -> None:
    e = on_npu(evidence())
    e.compiled = {"model": compiled(tmp_path, cpu=25)}
    found = sections(e)["placement"]
    made, left = found.tables
    row = dict(zip(made.columns, made.rows[0], strict=True))
    assert (row["compiles"], row["nodes on NPU"], row["NPU operators"]) == ("partly", "1", "3")
    assert (row["DDR read"], row["of it spill and fill"]) == ("5.0 MB", "3.0 MB")
    assert row["binary"] == "0.1 MB"
    assert row["simulated"] == "1.5 ms (1..2)"
    assert "not measured" in found.notes[0]
    assert left.caption == "Nodes left to the CPU, the first 20 of 25"
    assert left.rows[0] == ("n0", "model", "NonZero", "refused | here", "not known")


def test_the_npu_against_the_host() -> None:
    host, other = depth_of(RAMP), depth_of(RAMP * 0.9)
    e = on_npu(host)
    e._attempts["model"] = other.kept("photo")[:1]
    found = sections(e)["differences"]
    assert found.title == "This machine against the emulated NPU of Samsung Galaxy S24"
    assert found.tables[0].rows == (("probe 'astronaut'", "0.1", "1.0000000"),)
    assert [figure.caption for figure in found.figures] == ["astronaut: largest difference 0.1"]


def test_where_values_break_the_contract() -> None:
    """Pixels by what is wrong with them, rows 0 to 47 above 1 and 48 to 119 no numbers; and
    without the padding of a letterbox, of which coffee has 682 rows of 1024.
    """
    wrong = RAMP.copy()
    wrong[..., :48, :], wrong[..., 48:120, :] = 1.5, np.nan
    found = sections(answered(DEPTH_2025, {"astronaut": wrong, "coffee": RAMP}))
    (figure,) = found["broken"].figures
    assert [name for _, name in figure.legend] == ["not finite, 15%", "above 1, 10%"]
    assert next(iter(found)) == "broken"
    picture = np.asarray(Image.open(BytesIO(figure.image)))[:, 330:].astype(int)
    colours = [picture[round(row / 480 * len(picture)), 150] for row in (24, 90, 300)]
    assert np.abs(colours[0] - (255, 220, 0)).max() < 12
    assert np.abs(colours[1] - NOT_A_NUMBER).max() < 12
    assert np.ptp(colours[2]) < 12, "grey"
    assert "broken" not in sections(depth_of(RAMP))

    rare = RAMP.copy()
    rare[..., 240, 320] = 1.5
    (figure,) = sections(answered(DEPTH_2025, {"astronaut": rare}))["broken"].figures
    picture = np.asarray(Image.open(BytesIO(figure.image)))[:, 330:].astype(int)
    assert (np.abs(picture - (255, 220, 0)).max(axis=2) < 40).sum() >= 9, (
        "seen in the small picture"
    )

    soft = np.zeros((1024, 1024), np.float32)
    soft[:341] = 0.25
    found = sections(answered(SEGMENTATION_2025, {"coffee": soft}))
    (figure,) = found["broken"].figures
    assert [name for _, name in figure.legend] == ["neither 0 nor 1, 50%"]

    logits = np.full((1, 64), np.nan, np.float32)
    assert "broken" not in sections(answered(CLASSIFICATION_2025, {"astronaut": logits}))


@pytest.mark.filterwarnings("error")
def test_answers_that_are_no_numbers() -> None:
    """They break rules, not the report."""
    answers = {"astronaut": np.ones((1, 4)), "chelsea": np.full((1, 4), np.nan)}
    answers |= {"'dog.'": np.full((1, 4), np.inf), "''": -np.ones((1, 4))}
    answers = {name: array.astype(np.float32) for name, array in answers.items()}
    (figure,) = sections(answered(RETRIEVAL_2026, answers))["retrieval"].figures
    assert (figure.caption, figure.chart.labels, figure.chart.values) == (
        "astronaut",
        ("''",),
        (-1.0,),
    )
    bare = replace(RETRIEVAL_2026, home="", rooms=(("inputs", "reference.retrieval.inputs"),))
    assert [*sections(answered(bare, answers))] == ["facts"], "nothing that draws"
    answers["''"] = np.ones((1, 5), np.float32)
    assert [*sections(answered(RETRIEVAL_2026, answers))] == ["facts"], "another width"
    infinite = depth_of(np.full_like(RAMP, np.inf))
    e = on_npu(infinite)
    e._attempts["model"] = infinite.kept("photo")[:1]
    assert sections(e)["differences"].tables[0].rows[0][1:] == ("nan", "nan")


def on_device(milliseconds: float | None, *, emulated: bool) -> DeviceEvidence:
    profiles = {"model": [SimpleNamespace(milliseconds=milliseconds)]} if milliseconds else {}
    entry: Any = SimpleNamespace(track=DEPTH_2025, latency=milliseconds, profiles=profiles)
    entry.reference = False
    attributes = [EMULATED] if emulated else []
    device = SimpleNamespace(name="Samsung Galaxy S24", attributes=attributes)
    bench: Any = SimpleNamespace(
        read_profiles=lambda entry: None, device=lambda entry: HubDevice(device, emulated)
    )
    return DeviceEvidence(bench, entry, None, None)


def test_latency_is_that_of_a_device_or_not_measured() -> None:
    found = sections(on_device(12.5, emulated=False))["latency"]
    assert found.tables[0].rows == (
        ("Samsung Galaxy S24", "12.5 ms", "33.33 ms", "30 FPS or better"),
    )
    assert sections(on_device(12.5, emulated=True)) == {}, "an emulation measures nothing"
    assert sections(on_device(None, emulated=False)) == {}
    timed = Section("latency", "", "depth-2025 on Samsung Galaxy S24 (AI Hub), my.onnx")
    (left,) = _unmeasured(list(ROWS), [timed])
    assert [row[:3] for row in left.tables[0].rows] == [
        ("pidnet", "Samsung Galaxy S24", "not measured")
    ]


def test_a_worker_that_crashed_is_missed(tmp_path: Path) -> None:
    """What it saw is lost, and the report says that it is not whole."""
    pytest.importorskip("jinja2", reason="install the report extra")
    session = ReportSession([tmp_path / "out"], list)
    gone = SimpleNamespace(gateway=SimpleNamespace(id="gw1"))
    session.pytest_testnodedown(gone, "crashed")
    run: Any = SimpleNamespace(
        config=SimpleNamespace(invocation_params=SimpleNamespace(args=["--report", "out"])),
        shouldfail=False,
        shouldstop=False,
    )
    session.pytest_sessionfinish(run, 0)
    text = (tmp_path / "out" / "report.md").read_text()
    assert "gw1 ended without its evidence" in text
    assert text.startswith("# LPCVC conformance: incomplete\n")
