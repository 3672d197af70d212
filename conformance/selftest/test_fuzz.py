"""Damaged files end in verdicts or in one line, within their limits and leaving nothing behind."""

import resource
import time
from collections import Counter
from pathlib import Path

import onnx
import pytest

from conformance.contract.assessment import Assessment
from conformance.selftest.damage import damaged, damaged_file
from conformance.selftest.models import conforming
from conformance.subject import opened
from conformance.submission.opening import open_submission
from conformance.verbs.check import check_files
from reference.depth.contract import DEPTH_2025
from reference.errors import SubmissionError
from reference.process import Limits

CHUNK = 100
LIMITS = Limits(timeout=20.0, memory=2 * 2**30)
CHUNKS = [pytest.param(i, marks=[] if i < 1 else [pytest.mark.slow]) for i in range(100)]


def outcome(name: str, data: bytes, folder: Path) -> str:
    """How a file ends: refused when opened, not runnable, broken, or conforming."""
    folder.mkdir()
    (folder / name).write_bytes(data)
    scratch = folder / "scratch"
    scratch.mkdir()
    start = time.monotonic()
    try:
        submission = open_submission(DEPTH_2025, [str(folder / name)], scratch)
        own = Assessment(opened(DEPTH_2025, submission), scratch, limits=LIMITS)
        own.open()
        verdicts = {rule.id: own.verdict(rule) for rule in own.rules}
    except SubmissionError:
        return "refused"
    finally:
        assert time.monotonic() - start < 12 * LIMITS.timeout
        assert sorted(path.name for path in folder.iterdir()) == [name, "scratch"]
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
        outcome(*damaged_file(number), tmp_path / str(number))
        for number in range(chunk * CHUNK, (chunk + 1) * CHUNK)
    )
    print(f"chunk {chunk}: {dict(ends)}")
    assert sum(ends.values()) == CHUNK
    assert ends["refused"] > 0
    assert ends["broken"] + ends["not runnable"] > 0
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize("chunk", CHUNKS)
def test_damaged_files_are_checked(chunk: int, tmp_path: Path) -> None:
    """Without a run: a line for each file or none, and little memory of the parent's."""
    paths = []
    for number in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        path = tmp_path / f"{number}.onnx"
        path.write_bytes(damaged(number))
        paths.append(str(path))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    text, code = check_files(paths, DEPTH_2025, strict=True, limits=LIMITS)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"chunk {chunk}: {text.splitlines()[-1]}, peak {peak // 1024} MiB")
    assert code == 1
    assert peak - before < 2**18, "KiB"
    assert "gave no answer" not in text
    assert "crashed" not in text
    lines = [line for line in text.splitlines()[:-1] if not line.startswith("  -> ")]
    assert all(line.startswith(str(tmp_path)) for line in lines)


def test_damage_repeats_and_is_varied() -> None:
    files = [damaged(number) for number in range(200)]
    assert files == [damaged(number) for number in range(200)]
    assert len(set(files)) > 190
    assert conforming("depth").SerializeToString() not in files[:50]
    assert files[5] != damaged_file(5)[1] == damaged_file(5)[1]
    assert {damaged_file(number)[0] for number in range(6)} == {"my.onnx", "my.zip"}
    readable = 0
    for data in files:
        try:
            readable += bool(onnx.ModelProto.FromString(data).graph.node)
        except Exception:
            continue
    assert 40 < readable < 180, "some can be read and some cannot"
