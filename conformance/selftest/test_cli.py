"""`lpcvc` on the command line, and the page that it writes."""

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from conformance.cli import lpcvc, main
from conformance.rulebook import all_rules, device_rules_for, npu_rules_for, rules_for, tracks_of
from reference.registry import find_track

ROOT = Path(__file__).parents[2]
VERBS = {
    *("bundle", "cache", "check", "compare", "compile", "data", "demo", "devices", "doctor"),
    *("estimate", "export", "export-card", "fix", "gate"),
    *("hub", "inspect", "quantize", "rank", "rules", "score", "selftest", "submit"),
}
# Imported for work alone, not for a verb's options.
HEAVY = {"cv2", "matplotlib", "numba", "onnxruntime", "qai_hub", "ray", "torch", "transformers"}


def loaded(*commands: str) -> set[str]:
    """The modules that a process has after these commands, which must succeed."""
    script = (
        "import sys; from conformance.cli import main\n"
        "codes = [main(command.split()) for command in sys.argv[1:]]\n"
        "print(*sys.modules, file=sys.stderr); sys.exit(any(codes))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *commands],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    return set(done.stderr.split())


def test_the_start_imports_no_verb() -> None:
    """Neither for the list of verbs nor for the version, nor any verb but the one asked for."""
    modules = loaded("--help", "--version")
    assert "conformance.cli" in modules
    assert not {name for name in modules if name.startswith("conformance.verbs")}
    assert "numpy" not in modules
    modules = loaded("rules --help")
    assert {name for name in modules if name.startswith("conformance.verbs.")} == {
        "conformance.verbs.rules"
    }


def test_no_verb_imports_what_only_its_work_needs() -> None:
    modules = loaded(*(f"{verb} --help" for verb in VERBS))
    assert {f"conformance.verbs.{verb.replace('-', '_')}" for verb in VERBS} <= modules
    assert not modules & HEAVY


def test_each_verb_is_a_file_with_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    _, _, listed = capsys.readouterr().out.partition("Commands:\n")
    assert set(re.findall(r"^  (\S+) +[A-Z].+\.$", listed, re.MULTILINE)) == VERBS
    assert lpcvc.commands.keys() == VERBS


@pytest.mark.parametrize(("group", "code"), [([], 0), (["hub"], 2), (["data"], 2)])
def test_bare_is_help(group: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever names a group and means one of its verbs has not got it."""
    assert main(group) == code
    told = capsys.readouterr()
    assert told.out.startswith(f"Usage: {' '.join(['lpcvc', *group])} ")
    assert "\nCommands:\n" in told.out
    assert told.err == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"lpcvc {version('lpcvc-conformance')}\n"


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("es", {"estimate"}),
        ("gate --track de", {"depth", "depth-2025"}),
        ("compile --device XR", {"XR2 Gen 2 (Proxy)"}),
        ("data check --track pid", {"pidnet"}),
        ("score --runt", {"--runtime"}),
        ("hub add", {"add-user"}),
    ],
)
def test_the_shell_completes(
    typed: str,
    found: set[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Verbs, options, tracks and devices, by what click gives Bash to ask with."""
    words = ["lpcvc", *typed.split()]
    monkeypatch.setenv("_LPCVC_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", " ".join(words))
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    assert main([]) == 0
    assert set(capsys.readouterr().out.split("\n")) == {"", *(f"plain,{name}" for name in found)}


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("chek", "No such command 'chek'; did you mean check or cache?"),
        ("hub serv", "No such command 'serv'; did you mean serve or users?"),
        ("compile a.onnx --trak depth", "No such option '--trak'; did you mean --track?"),
        ("gate a.onnx --pariti", "No such option '--pariti'; did you mean --parity or --strict?"),
        (
            "export --form onx .",
            "Invalid value for '--form': 'onx' is not one of 'onnx', 'torchscript';"
            " did you mean onnx?",
        ),
        ("data check", "Missing argument 'DIR'; see `lpcvc data check --help`"),
        ("quantize a.onnx b.onnx", "Missing option '--track'; see `lpcvc quantize --help`"),
        (
            "score --workers many",
            "Invalid value for '--workers': 'many' is not a valid integer;"
            " see `lpcvc score --help`",
        ),
        (
            "export --form h5 .",
            "Invalid value for '--form': 'h5' is not one of 'onnx', 'torchscript';"
            " see `lpcvc export --help`",
        ),
    ],
)
def test_misspelt_commands_are_one_line(
    command: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"lpcvc: {told}\n"


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
        (["rules", "--explain", "XYZ"], "no rule is called 'XYZ'; `lpcvc rules` lists them all"),
        (["rules", "--explain", "DPE-7"], "no rule is called 'DPE-7'; did you mean DE"),
        (["rules", "--track", "dept"], "unknown track or edition 'dept'; did you mean depth?"),
        (["rules", "--track", "x"], "unknown track or edition 'x'; choose one of: action, "),
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
