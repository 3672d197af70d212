"""The pytest plugin: options, the items of the wings, and what is printed of them."""

import gc
import importlib
import re
import shutil
import sys
from argparse import ArgumentError
from collections.abc import Generator, Iterable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conformance.fault import told
from conformance.items import ERROR, FOUND, NOTHING
from conformance.marker import Marker, markers
from conformance.report.junit import follow_junit
from conformance.report.summary import Told, summary
from conformance.report.terminal import FACTS, facts_of, row_of
from conformance.settings import find_settings
from conformance.wing import Case, Wing
from lpcvc_pytest import as_path
from reference.closest import did_you_mean
from reference.errors import SubmissionError, printable

if TYPE_CHECKING:
    from conformance.report.document import Section
    from reference.process import Limits

_RUN = pytest.StashKey[dict[str, Wing]]()
_SAVED = pytest.StashKey[list[str]]()
# pytest-timeout has an option of this name, which means the same.
_OWN_TIMEOUT = find_spec("pytest_timeout") is None
_HERE = Path(__file__).parent
_GIVEN = ("track", "submission", "weights", "device", "as_evaluated")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the suite; `--strict` is pytest's own."""
    group = parser.getgroup("lpcvc", "LPCVC conformance (--strict fails advice too)")
    group.addoption(
        "--track",
        action="append",
        metavar="NAME",
        help="a track such as depth, an edition such as retrieval-2026-draft, or a contract in a"
        " file, my.toml; repeatable; default: all that have a reference model",
    )
    group.addoption(
        "--submission",
        action="append",
        metavar="[PART=]FILE",
        help="the model to check: .onnx, .zip or folder, TorchScript .pt, .pt2, module:factory"
        " or file.py:factory;"
        " twice for retrieval (image=..., text=...); default: the reference models",
    )
    group.addoption(
        "--weights",
        metavar="FILE",
        help="the official checkpoint for the reference model of --track, or a state dict for the"
        " factory that is submitted",
    )
    if _OWN_TIMEOUT:
        group.addoption(
            "--timeout",
            type=float,
            metavar="SECONDS",
            help="the longest that loading the model or one forward pass may take; default: 600",
        )
    group.addoption(
        "--memory",
        type=float,
        metavar="GIB",
        help="the most memory that the model may take; default: what the machine has to spare",
    )
    group.addoption(
        "--device",
        action="append",
        metavar="NAME",
        help="compile for this device, as AI Hub calls it; repeatable; default: the track's",
    )
    group.addoption(
        "--hub",
        choices=("auto", "remote", "local"),
        default="auto",
        help="the AI Hub of -m device: the one that qai-hub is configured for, or a local one that"
        " emulates; auto, the default: the first where there is a configuration",
    )
    group.addoption(
        "--report",
        action="append",
        metavar="DIR",
        help="write report.html, .md and .json and badge.svg into DIR, or one of them where it ends"
        " so, out.json; repeatable",
    )
    group.addoption(
        "--as-evaluated",
        action="store_true",
        help="let documented rules that the evaluator does not enforce warn only",
    )
    for marker in markers().values():
        for name, how in marker.options.items():
            group.addoption(name, **how)


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None, None, None]:
    """Tells of a conftest.py, in the folder of the run, whose options are called the same; and of
    an option that nobody has and that is like one of the suite.
    """
    try:
        yield
    except (ValueError, ArgumentError) as error:
        raise pytest.UsageError(
            f"a conftest.py of {early_config.invocation_params.dir} has an option that the suite"
            f" has too ({str(error).partition(' (')[0]}); run the suite from another folder"
        ) from None
    own = [name for option in parser.getgroup("lpcvc").options for name in option.names()]
    for word in parser.parse_known_and_unknown_args(args)[1]:
        name = word.partition("=")[0]
        if name.startswith("--") and (near := did_you_mean(name, own)):
            raise pytest.UsageError(f"no option is called {name}; {near}")


@pytest.hookimpl(trylast=True)  # all have told their markers
def pytest_configure(config: pytest.Config) -> None:
    """Opens what can be opened at once, so that bad input is one line and nothing else."""
    for name, marker in markers().items():
        config.addinivalue_line("markers", f"{name}: {marker.question}")
    config.args[:] = [as_path(name) for name in config.args]
    _know_markers(config)
    _fill_in(config)
    for name, marker in markers().items():
        given = [option for option in marker.options if config.getoption(option)]
        if given and marker.strict and not _asked(config, name, marker):
            raise pytest.UsageError(f"{given[0]} is for -m {name}; add that")
        alone = [option for option in marker.alone if option in given]
        if alone and config.getoption("numprocesses", None):
            raise pytest.UsageError(f"{alone[0]} needs one process; leave -n out")
    follow_junit(config)
    if config.getoption("report"):
        _follow(config, [Path(target) for target in config.getoption("report")])
    _limits(config)
    if any(config.getoption(name) for name in _GIVEN):
        _wings(config)


def _know_markers(config: pytest.Config) -> None:
    """Refuses a word of `-m` that is no marker of anybody and like the name of a suite."""
    known = {re.split(r"\W", line, maxsplit=1)[0] for line in config.getini("markers")}
    for word in re.findall(r"[^\W\d]\w*", config.option.markexpr):
        if word not in {*known, "and", "or", "not"} and (near := did_you_mean(word, markers())):
            raise pytest.UsageError(f"no suite or marker is called {word!r}; {near}")


def _fill_in(config: pytest.Config) -> None:
    """Takes from the settings what the command line leaves open."""
    try:
        settings = find_settings(config.invocation_params.dir)
    except (SubmissionError, OSError) as error:
        raise pytest.UsageError(told(error)) from None
    option = config.option
    reference = option.weights  # is asked for in place of a submission
    for name in ("track", "device", "report", *(() if reference else ("submission",))):
        setattr(option, name, getattr(option, name) or list(getattr(settings, name)))
    if settings.strict and not option.as_evaluated:
        option.strict = True
    first = option.save_baseline  # the file may be there in the end
    if settings.baseline and "regression" in option.markexpr and not (option.baseline or first):
        option.baseline = Path(settings.baseline)


def _asked(config: pytest.Config, name: str, marker: Marker) -> bool:
    return marker.unasked or name in config.getoption("markexpr")


def _asked_items(config: pytest.Config) -> dict[str, Any]:
    """The modules of the wings that are asked for; no other is imported."""
    return {
        name: importlib.import_module(f"conformance.{name}.items")
        for name, marker in markers().items()
        if _asked(config, name, marker)
    }


def _follow(config: pytest.Config, targets: Sequence[Path]) -> None:
    """Has a report of this run written."""
    from conformance.report.session import ReportSession

    try:
        session = ReportSession(targets, partial(_sections, config))
    except (SubmissionError, OSError) as error:
        raise pytest.UsageError(told(error)) from None
    config.pluginmanager.register(session, "lpcvc-report")


def _sections(config: pytest.Config) -> "Iterable[Section]":
    return (part for wing in config.stash.get(_RUN, {}).values() for part in wing.sections())


def _limits(config: pytest.Config) -> "Limits":
    """What a model may take; what is no such amount is told at once."""
    from reference.process import Limits

    timeout = config.getoption("timeout", default=None)
    if not timeout and not _OWN_TIMEOUT:
        timeout = None  # pytest-timeout has 0 for no limit
    try:
        return Limits.of(timeout, config.getoption("memory"))
    except SubmissionError as error:
        raise pytest.UsageError(told(error)) from None


def _wings(config: pytest.Config) -> dict[str, Wing]:
    """The wings of this run; made when first needed, for most pytest runs are not about them."""
    if _RUN not in config.stash:
        from conformance.rulebook import Gate
        from conformance.suite import Suite

        try:
            suite = Suite(
                tracks=config.getoption("track") or [],
                submission=config.getoption("submission") or [],
                weights=config.getoption("weights"),
                devices=config.getoption("device") or [],
                gate=Gate(
                    as_evaluated=config.getoption("as_evaluated"),
                    strict=bool(config.getoption("strict", default=False)),
                ),
                limits=_limits(config),
                remote=config.getoption("hub") == "remote",
            )
            config.stash[_RUN] = {
                name: items.WING.of(suite, config.getoption)
                for name, items in _asked_items(config).items()
            }
        except Exception as error:
            raise pytest.UsageError(told(error)) from None
    return config.stash[_RUN]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Keeps what was asked for, before the summary says so."""
    try:
        wings = session.config.stash.get(_RUN, {}).values()
        session.config.stash[_SAVED] = [line for wing in wings for line in wing.save()]
    except Exception as error:
        session.config.stash[_SAVED] = [f"ERROR: {told(error)}"]
        session.exitstatus = pytest.ExitCode.USAGE_ERROR


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leaves nothing behind."""
    for wing in config.stash.get(_RUN, {}).values():
        wing.close()
        wing.suite.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One item a case; none where the wing is not asked for."""
    for name, marker in markers().items():
        if f"{name}_case" in metafunc.fixturenames:
            cases = _listed(metafunc.config, name) if _asked(metafunc.config, name, marker) else ()
            ids = [case.id for case in cases]
            metafunc.parametrize(f"{name}_case", cases or NOTHING, ids=ids or ["none"])


def _listed(config: pytest.Config, name: str) -> Sequence[Case]:
    """The cases of one wing; what goes wrong ends the run with one line."""
    try:
        wings = _wings(config)
        return [*wings[name].cases(), *wings[name].left_out(name)]
    except Exception as error:
        raise ERROR(told(error), returncode=pytest.ExitCode.USAGE_ERROR) from None


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves out the folders of the wings that nobody asks for."""
    marker = markers().get(collection_path.name) if collection_path.parent == _HERE else None
    return True if marker and not _asked(config, collection_path.name, marker) else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Drops what is about nothing, and has it counted as deselected."""
    gone = [item for item in items if None in _params(item).values()]
    items[:] = [item for item in items if item not in gone]
    if gone:
        config.hook.pytest_deselected(items=gone)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Tells the wings whose items are left that these are about to run."""
    try:
        for name, wing in session.config.stash.get(_RUN, {}).items():
            if any(f"{name}_case" in _params(item) for item in session.items):
                wing.start()
    except SubmissionError as error:
        raise pytest.UsageError(told(error)) from None
    gc.freeze()  # all of it stays to the end, where pytest collects garbage several times


def _params(item: pytest.Item) -> Mapping[str, object]:
    """What an item of a wing was made with, by argument; nothing for any other."""
    callspec: Any = getattr(item, "callspec", None)
    ours = callspec and any(item.get_closest_marker(name) for name in markers())
    return callspec.params if ours else {}


def _case(item: pytest.Item) -> Case | None:
    return next((value for value in _params(item).values() if isinstance(value, Case)), None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Shows progress while an item waits for the model."""
    case = _case(item)
    if case is None:
        return (yield)
    from conformance.report.progress import pytest_progress

    line = pytest_progress(item.config)
    case.follow(line)
    try:
        return (yield)
    finally:
        line.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Shows no Python trace, and nothing of a stranger's file that would steer the terminal."""
    report = yield
    if call.when == "call" and FOUND in item.stash:
        # Its story stands at the end, not among the failures that pytest shows ahead of that.
        vars(report).update({FACTS: item.stash[FOUND], "_pdbshown": True})
    error = call.excinfo.value if call.excinfo else None
    if isinstance(error, Exception) and _case(item) is not None:
        report.longrepr = told(error)
    elif isinstance(report.longrepr, str):
        report.longrepr = printable(report.longrepr)
    elif isinstance(report.longrepr, tuple):  # of a skip
        file, line, reason = report.longrepr
        report.longrepr = file, line, printable(reason)
    return report


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, object] | None:
    """A rule that is broken without failing the gate counts as `warned`."""
    row = row_of(report)
    if row is not None and row.status == "warn":
        return "warned", "w", ("WARN", {"yellow": True})
    return None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What came of the rules, what is broken last, and what to do."""
    config = terminalreporter.config
    reports = [
        report
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and facts_of(report)
    ]
    reports.sort(key=lambda report: report.start)
    if not reports or config.option.no_summary:
        return
    stories = config.option.tbstyle != "no"
    found = [
        Told(row, report.longreprtext if stories and report.failed else "")
        for report in reports
        if (row := row_of(report))
    ]
    # Where there is no terminal, there is nothing to wrap for.
    width = shutil.get_terminal_size((sys.maxsize, 0)).columns
    terminalreporter.ensure_newline()
    terminalreporter.section("conformance")
    asked = _asked_items(config).values()
    facts = [facts_of(report) for report in reports]
    below = [line for items in asked for line in items.WING.summary(facts)]
    for line in below:
        terminalreporter.write_line(printable(line))
    for line, markup in summary(found, width, verbose=config.option.verbose > 0):
        terminalreporter.write_line(printable(line), **markup)
    for line in config.stash.get(_SAVED, []):
        terminalreporter.write_line(printable(line))
    failed = terminalreporter.stats.get("failed", ())
    if config.option.reportchars == "fE" and all(map(row_of, failed)):
        terminalreporter.reportchars = "E"  # it would say the same once more, and less
