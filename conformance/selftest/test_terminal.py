"""What a terminal shows: whole words within its width, and progress that leaves the rest alone."""

import io
import re
import sys
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.cli import main
from conformance.report.columns import columns, fitted
from conformance.report.progress import pytest_progress

WORDS = st.lists(st.text("abc-0", min_size=1, max_size=12), min_size=1, max_size=30).map(" ".join)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=5), st.integers(32, 120))
def test_lines_are_fitted(rows: list[tuple[str, str]], width: int) -> None:
    """No word is lost or cut, and no line is wider where no word is."""
    text = "\n".join(columns(rows))
    shown = fitted(text, width)
    assert shown.split() == text.split()
    longest = max(map(len, shown.split()))
    assert all(len(line) <= max(width, width // 2 + longest) for line in shown.split("\n"))


def test_a_long_line_goes_on_below_its_column() -> None:
    text = "ok       extra npu  one two three four\n         -> pip install 'a long name'"
    assert fitted(text, 30).split("\n") == [
        "ok       extra npu  one two",
        "         three four",
        "         -> pip install 'a long name'",
    ]
    assert fitted(text, 80) == text


def test_help_has_whole_words_in_40_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["gate", "--help"]) == 0
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 40
    assert "Hold a submission to all the rules" in shown


@pytest.mark.parametrize(("tty", "longest"), [(True, 60), (False, 100)])
def test_a_verb_is_fitted_where_there_is_a_terminal(
    tty: bool, longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    out = Terminal() if tty else io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["rules", "--explain", "DEP-7"]) == 0
    widest = max(map(len, out.getvalue().splitlines()))
    assert widest <= longest
    assert tty or widest > 60


def test_progress_is_below_what_pytest_has_written() -> None:
    """And pytest knows of its own alone, so that its percentages end where they should."""
    out = Terminal()
    real, sys.stdout = sys.stdout, out
    try:
        config: Any = SimpleNamespace(
            pluginmanager=SimpleNamespace(
                get_plugin=lambda name: SimpleNamespace(
                    isatty=True, global_and_fixture_disabled=nullcontext
                )
            )
        )
        from _pytest._io import TerminalWriter

        writer = TerminalWriter(out)
        writer.fullwidth = 20
        config.get_terminal_writer = lambda: writer
        line = pytest_progress(config)
        line._next = 0.0
        writer.write("test.py ..")
        line("a model that takes a long time")
        line.clear()
        writer.write(".")
    finally:
        sys.stdout = real
    screen = [re.sub(r".*\r|\x1b\[K", "", row) for row in out.getvalue().split("\n")]
    assert screen == ["test.py ..", "."]
    assert "a model that takes \x1b[K" in out.getvalue()
    assert writer.width_of_current_line == 1
