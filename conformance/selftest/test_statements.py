"""The page of the documents' statements names rules, errata, commands and tests that there are."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from conformance.cli import lpcvc
from conformance.rulebook import Level, all_rules

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "statements.md").read_text(encoding="utf-8")
RULE = re.compile(r"\b[A-Z]{3}-\d+\b")
ERRATUM = re.compile(r"\bE\d+\b")
COMMAND = re.compile(r"`lpcvc ([^`]+)`")
TEST = re.compile(r"`(test_\w+\.py)(?:::(\w+))?`")
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
# Their tracks are what the documents are about.
PREFIXES = {"SEG": "Track 2", "RET": "Track 1", "DEP": "Track 3", "PID": "PidNet"}
FILES = {path.name: path for room in ("conformance", "reference") for path in
         (ROOT / room).rglob("test_*.py")}  # fmt: skip


def rows() -> Iterator[tuple[str, str, str]]:
    """(document, what it says, what holds it) of each statement."""
    for section in PAGE.split("\n## ")[1:]:
        title = section.partition("\n")[0]
        for line in section.splitlines():
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            if line.startswith("|") and len(cells) == 3 and cells[2] != "held by":
                yield title, cells[1], cells[2].rstrip(" |")


ROWS = list(rows())


def test_every_document_has_its_statements() -> None:
    counts = {title: sum(row[0] == title for row in ROWS) for title, *_ in ROWS}
    assert len(counts) == 5
    assert all(count >= 15 for count in counts.values()), counts
    assert len({row[:2] for row in ROWS}) == len(ROWS), "each once"
    assert len(ROWS) == PAGE.count("\n|") - 2 * len(counts), "no row has another form"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0][:20]}: {row[1][:40]}")
def test_what_a_statement_is_held_by_is_there(row: tuple[str, str, str]) -> None:
    _, _, held = row
    rules, tests, commands = RULE.findall(held), TEST.findall(held), COMMAND.findall(held)
    assert (
        rules
        or tests
        or commands
        or ERRATUM.search(held)
        or held.startswith(("nothing: ", "the same test"))
    ), "it says by what, or why by nothing"
    assert set(rules) <= all_rules().keys()
    errata = (ROOT / "docs" / "errata.md").read_text(encoding="utf-8")
    for number in ERRATUM.findall(held):
        assert f"\n| {number} |" in errata, number
    for file, name in tests:
        assert file in FILES, file
        assert not name or f"\ndef {name}(" in FILES[file].read_text(encoding="utf-8"), name
    for command in commands:
        has_options(command)
    for target in LINK.findall(held):
        assert (ROOT / "docs" / target).is_file(), target


def has_options(command: str) -> None:
    """Raises AssertionError for a command of `lpcvc` that there is not, or without its options."""
    words = command.split()
    found: click.Command = lpcvc
    context = click.Context(lpcvc)
    while isinstance(found, click.Group) and words:
        _, own, words = found.resolve_command(context, words)
        assert own is not None, command
        found = own
    options = {name for parameter in found.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options, command


@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_rule_of_a_track_that_is_written_down_is_there(prefix: str) -> None:
    """Advice is this suite's own; what is required or documented is some document's statement."""
    named = set(RULE.findall(" ".join(held for *_, held in ROWS)))
    written = {
        id
        for id, rule in all_rules().items()
        if id.startswith(prefix) and rule.level is not Level.ADVICE
    }
    assert written - named == set()


def test_the_checks_can_fail() -> None:
    with pytest.raises(AssertionError):
        has_options("demo --nowhere")
    with pytest.raises(click.UsageError):
        has_options("abacus")
    broken = [
        ("", "", "SEG-99"),
        ("", "", "E999"),
        ("", "", "`test_nothing.py`"),
        ("", "", "`test_demo.py::test_nothing`"),
        ("", "", "we trust them"),
        ("", "", "nothing: [why](nowhere.md)"),
    ]
    for row in broken:
        with pytest.raises(AssertionError):
            test_what_a_statement_is_held_by_is_there(row)
