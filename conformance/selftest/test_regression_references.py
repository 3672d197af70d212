"""The reference models against the baselines in `fixtures/baselines`: what a new version of
PyTorch, transformers, onnxruntime or Qualcomm's compiler changes.
"""

from pathlib import Path

import pytest

from conformance.contract.assessment import Assessment
from conformance.contract.evidence import Evidence
from conformance.npu.evidence import npu_probes
from conformance.regression.compare import compare
from conformance.regression.document import Recorded, read_baseline
from conformance.regression.entries import Answer, Nodes
from conformance.regression.environment import differences, versions
from conformance.regression.gather import contract_groups
from conformance.selftest.gate import run_gate
from conformance.subject import opened
from conformance.submission.model import Model, Submission
from reference.action.contract import ACTION_2026
from reference.classification.contract import CLASSIFICATION_2025
from reference.data import fixture
from reference.depth.contract import DEPTH_2025
from reference.export import export_reference
from reference.pidnet.contract import PIDNET
from reference.process import Limits
from reference.retrieval.contract import RETRIEVAL_2026
from reference.segmentation.contract import SEGMENTATION_2025
from reference.tracks import Track

LABEL = "reference model, random weights"
# Whose reference is held to its baseline as it is; segmentation's is made smaller.
WHOLE = (ACTION_2026, CLASSIFICATION_2025, DEPTH_2025, PIDNET, RETRIEVAL_2026)
FILES = (*(track.id for track in WHOLE), "segmentation-2025-256px")
SMALL = (ACTION_2026, CLASSIFICATION_2025, DEPTH_2025, PIDNET)


def recorded(track: Track) -> Recorded:
    return read_baseline(fixture(f"baselines/{track.id}.json"))[track.id, LABEL]


@pytest.mark.parametrize("name", FILES)
def test_what_is_kept(name: str) -> None:
    """Every rule kept or not applicable, every part compiled, nothing on the CPU but as known."""
    ((_, own),) = read_baseline(fixture(f"baselines/{name}.json")).items()
    answers = {k: e for k, e in own.entries.items() if isinstance(e, Answer)}
    failed = {key for key, answer in answers.items() if answer.outcome == "fail"}
    assert failed == ({"rules/SEG-8"} if name.startswith("segmentation") else set())
    assert {key: e.nodes for key, e in own.entries.items() if isinstance(e, Nodes) if e.nodes} == {}
    assert any(key.endswith("/compiles") for key in answers)
    assert own.environment["onnxruntime"]


@pytest.mark.parametrize("track", SMALL, ids=lambda track: track.id)
def test_references_answer_as_recorded(track: Track, tmp_path: Path) -> None:
    """On a photograph and a constant image; the rest takes long."""
    models = {
        part: Model(part, "onnx", str(path))
        for part, path in export_reference(track, tmp_path).items()
    }
    submission = Submission(LABEL, models)
    own = Assessment(opened(track, submission), tmp_path)
    own.evidence = Evidence(track, submission, tmp_path, print, Limits(), choose=npu_probes)
    kept = recorded(track)
    for group in contract_groups(own)[1:]:
        entries = group.gather()
        assert len(entries) == 3, "two photographs and a constant image"
        lost = [c for c in compare({k: kept.entries[k] for k in entries}, entries) if c.fails]
        assert not lost, differences(kept.environment, versions())


@pytest.mark.slow
@pytest.mark.parametrize("track", WHOLE, ids=lambda track: track.id)
def test_references_are_as_recorded(track: Track, tmp_path: Path) -> None:
    """All rules, all answers, and what the compiler makes of them."""
    baseline = fixture(f"baselines/{track.id}.json")
    options = [f"--track={track.id}", f"--baseline={baseline}", "--with=compile"]
    gate = run_gate(tmp_path, *options, suite="regression")
    assert gate.code == 0, gate.out


@pytest.mark.slow
def test_a_small_segmentation_is_as_recorded(tmp_path: Path) -> None:
    export_reference(SEGMENTATION_2025, tmp_path, resolution=256)
    options = ["--track=segmentation", "--submission=segmentation-2025-model.onnx"]
    baseline = fixture("baselines/segmentation-2025-256px.json")
    gate = run_gate(
        tmp_path, *options, f"--baseline={baseline}", "--with=compile", suite="regression"
    )
    assert gate.code == 0, gate.out
