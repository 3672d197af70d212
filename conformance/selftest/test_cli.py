"""`lpcvc` on the command line, and the page that it writes."""

import re
from pathlib import Path

import pytest

from conformance.cli import main
from conformance.rulebook import all_rules, device_rules_for, npu_rules_for, rules_for, tracks_of
from reference.registry import find_track

ROOT = Path(__file__).parents[2]


def test_rules_lists_every_rule_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules"]) == 0
    ids = re.findall(r"^([A-Z]{3}-\d+) ", capsys.readouterr().out, re.MULTILINE)
    assert ids == list(all_rules())


def test_rules_of_one_track(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "--track", "depth"]) == 0
    ids = set(re.findall(r"^([A-Z]{3}-\d+) ", capsys.readouterr().out, re.MULTILINE))
    track = find_track("depth")
    compiled = npu_rules_for(track) + device_rules_for(track)
    assert ids == {rule.id for rule in rules_for(track, torch=True) + compiled}
    assert "DEP-7" in ids
    assert not any(id.startswith(("SEG", "RET", "PID", "TXT")) for id in ids)


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "--explain", "seg-7"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("SEG-7  The mask holds exactly 0.0 and 1.0 on the host.")
    for field in ("level     required: ", "tracks    segmentation", "source    ", "remedy    "):
        assert f"\n{field}" in out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["rules", "--explain", "SEG-99"], "no rule is called 'SEG-99'; `lpcvc rules` lists"),
        (["rules", "--track", "dept"], "unknown track or edition 'dept'; choose one of: depth"),
        (["export", "--track", "retrieval-2026-draft", "."], "no reference model"),
        (["export", "--track", "depth", "--resolution", "256", "."], "has one resolution"),
        (["export", "--track", "segmentation", "--resolution", "255", "."], "255 is not allowed"),
        (["export", "--track", "depth", "--weights", "no.pth", "."], "no.pth"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str],
    expected: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert expected in told.err
    assert list(tmp_path.iterdir()) == []


def test_docs_rules_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    """Written anew by `lpcvc rules --markdown > docs/rules.md`."""
    assert main(["rules", "--markdown"]) == 0
    assert capsys.readouterr().out == (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")


def test_every_rule_is_complete() -> None:
    for rule in all_rules().values():
        assert rule.summary.endswith("."), rule.id
        assert rule.remedy, rule.id
        assert "." not in rule.remedy[-1:], rule.id
        assert tracks_of(rule), rule.id
        assert all(rule.source_for(track) for track in tracks_of(rule)), rule.id
