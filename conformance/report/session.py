"""Follows a pytest run and writes its report; with pytest-xdist the workers hand over theirs."""

import datetime
import pickle
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.environment import environment
from conformance.fault import told
from conformance.report.document import (
    NOT_MEASURED,
    Other,
    Report,
    Section,
    Table,
    merged,
    subjects_of,
)
from conformance.report.terminal import Row, row_of, shell_word
from conformance.report.writers import check_target, write_report
from reference.errors import one_line, printable
from reference.registry import known_track

_HANDED_OVER = "lpcvc_sections"
_WHOLE = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
_REASONS = {int(code): code.name.lower().replace("_", " ") for code in pytest.ExitCode}
_STATUS = {"passed": "pass", "failed": "fail", "skipped": "skip"}


class ReportSession:
    """The hooks of `--report`, once for each of `targets`. `seen` gives the sections of what was
    seen in this process.

    Raises SubmissionError for a target that cannot be written.
    """

    def __init__(self, targets: Sequence[Path], seen: Callable[[], Iterable[Section]]) -> None:
        for target in targets:
            check_target(target)
        self._targets = targets
        self._seen = seen
        self._reports: list[pytest.TestReport] = []
        self._sections: list[Section] = []
        self._lost: list[str] = []
        self._written: list[Path] = []
        self._failed = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keeps what came of an item; a setup or teardown counts only where it went wrong."""
        if report.when == "call" or report.outcome != "passed":
            self._reports.append(report)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Takes what a worker of pytest-xdist has seen; one that crashed has nothing to give."""
        seen = getattr(node, "workeroutput", {}).get(_HANDED_OVER)
        if seen is not None:
            self._sections += pickle.loads(seen)
        else:
            self._lost.append(one_line(f"{node.gateway.id} ended without its evidence"))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Writes the report, or in a worker hands over what it needs."""
        self._sections += gathered(self._seen)
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[_HANDED_OVER] = pickle.dumps(self._sections)
            return
        try:
            report = self._report(session, exitstatus)
            self._written = [path for to in self._targets for path in write_report(report, to)]
        except Exception as error:
            self._failed = told(error)
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Says where the report is."""
        for page in self._written:
            if page.suffix == ".html":
                terminalreporter.write_line(printable(f"report: {page}"))
        if self._failed:
            terminalreporter.write_line(f"ERROR: no report: {self._failed}", red=True)

    def _report(self, session: pytest.Session, exitstatus: int) -> Report:
        reports = sorted(self._reports, key=lambda report: report.start)
        found = [(r, row_of(r)) for r in reports]
        rows = [row for r, row in found if row and r.when == "call"]
        others = tuple(
            Other(_id(r), _STATUS.get(r.outcome, "skip"), _why(r), _words(r))
            for r, row in found
            if row is None or r.when != "call"
        )
        arguments = [str(argument) for argument in session.config.invocation_params.args]
        return Report(
            f"lpcvc-conformance {version('lpcvc-conformance')}",
            datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            " ".join(["pytest", *map(shell_word, arguments)]),
            "; ".join([*_ended(session, exitstatus), *self._lost]),
            subjects_of(rows),
            others,
            merged([*self._sections, *_unmeasured(rows, self._sections)]),
            environment(),
            {(row.subject, row.rule): r.longreprtext for r, row in found if row and r.failed},
        )


def gathered(seen: Callable[[], Iterable[Section]]) -> list[Section]:
    """What was seen; the answers that it is drawn from may hold anything."""
    with np.errstate(all="ignore"):
        return list(seen())


def _id(report: pytest.TestReport) -> str:
    """What of a node id stands behind the file."""
    where, bracket, case = report.nodeid.partition("[")
    return f"{where.rpartition('::')[2] or where}{bracket}{case}"


def _words(report: pytest.TestReport) -> str:
    """`tokenizer, recorded texts (retrieval-2026)`: what an item is about."""
    where, _, case = report.nodeid.partition("[")
    names = [Path(where.partition("::")[0]).stem, *where.split("::")[1:]]
    plain = (name.removeprefix("test_").replace("_", " ") for name in names)
    own = ", ".join(dict.fromkeys(plain))
    step = "" if report.when == "call" else f", {report.when}"
    return one_line(f"{own} ({case.removesuffix(']')}){step}" if case else f"{own}{step}")


def _why(report: pytest.TestReport) -> str:
    """The line that says what went wrong, empty for what passed."""
    if report.outcome == "passed":
        return ""
    if isinstance(report.longrepr, tuple):  # of a skip: file, line, reason
        return one_line(report.longrepr[2])
    crash = getattr(report.longrepr, "reprcrash", None)
    return one_line(crash.message if crash else str(report.longrepr))


def _ended(session: pytest.Session, exitstatus: int) -> list[str]:
    """Why the run ended early, if it did."""
    if session.shouldfail or session.shouldstop:
        return [one_line(str(session.shouldfail or session.shouldstop))]
    if exitstatus in _WHOLE:
        return []
    return [_REASONS.get(exitstatus, f"exit code {int(exitstatus)}")]


def _unmeasured(rows: list[Row], sections: list[Section]) -> list[Section]:
    """The budget of each track that no device was timed for."""
    timed = {
        section.subject.partition(" on ")[0] for section in sections if section.kind == "latency"
    }
    tracks = map(known_track, dict.fromkeys(row.track for row in rows))
    budgets = tuple(
        (track.id, track.device, NOT_MEASURED, track.budget)
        for track in tracks
        if track is not None and track.id not in timed
    )
    if not budgets:
        return []
    table = Table("Latency of one inference", ("track", "device", "measured", "budget"), budgets)
    note = "No device was timed in this run; pytest -m device --hub remote has AI Hub do it."
    return [Section("latency", "Latency against budget", "", (note,), (table,))]
