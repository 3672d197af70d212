"""The matrix of rules and mutants: which defect breaks which rule, and whether it should."""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from conformance.rulebook import Verdict, all_rules
from conformance.selftest.assess import assess, broken
from conformance.selftest.mutants import MUTANTS, Mutant
from reference.errors import SubmissionError
from reference.registry import all_tracks

Progress = Callable[[str], None]
QUIET_SECONDS, LOG_SECONDS = 2.0, 15.0
ERASE = "\r\033[K"  # back to the first column, and nothing behind it


@dataclass(frozen=True)
class Trial:
    """What the suite said of one mutant; `error` is why it said nothing."""

    mutant: Mutant
    verdicts: dict[str, Verdict]
    error: str = ""

    @property
    def missed(self) -> frozenset[str]:
        """The rules that the defect must break and that were kept."""
        return self.mutant.rules - broken(self.verdicts)

    @property
    def collateral(self) -> frozenset[str]:
        """The rules that fired although the defect is another."""
        return frozenset(broken(self.verdicts)) - self.mutant.rules

    @property
    def report(self) -> str:
        """One line for each thing that is wrong, or ""."""
        lines = [f"misses {rule}" for rule in sorted(self.missed)]
        lines += [f"also {rule}: {self.verdicts[rule].seen}" for rule in sorted(self.collateral)]
        lines += [self.error] if self.error else []
        return "\n".join(f"{label(self.mutant)}: {line}" for line in lines)


def label(mutant: Mutant) -> str:
    """`depth-2025: inverse depth`; the part stands with the track where there are two."""
    part = "" if mutant.part == "model" else f", {mutant.part}"
    return f"{mutant.track}{part}: {mutant.name}"


def attempt(mutant: Mutant, folder: Path) -> Trial:
    """Holds one mutant to its track, with `folder`, which must be empty, for its files."""
    try:
        return Trial(mutant, assess(all_tracks()[mutant.track], mutant.submit(folder), folder))
    except SubmissionError as error:
        return Trial(mutant, {}, str(error))


def attempts(mutants: Sequence[Mutant], progress: Progress) -> Iterator[Trial]:
    """One after the other, each in a folder of its own that is removed again."""
    for number, mutant in enumerate(mutants, 1):
        progress(f"mutant {number}/{len(mutants)}, {label(mutant)}")
        with tempfile.TemporaryDirectory(prefix="lpcvc-") as folder:
            yield attempt(mutant, Path(folder))


def table(trials: Sequence[Trial]) -> str:
    """Rule by rule: mutants that must break it, how many do, and how many do that should not."""
    rows = ["rule     mutants  killed  missed  collateral"]
    for rule in all_rules():
        wanted = sum(rule in trial.mutant.rules for trial in trials)
        missed = sum(rule in trial.missed for trial in trials)
        collateral = sum(rule in trial.collateral for trial in trials)
        if wanted or collateral:
            rows.append(f"{rule:8} {wanted:7} {wanted - missed:7} {missed:7} {collateral:11}")
    killed = sum(not trial.missed for trial in trials)
    alarms = sum(len(trial.collateral) for trial in trials)
    rate = killed / len(trials) if trials else 0.0
    totals = f"{len(trials)} mutants, {killed} killed ({rate:.1%}), {alarms} collateral"
    reports = [trial.report for trial in trials if trial.report]
    return "\n".join([*rows, *(["", *reports] if reports else []), "", totals])


def selftest(
    mutants: Sequence[Mutant] = MUTANTS, progress: Progress | None = None
) -> tuple[str, int]:
    """The table over `mutants`, and 1 where anything is missed or collateral, else 0.

    Without a `progress` of the caller's, a line on stderr says how far it is.
    """
    with StderrLine() as line:
        trials = list(attempts(mutants, progress or line))
    return table(trials), int(any(trial.report for trial in trials))


class StderrLine:
    """Progress on stderr, from the third second on; a context manager that wipes it at the end.

    On a terminal one line is rewritten; in a log a line appears every 15 seconds.
    """

    def __init__(self) -> None:
        self._tty = sys.stderr.isatty()
        self._next = time.monotonic() + QUIET_SECONDS

    def __enter__(self) -> "StderrLine":
        return self

    def __call__(self, text: str) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + (0.0 if self._tty else LOG_SECONDS)
            if self._tty:
                text = text[: shutil.get_terminal_size().columns - 1]
                print(f"{ERASE}{text}", end="", file=sys.stderr, flush=True)
            else:
                print(text, file=sys.stderr, flush=True)

    def __exit__(self, *_: object) -> None:
        if self._tty:
            print(end=ERASE, file=sys.stderr, flush=True)
