"""The gate on references that the default run does not build."""

from pathlib import Path

import pytest

from conformance.selftest.gate import counts, run_gate
from reference.export import export_reference
from reference.segmentation.contract import SEGMENTATION_2025


@pytest.mark.slow
def test_segmentation_at_the_winner_s_resolution(tmp_path: Path) -> None:
    export_reference(SEGMENTATION_2025, tmp_path, resolution=590)
    gate = run_gate(tmp_path, "--track=segmentation", "--submission=segmentation-2025-model.onnx")
    assert gate.code == 0, gate.out
    assert "failed" not in counts(gate)
    assert "SEG-8   advice      warn" in gate.out
    assert counts(gate)["warned"] == 1
