"""Published weights are not turned away either; skipped where the files are absent."""

from pathlib import Path

import onnx
import pytest

from conformance.selftest.assess import assess, broken
from conformance.selftest.fetch import U2NETP, VARIABLE, Weights, how_to_enable, local, verify
from conformance.selftest.peers_trained import u2netp_segmentation
from conformance.selftest.test_peers import rejected
from reference.tracks import SEGMENTATION_2025


def published(weights: Weights) -> Path:
    path = local(weights)
    if path is None:
        pytest.skip(how_to_enable(weights))
    verify(weights, path.read_bytes())
    return path


def test_u2netp_is_not_rejected(tmp_path: Path) -> None:
    path = tmp_path / "u2netp.onnx"
    onnx.save(u2netp_segmentation(published(U2NETP)), path)
    verdicts = assess(SEGMENTATION_2025, [str(path)], tmp_path / "work")
    assert rejected(verdicts) == {}
    assert broken(verdicts) == set()


def test_absent_files_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert local(U2NETP) is None
    assert "conformance.selftest.fetch" in how_to_enable(U2NETP)


def test_other_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        verify(U2NETP, b"not the weights")
