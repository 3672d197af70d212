"""What is held to a track, and the ONNX file of each of its parts."""

from pathlib import Path

import pytest
import torch

from conformance.selftest.models import write
from conformance.selftest.mutants.depth_modules import Depth
from conformance.subject import onnx_files, subject_of
from conformance.submission.graph import read_graph
from reference.depth.contract import DEPTH_2025
from reference.errors import SubmissionError
from reference.process import Limits
from reference.retrieval.contract import RETRIEVAL_2026, RETRIEVAL_2026_DRAFT

LIMITS = Limits(timeout=120.0)


def test_onnx_parts_are_their_own_files(tmp_path: Path) -> None:
    paths = write(RETRIEVAL_2026, tmp_path)
    specs = [f"{part}={path}" for part, path in paths.items()]
    subject = subject_of(RETRIEVAL_2026, specs, tmp_path, LIMITS)
    assert (subject.label, subject.torch) == ("image.onnx text.onnx", False)
    assert onnx_files(subject, tmp_path, LIMITS, pytest.fail) == paths


def test_pytorch_is_exported_and_says_so(tmp_path: Path) -> None:
    torch.jit.trace(Depth(), torch.zeros(1, 3, 480, 640)).save(tmp_path / "my.pt")
    subject = subject_of(DEPTH_2025, [str(tmp_path / "my.pt")], tmp_path, LIMITS)
    assert subject.torch
    heard: list[str] = []
    files = onnx_files(subject, tmp_path, LIMITS, heard.append)
    assert files == {"model": tmp_path / "model-export" / "my.pt.onnx"}
    assert read_graph(files["model"], LIMITS).outputs[0].shape == (1, 1, 480, 640)
    assert heard[0].startswith("exporting my.pt to ONNX ")


def test_what_cannot_be_held(tmp_path: Path) -> None:
    with pytest.raises(SubmissionError, match=r"^no such file: no\.onnx"):
        subject_of(DEPTH_2025, ["no.onnx"], tmp_path, LIMITS)
    with pytest.raises(SubmissionError, match=r"has no reference model; do without$"):
        subject_of(RETRIEVAL_2026_DRAFT, [], tmp_path, LIMITS, instead="do without")
