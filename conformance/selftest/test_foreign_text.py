"""What a stranger's file calls its tensors, and how it is called, never steers a terminal."""

import json
import os
import shlex
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from conformance import cli
from conformance.ci import annotations
from conformance.report.terminal import Row, shell_word
from conformance.rulebook import could_not_run, failed, together
from conformance.selftest.gate import run_gate
from conformance.selftest.models import conforming
from reference.errors import SubmissionError, one_line, printable

EVIL = "\x1b[31m\x9b2J\u202e\x07\nx\r"
FILE = "my\x1b]0;title\x07\n.onnx"


def model(folder: Path) -> Path:
    """Conforming but for advice: an odd name of its output, of nodes and of an unused weight."""
    made = conforming("depth")
    renamed = {"depth": f"depth{EVIL}", "ramp": f"ramp{EVIL}", "unit": f"unit{EVIL}"}
    for node in made.graph.node:
        node.name = f"{node.name}{EVIL}"
        for names in (node.input, node.output):
            names[:] = [renamed.get(name, name) for name in names]
    for tensor in [*made.graph.initializer, *made.graph.output]:
        tensor.name = renamed.get(tensor.name, tensor.name)
    unused = np.zeros((100, 10), np.float32)
    made.graph.initializer.append(numpy_helper.from_array(unused, f"w{EVIL}"))
    onnx.save(made, folder / FILE)
    return folder / FILE


def steers(text: str) -> list[str]:
    """The characters that should not be there."""
    return [ch for ch in text if not ch.isprintable() and ch != "\n"]


def test_no_name_reaches_the_terminal_or_a_report(tmp_path: Path) -> None:
    model(tmp_path)
    gate = run_gate(
        tmp_path, "--track=depth", f"--submission={FILE}", "--report=out", "-k", "COM or DEP-4"
    )
    said = gate.out + gate.err
    assert "COM-7" in said, "the unused weight is told"
    assert not steers(said)
    assert "my\\x1b]0;title\\x07 .onnx" in said
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    for name in ("report.json", "report.md", "report.html"):
        text = (tmp_path / "out" / name).read_text(encoding="utf-8")
        assert not steers(text), name
    assert not steers("".join(annotations(report)))
    # The command of the report is one that Bash runs with the same words.
    words = f"printf '%s\\0' {report['command']}"
    back = subprocess.run(["bash", "-c", words], capture_output=True, check=True).stdout
    assert f"--submission={FILE}" in back.decode().split("\0")


def test_nor_by_way_of_lpcvc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    model(tmp_path)
    latin = os.fsdecode(b"\xe9t\xe9.onnx")
    (tmp_path / latin).write_bytes((tmp_path / FILE).read_bytes())
    for track in ([], ["--track", "depth"]):
        assert cli.main(["check", FILE, latin, *track]) == 1
        out = capsys.readouterr().out
        assert not steers(out)
        lines = out.splitlines()
        assert any(
            line.startswith("my\\x1b]0;title\\x07 .onnx: COM-7 (advice) warns") for line in lines
        )
        assert "\\udce9t\\udce9.onnx: \\udce9t\\udce9.onnx is a name that is not UTF-8" in out
    assert cli.main(["check", "--track", "depth", EVIL]) == 1
    assert not steers(capsys.readouterr().out)
    assert cli.main(["compile", "--track", "depth", "--device", EVIL]) == 2
    assert not steers(capsys.readouterr().err)
    assert cli.main(["submit", "--track", EVIL, "--submission", "x", "--team", "y"]) == 2
    assert not steers(capsys.readouterr().err)


@given(st.text())
def test_printable(text: str) -> None:
    shown = printable(text)
    assert not steers(shown)
    assert shown.encode().decode() == shown
    assert printable(shown) == shown
    assert one_line(text, 10**9).isprintable()
    assert shown == text or steers(text)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_a_word_of_a_command_is_itself_again(text: str) -> None:
    word = shell_word(text)
    assert word.isprintable()
    if text.isprintable():
        assert shlex.split(word) == [text]
    else:
        escaped = word.removeprefix("$'").removesuffix("'")
        assert escaped.encode().decode("unicode_escape").encode("latin-1").decode() == text


@given(st.text(), st.text(), st.text(), st.text())
def test_verdicts_and_rows_are_lines(seen: str, expected: str, where: str, remedy: str) -> None:
    several = together([failed(expected, seen, where, remedy), failed(seen, where, "", expected)])
    unrun = could_not_run(SubmissionError(seen, remedy))
    for verdict in (failed(expected, seen, where, remedy), unrun, several):
        assert verdict is not None
        for text in (verdict.seen, verdict.expected, verdict.where, verdict.remedy):
            assert not text or text.isprintable()
    row = Row(where, "DEP-1", "required", "FAIL", seen, remedy, expected=expected)
    assert (row.subject + row.seen + row.remedy + row.expected + "x").isprintable()
