"""`lpcvc cache`: what is kept, how much it may be, and how it is removed."""

import json
import os
from pathlib import Path

import pytest

from conformance import cli
from reference.cache import Cache


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two compiled models of 3 kB, of which the second was used first, and a reference of 1 kB."""
    monkeypatch.setenv("LPCVC_CACHE", str(tmp_path))
    monkeypatch.setenv("LPCVC_CACHE_LIMIT", "5GB")
    for used, (key, name, size) in enumerate(
        (("b", "compiled.json", 3), ("a", "compiled.json", 3), ("c", "reference.json", 1))
    ):
        with Cache().fill(key) as draft:
            (draft / name).write_text("x" * (1000 * size - 84 - len(name)))
        os.utime(tmp_path / key / "files.json", (used, used))
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.main(["cache", *words]) == 0
    return capsys.readouterr().out


def test_what_is_kept(shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, *rest = run(capsys).splitlines()
    assert first.startswith(f"{shelf}: 7.0 kB, of 5 GB that it may be")
    assert rest == ["  compiled models: 2, 6.0 kB", "  exported references: 1, 1.0 kB"]
    found = json.loads(run(capsys, "--json"))
    assert (found["folder"], found["limit_bytes"]) == (str(shelf), 5 * 10**9)
    assert [entry["name"] for entry in found["entries"]] == ["b", "a", "c"]


def test_pruning(shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    removed = run(capsys, "prune", "--to", "5kB")
    assert removed.splitlines() == ["removed: 3.0 kB", "  compiled models: 1, 3.0 kB"]
    assert sorted(path.name for path in shelf.iterdir()) == ["a", "c"]
    found = json.loads(run(capsys, "--json", "prune", "--to", "3kB"))
    assert [entry["name"] for entry in found["removed"]] == ["a"]
    assert [e["name"] for e in json.loads(run(capsys, "prune", "--json"))["removed"]] == ["c"]
    assert list(shelf.iterdir()) == []


def test_a_slip_is_one_line(shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["cache", "prune", "--to", "2 lots"]) == 2
    told = "lpcvc: --to '2 lots' is no size; write it as 500MB, 2GB or 1.5GiB\n"
    assert capsys.readouterr().err == told
    assert len(list(shelf.iterdir())) == 3
