"""Hostile ONNX files end in a line or in facts, and what they cost is within the limits."""

import contextlib
import resource
from pathlib import Path

import pytest
from onnx import ModelProto

from conformance.selftest.hostile_files import READ, REFUSED, doubling_shape
from conformance.selftest.models import MODEL_TRACKS, conforming
from conformance.submission.graph import read_graph
from conformance.verbs.check import check_files
from reference.errors import SubmissionError
from reference.process import Limits


def write(made: ModelProto | bytes, folder: Path, name: str = "m.onnx") -> Path:
    path = folder / name
    path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
    return path


def test_what_is_refused_is_said_in_one_line(tmp_path: Path) -> None:
    for name, (made, expected) in REFUSED.items():
        with pytest.raises(SubmissionError) as caught:
            read_graph(write(made, tmp_path))
        assert expected in caught.value.problem, name
        assert len(str(caught.value).splitlines()) == 1, name


def test_what_can_be_read_is_judged(tmp_path: Path) -> None:
    """By every static rule of every track; each line names a file and a rule."""
    paths = [str(write(made, tmp_path, f"{name}.onnx")) for name, made in READ.items()]
    for track in (None, *MODEL_TRACKS):
        text, code = check_files(paths, track, strict=True)
        assert code == 1
        lines = [line for line in text.splitlines()[:-1] if not line.startswith("  -> ")]
        assert all(line.startswith(str(tmp_path)) and ".onnx: " in line for line in lines)
    text, _ = check_files(paths, None, strict=False)
    for name, told in {
        "NUL in a location": "COM-1 (required): 'w\\x00.bin', which tensor 'w' needs, cannot be",
        "a location of 5000 characters": "COM-1 (required): 'www",
        "a negative offset": "COM-1 (required): 'w.bin', which tensor 'w' needs, is missing",
        "a sequence": "COM-2 (documented): y, of type sequence and not a tensor",
        "an optional": "COM-2 (documented): y, of type optional and not a tensor",
    }.items():
        assert f"{name}.onnx: {told}" in text


def test_a_reader_goes_on_after_a_file_that_ended_its_process(tmp_path: Path) -> None:
    good = write(conforming("depth"), tmp_path, "good.onnx")
    slow = write(doubling_shape(40), tmp_path, "slow.onnx")
    limits = Limits(timeout=4, memory=2**31)
    assert read_graph(good, limits).value("depth").shape == (1, 1, 480, 640)
    graph = read_graph(slow, limits)  # without inference, which would take 8 TiB
    assert [node.op for node in graph.nodes][:2] == ["Shape", "Concat"]
    assert graph.outputs[0].shape is None
    assert read_graph(good, limits).value("centred").shape is not None


def test_the_parent_takes_no_more_for_a_hostile_file(tmp_path: Path) -> None:
    read_graph(write(conforming("depth"), tmp_path))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for made in (doubling_shape(40), b"\x08" * 2**27):
        path = write(made, tmp_path)
        with contextlib.suppress(SubmissionError):
            read_graph(path, Limits(timeout=5, memory=2**30))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**18, "KiB"


def test_each_file_is_read_within_the_limits_of_its_call(tmp_path: Path) -> None:
    good = write(conforming("depth"), tmp_path, "good.onnx")
    for _ in range(2):
        assert read_graph(good).opset == 17
        with pytest.raises(SubmissionError, match=r"a memory limit of 0\.01 GiB is less than"):
            read_graph(good, Limits(memory=2**30 // 100))
