"""The pytest plugin: options, the items of the contract suite, and what is printed of them."""

from argparse import ArgumentError
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conformance.fault import told
from conformance.items import ERROR
from conformance.parity.rows import branch_table
from conformance.regression.rows import version_lines
from conformance.report.terminal import Row, table
from reference.errors import printable

if TYPE_CHECKING:
    from conformance.suite import Suite

_SUITE = pytest.StashKey["Suite"]()
_SAVED = pytest.StashKey[list[str]]()
_FILES = ("baseline", "save_baseline")
_GIVEN = ("track", "submission", "weights", "device", "as_evaluated")
# The arguments of items that hold a submission to one rule, with the method that lists them.
_CASES = {
    "contract_case": "cases",
    "npu_case": "npu_cases",
    "parity_case": "parity_cases",
    "device_case": "device_cases",
    "regression_case": "regression_cases",
}
# Suites that take minutes at full size, an account, or a baseline.
_LONG = ("npu", "parity", "device", "regression")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the suite; `--strict` is pytest's own."""
    group = parser.getgroup("lpcvc", "LPCVC conformance (--strict fails advice too)")
    group.addoption(
        "--track",
        action="append",
        metavar="NAME",
        help="segmentation, retrieval, depth, pidnet, or an edition such as retrieval-2026-draft;"
        " repeatable; default: all",
    )
    group.addoption(
        "--submission",
        action="append",
        metavar="[PART=]FILE",
        help="the model to check: .onnx, .zip or folder, TorchScript .pt, .pt2, or module:factory;"
        " twice for retrieval (image=..., text=...); default: the reference models",
    )
    group.addoption(
        "--weights",
        metavar="FILE",
        help="the official checkpoint for the reference model of --track",
    )
    if find_spec("pytest_timeout") is None:  # its option of this name means the same
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
        "--share",
        action="store_true",
        help="share the compile jobs of -m device with the organisers",
    )
    group.addoption(
        "--profile-runs",
        type=int,
        default=3,
        metavar="N",
        help="profile jobs of each part, of which the median counts; default: %(default)s",
    )
    group.addoption(
        "--save",
        type=Path,
        metavar="FILE",
        help="compare with the last results of -m device in FILE, and add those of this run",
    )
    group.addoption(
        "--report",
        metavar="DIR",
        help="write report.html, .md and .json and badge.svg into DIR",
    )
    group.addoption(
        "--as-evaluated",
        action="store_true",
        help="let documented rules that the evaluator does not enforce warn only",
    )
    group.addoption(
        "--baseline",
        type=Path,
        metavar="FILE",
        help="the baseline that -m regression compares with",
    )
    group.addoption(
        "--save-baseline",
        type=Path,
        metavar="FILE",
        help="keep what -m regression finds in FILE; other submissions there stay",
    )
    group.addoption(
        "--with",
        action="append",
        choices=("compile", "npu", "parity"),
        help="what -m regression looks at beside the contract: what the NPU compiler makes of it,"
        " that and the emulated NPU's answers, or how far those are from the host's; repeatable",
    )
    group.addoption(
        "--scores",
        type=Path,
        metavar="FILE",
        help="for -m regression: what `lpcvc score --keep FILE` kept of the submission",
    )
    group.addoption(
        "--tolerance",
        action="append",
        metavar="ENTRY=VALUE",
        help="how far an entry of the baseline may be off, * in its key stands for anything:"
        " 'outputs/*=0.01', 'rules/DEP-8=inf'; repeatable",
    )


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    """Tells of a conftest.py, in the folder of the run, whose options are called the same."""
    try:
        return (yield)
    except (ValueError, ArgumentError) as error:
        raise pytest.UsageError(
            f"a conftest.py of {early_config.invocation_params.dir} has an option that the suite"
            f" has too ({str(error).partition(' (')[0]}); run the suite from another folder"
        ) from None


def pytest_configure(config: pytest.Config) -> None:
    """Opens what can be opened at once, so that bad input is one line and nothing else."""
    config.addinivalue_line("markers", "contract: does the submission keep the rules of its track?")
    config.addinivalue_line("markers", "npu: does Qualcomm's compiler take it, and the NPU answer?")
    config.addinivalue_line("markers", "parity: do PyTorch, ONNX and the emulated NPU agree?")
    config.addinivalue_line("markers", "device: does it hold on a device of AI Hub?")
    config.addinivalue_line("markers", "regression: is anything lost against a baseline?")
    _check_regression(config)
    if config.getoption("report"):
        _follow(config, Path(config.getoption("report")))
    if any(config.getoption(name) for name in _GIVEN):
        _suite(config)


def _follow(config: pytest.Config, folder: Path) -> None:
    """Has a report of this run written."""
    from conformance.report.session import ReportSession
    from reference.errors import SubmissionError

    try:
        session = ReportSession(folder, lambda: config.stash.get(_SUITE, None))
    except (SubmissionError, OSError) as error:
        raise pytest.UsageError(told(error)) from None
    config.pluginmanager.register(session, "lpcvc-report")


def _check_regression(config: pytest.Config) -> None:
    """Raises UsageError where the options of a baseline do not fit the rest."""
    given = [name for name in (*_FILES, "with", "tolerance", "scores") if config.getoption(name)]
    if given and "regression" not in config.getoption("markexpr"):
        raise pytest.UsageError(f"--{given[0].replace('_', '-')} is for -m regression; add that")
    if config.getoption("save_baseline") and config.getoption("numprocesses", None):
        raise pytest.UsageError("--save-baseline needs one process; leave -n out")


def _suite(config: pytest.Config) -> "Suite":
    """The suite of this run; made when first needed, for most pytest runs are not about it."""
    if _SUITE not in config.stash:
        from conformance.device.assessment import DeviceOptions
        from conformance.gate import Gate
        from conformance.regression.assessment import RegressionOptions
        from conformance.suite import Suite
        from reference.process import Limits

        timeout = config.getoption("timeout", default=None) or None  # pytest-timeout's 0: none
        try:
            limits = Limits.of(timeout, config.getoption("memory"))
            config.stash[_SUITE] = Suite(
                tracks=config.getoption("track") or [],
                submission=config.getoption("submission") or [],
                weights=config.getoption("weights"),
                devices=config.getoption("device") or [],
                gate=Gate(
                    as_evaluated=config.getoption("as_evaluated"),
                    strict=bool(config.getoption("strict", default=False)),
                ),
                limits=limits,
                on_devices=DeviceOptions(
                    hub=config.getoption("hub"),
                    share=config.getoption("share"),
                    repeats=max(1, config.getoption("profile_runs")),
                    results=config.getoption("save"),
                ),
                regression=RegressionOptions(
                    config.getoption("baseline"),
                    config.getoption("save_baseline"),
                    config.getoption("with") or (),
                    config.getoption("tolerance") or (),
                    latencies=config.getoption("save"),
                    scores=config.getoption("scores"),
                ),
            )
        except Exception as error:
            raise pytest.UsageError(told(error)) from None
    return config.stash[_SUITE]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Keeps what was asked for, before the summary says so."""
    if _SUITE in session.config.stash:
        try:
            suite = session.config.stash[_SUITE]
            session.config.stash[_SAVED] = [*suite.save_baseline(), *suite.save_device_runs()]
        except Exception as error:
            session.config.stash[_SAVED] = [f"ERROR: {told(error)}"]
            session.exitstatus = pytest.ExitCode.USAGE_ERROR


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leaves nothing behind."""
    if _SUITE in config.stash:
        config.stash[_SUITE].close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One item a rule and submission, and one a track for what depends on the track alone."""
    for argument in _CASES.keys() & set(metafunc.fixturenames):
        cases = _listed(_suite(metafunc.config), _CASES[argument])
        metafunc.parametrize(argument, cases, ids=[case.id for case in cases])
    if "text_track" in metafunc.fixturenames:
        tracks = _suite(metafunc.config).text_tracks
        metafunc.parametrize("text_track", tracks, ids=[track.id for track in tracks])


def _listed(suite: "Suite", method: str) -> list[Any]:
    """The cases of one kind; what goes wrong ends the run with one line."""
    try:
        return list(getattr(suite, method)())
    except Exception as error:
        raise ERROR(told(error), returncode=pytest.ExitCode.USAGE_ERROR) from None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Drops the tokenizer's items where no chosen track has a text, and those of the long suites
    unless they are asked for.
    """
    unwanted = set()
    if _SUITE in config.stash and not config.stash[_SUITE].text_tracks:
        unwanted.add("text_track")
    unwanted |= {f"{name}_case" for name in _LONG if name not in config.getoption("markexpr")}
    items[:] = [i for i in items if not unwanted & set(getattr(i, "fixturenames", ()))]
    compared = any("regression_case" in getattr(item, "fixturenames", ()) for item in items)
    if compared and not any(config.getoption(name) for name in _FILES):
        raise pytest.UsageError(
            "-m regression needs a baseline; add --baseline FILE, or --save-baseline FILE for a"
            " first one"
        )


def _case(item: pytest.Item) -> Any:
    """What the item holds against a rule, a pair of runtimes or a baseline; None for any other."""
    callspec = getattr(item, "callspec", None)
    params = callspec.params if callspec else {}
    return next((params[argument] for argument in _CASES if argument in params), None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Shows progress while an item waits for the model."""
    case = _case(item)
    if case is None:
        return (yield)
    from conformance.report.progress import pytest_progress

    line = pytest_progress(item.config)
    case.assessment.progress = line
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
    row = Row.from_properties(report.user_properties) if report.when == "call" else None
    if row is not None and row.status == "warn":
        return "warned", "w", ("WARN", {"yellow": True})
    return None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table of rules."""
    reports = [
        report
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
    ]
    reports.sort(key=lambda report: report.start)
    rows = [row for row in (Row.from_properties(r.user_properties) for r in reports) if row]
    if rows:
        terminalreporter.section("conformance")
        for line, markup in table(rows, terminalreporter._screen_width):
            terminalreporter.write_line(printable(line), **markup)
        properties = [{k: str(v) for k, v in r.user_properties} for r in reports]
        saved = terminalreporter.config.stash.get(_SAVED, [])
        for line in (*branch_table(properties), *version_lines(properties), *saved):
            terminalreporter.write_line(printable(line))
