"""`lpcvc selftest`: the matrix, its totals, and its exit code."""

import dataclasses
import re
import sys

import pytest

from conformance.cli import main
from conformance.rulebook import passed
from conformance.selftest import matrix
from conformance.selftest.matrix import StderrLine, Trial, selftest, table
from conformance.selftest.mutants import MUTANTS, Mutant


def named(*names: str) -> list[Mutant]:
    return [mutant for mutant in MUTANTS if mutant.track == "depth-2025" and mutant.name in names]


def quiet(text: str) -> None:
    """No progress."""


def test_totals_and_progress() -> None:
    shown: list[str] = []
    mutants = named("extra input", "depth up to 1.001", "float64 depth")
    text, code = selftest(mutants, progress=shown.append)
    assert code == 0
    assert text.endswith("3 mutants, 3 killed (100.0%), 0 collateral")
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines()[1:5]}
    assert rows.keys() == {"COM-5", "DEP-1", "DEP-6", "DEP-7"}
    assert set(map(tuple, rows.values())) == {("1", "1", "0", "0")}
    assert shown[0] == "mutant 1/3, depth-2025: extra input"
    assert len(shown) == 3


def test_missed_and_collateral_fail() -> None:
    (mutant,) = named("extra input")
    wrong = dataclasses.replace(mutant, rules=frozenset({"DEP-2"}))
    text, code = selftest([wrong, mutant], progress=quiet)
    assert code == 1
    assert "depth-2025: extra input: misses DEP-2" in text
    assert "depth-2025: extra input: also DEP-1: image, scale" in text
    assert re.search(r"^DEP-1 +1 +1 +0 +1$", text, re.MULTILINE)
    assert re.search(r"^DEP-2 +1 +0 +1 +0$", text, re.MULTILINE)
    assert text.endswith("2 mutants, 1 killed (50.0%), 1 collateral")


def test_a_submission_that_is_refused_is_missed() -> None:
    (mutant,) = named("extra input")
    refused = dataclasses.replace(mutant, factory="no_such_package.module:Model", rules=frozenset())
    text, code = selftest([refused], progress=quiet)
    assert code == 1
    assert "no_such_package" in text


def test_rules_without_a_mutant_take_no_row() -> None:
    (mutant,) = named("extra input")
    kept = Trial(mutant, {rule: passed("") for rule in ("DEP-1", "DEP-2")})
    assert "DEP-2" not in table([kept])
    assert "DEP-1: misses" not in table([kept])
    assert kept.missed == {"DEP-1"}


@pytest.mark.parametrize("code", [0, 1])
def test_the_verb(
    code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix, "selftest", lambda: ("the matrix", code))
    assert main(["selftest"]) == code
    assert capsys.readouterr().out == "the matrix\n"


@pytest.mark.parametrize(("quiet_seconds", "lines"), [(2.0, 0), (0.0, 1)])
def test_progress_goes_to_stderr_after_two_seconds(
    quiet_seconds: float,
    lines: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(matrix, "QUIET_SECONDS", quiet_seconds)
    with StderrLine() as line:
        line("mutant 1/2")
        line("mutant 2/2")
    assert capsys.readouterr().err == "mutant 1/2\n" * lines


def test_the_verb_needs_a_checkout(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "conformance.selftest.matrix", None)
    assert main(["selftest"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("lpcvc: selftest ")
    assert "source checkout" in told.err
    assert told.err.count("\n") == 1
