"""Damaged files end in verdicts or in one line, within their limits and leaving nothing behind."""

import time
from collections import Counter
from pathlib import Path

import onnx
import pytest

from conformance.assessment import Assessment
from conformance.selftest.damage import damaged
from conformance.selftest.models import conforming
from conformance.submission import open_submission
from reference.errors import SubmissionError
from reference.process import Limits
from reference.tracks import DEPTH_2025

CHUNK = 100
LIMITS = Limits(timeout=20.0, memory=2 * 2**30)
CHUNKS = [pytest.param(i, marks=[] if i < 3 else [pytest.mark.slow]) for i in range(100)]


def outcome(data: bytes, folder: Path) -> str:
    """How a file ends: refused when opened, not runnable, broken, or conforming."""
    folder.mkdir()
    (folder / "my.onnx").write_bytes(data)
    scratch = folder / "scratch"
    scratch.mkdir()
    start = time.monotonic()
    try:
        submission = open_submission(DEPTH_2025, [str(folder / "my.onnx")], scratch)
        own = Assessment(DEPTH_2025, "damaged", lambda _: submission, scratch, limits=LIMITS)
        own.open()
        verdicts = {rule.id: own.verdict(rule) for rule in own.rules}
    except SubmissionError:
        return "refused"
    finally:
        assert time.monotonic() - start < 12 * LIMITS.timeout
        assert sorted(path.name for path in folder.iterdir()) == ["my.onnx", "scratch"]
    failed = {id for id, verdict in verdicts.items() if verdict.outcome == "fail"}
    if "could not be run" in verdicts["COM-8"].seen:
        return "not runnable"
    return "broken" if failed else "conforming"


@pytest.mark.parametrize("chunk", CHUNKS)
def test_damaged_files(chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    ends = Counter(
        outcome(damaged(number), tmp_path / str(number))
        for number in range(chunk * CHUNK, (chunk + 1) * CHUNK)
    )
    print(f"chunk {chunk}: {dict(ends)}")
    assert sum(ends.values()) == CHUNK
    assert ends["refused"] > 0
    assert ends["broken"] + ends["not runnable"] > 0
    assert not list(elsewhere.iterdir())


def test_damage_repeats_and_is_varied() -> None:
    files = [damaged(number) for number in range(200)]
    assert files == [damaged(number) for number in range(200)]
    assert len(set(files)) > 190
    assert conforming("depth").SerializeToString() not in files[:50]
    readable = 0
    for data in files:
        try:
            readable += bool(onnx.ModelProto.FromString(data).graph.node)
        except Exception:
            continue
    assert 40 < readable < 180, "some can be read and some cannot"
