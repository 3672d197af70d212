"""Mutation testing: `python -m conformance.selftest.mutation [--most N] [MODULE ...]`.

cosmic-ray's operators change a rule module one place at a time. `test_rules*.py` run with the
changed rules, and then these judge what was recorded of every mutant and every conforming model; a
change that neither shows has survived. Recording takes minutes and the tests are collected once,
which a run of all the tests for each change would not allow. Other modules, such as
`conformance.submission.graph`, are judged by their own tests: see `mutation_by_tests.py`. Needs
`pip install cosmic-ray` and a POSIX system.
"""

import argparse
import contextlib
import importlib
import os
import signal
import sys
import tempfile
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from conformance import rulebook
from conformance.contract.assessment import Assessment
from conformance.contract.evidence import Evidence
from conformance.rulebook import Rule
from conformance.selftest.models import MODEL_TRACKS, write
from conformance.selftest.mutants import MUTANTS
from conformance.selftest.mutation_by_tests import OWN_TESTS, judge_by_tests
from conformance.subject import opened
from conformance.submission.opening import open_submission
from reference.errors import SubmissionError
from reference.registry import all_tracks
from reference.tracks import Track

MODULES = (
    "common",
    "operators",
    "behaviour",
    "contract",
    "image",
    "text",
    "segmentation",
    "retrieval",
    "depth",
    "pidnet",
    "action",
    "values",
)
# They say more of Python than of a rule, or change what is not judged here.
LEFT_OUT = ("RemoveDecorator", "VariableReplacer", "VariableInserter", "ExceptionReplacer")
HANG_SECONDS = 60  # of processor time, so that a busy machine kills nothing
TESTS = sorted(map(str, Path(__file__).parent.glob("test_rules*.py")))


@dataclass(frozen=True)
class Recorded:
    """One model, what was seen of it, and which of its rules failed, passed or were skipped."""

    name: str
    evidence: Evidence
    outcomes: dict[str, str]


def record(folder: Path) -> list[Recorded]:
    """Every conforming model and every mutant, judged once by the rules as they are."""
    found = []
    for track in MODEL_TRACKS:
        place = _empty(folder / f"conforming-{track.id}")
        paths = write(track, place)
        specs = [f"{part}={path}" for part, path in paths.items()]
        found.append(_record(f"conforming {track.id}", track, specs, place))
    mutants = [mutant for mutant in MUTANTS if all_tracks()[mutant.track].parts]
    for number, mutant in enumerate(mutants):
        place = _empty(folder / str(number))
        print(f"\rrecording {number + 1}/{len(mutants)}", end="", file=sys.stderr)
        with contextlib.suppress(SubmissionError):
            specs = mutant.submit(place)
            found.append(_record(mutant.name, all_tracks()[mutant.track], specs, place))
    return found


def _empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _record(name: str, track: Track, specs: list[str], folder: Path) -> Recorded:
    scratch = folder / "recorded"
    scratch.mkdir()
    submission = open_submission(track, specs, scratch)
    own = Assessment(opened(track, submission), scratch)
    verdicts = {rule.id: own.verdict(rule) for rule in own.rules}
    judged = {
        id: verdict.outcome
        for id, verdict in verdicts.items()
        if not verdict.seen.startswith("not run: ")
    }
    return Recorded(name, own.evidence, judged)


def changes(path: Path) -> Iterator[tuple[str, str]]:
    """Each change of a file: a line that names it, and the changed source."""
    from cosmic_ray import plugins
    from cosmic_ray.mutating import mutate_code

    source = path.read_text(encoding="utf-8")
    for name in plugins.operator_names():
        if any(word in name for word in LEFT_OUT):
            continue
        for occurrence in range(1000):
            changed = mutate_code(source, plugins.get_operator(name)(), occurrence)
            if changed is None:
                break
            before, after = source.splitlines(), changed.splitlines()
            line = next(
                (i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), 0
            )
            yield f"{path.name}:{line + 1} {name.partition('/')[2]}: {after[line].strip()}", changed


def rules_of(module: str, source: str) -> list[Rule]:
    """The rules that a source enters into the rulebook; the real book is left alone."""
    real, rulebook._RULES = rulebook._RULES, {}
    try:
        made = types.ModuleType(module)
        exec(compile(source, module, "exec"), made.__dict__)
        return list(rulebook._RULES.values())
    finally:
        rulebook._RULES = real


def survives(source: str, module: str, recorded: list[Recorded]) -> bool:
    """Whether the changed rules give every verdict that the real ones gave."""
    try:
        rules = rules_of(module, source)
        with _time_limit():
            for one in recorded:
                for rule in rules:
                    outcome = one.outcomes.get(rule.id.replace("*", one.evidence.track.prefix))
                    if outcome and rule.check(one.evidence).outcome != outcome:
                        return False
    except Exception:
        return False
    return True


def survives_tests(source: str, module: str, session: pytest.Session) -> bool:
    """Whether the collected tests pass with the changed rules, in a copy of this process."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.setitimer(signal.ITIMER_PROF, HANG_SECONDS)
            real, rulebook._RULES = rulebook._RULES, {}
            exec(compile(source, module, "exec"), sys.modules[module].__dict__)
            rulebook._RULES = real | rulebook._RULES
            own = f"test_rules_{module.rpartition('.')[2]}.py"
            items = sorted(session.items, key=lambda item: item.path.name != own)
            for item, following in zip(items, [*items[1:], None], strict=True):
                item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
                if session.testsfailed:
                    break
            else:
                code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0


@contextlib.contextmanager
def _time_limit() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError

    previous = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, HANG_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)


class Judge:
    """A pytest plugin that, once the tests are collected, judges each change of the rules."""

    def __init__(self, modules: list[str], recorded: list[Recorded]) -> None:
        self._modules = modules
        self._recorded = recorded

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        total = killed = 0
        for name in self._modules:
            module = f"conformance.rules.{name}"
            path = Path(str(importlib.import_module(module).__file__))
            if not self._survives(path.read_text(encoding="utf-8"), module, session):
                raise SystemExit(f"{name}: the rules fail as they are")
            survivors = changed = 0
            for label, source in changes(path):
                changed += 1
                if self._survives(source, module, session):
                    survivors += 1
                    print(f"survived  {label}", flush=True)
            print(f"{name}: {changed - survivors} of {changed} killed", flush=True)
            total, killed = total + changed, killed + changed - survivors
        print(f"{killed} of {total} killed, {killed / total:.1%}")
        return True

    def _survives(self, source: str, module: str, session: pytest.Session) -> bool:
        return survives_tests(source, module, session) and survives(source, module, self._recorded)


def main(arguments: list[str]) -> int:
    """Prints the survivors and the score; 0 however it goes, for a person judges survivors."""
    parser = argparse.ArgumentParser(prog="mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="default: all of them")
    parser.add_argument("--most", type=int, metavar="N", help="changes of a module that is no rule")
    options = parser.parse_args(arguments)
    chosen = options.modules or [*MODULES, *OWN_TESTS]
    unknown = [name for name in chosen if name not in (*MODULES, *OWN_TESTS)]
    if unknown:
        parser.error(f"no such module: {', '.join(unknown)}")
    others = [name for name in chosen if name in OWN_TESTS]
    if others:
        killed, total = judge_by_tests(others, options.most, changes)
        print(f"{killed} of {total} killed, {killed / total:.1%}")
    rules = [name for name in chosen if name in MODULES]
    return _judge_rules(rules) if rules else 0


def _judge_rules(modules: list[str]) -> int:
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    plugins = (f"-pno:{name}" for name in ("terminal", "cacheprovider", "benchmark", "xdist"))
    with tempfile.TemporaryDirectory(prefix="lpcvc-") as folder:
        judge = Judge(modules, record(Path(folder)))
        return pytest.main(["-s", *plugins, *TESTS], plugins=[judge])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
