"""Mutation testing of the rules: `python -m conformance.selftest.mutation [MODULE ...]`.

cosmic-ray's operators change a rule module one place at a time. The changed rules judge what was
recorded of every mutant and every conforming model, and then run `test_rules.py`; a change that
neither shows has survived. Recording takes minutes and judging milliseconds, which a run of all the
tests for each change would not allow. Needs `pip install cosmic-ray` and a POSIX system.
"""

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
from conformance.assessment import Assessment
from conformance.evidence import Evidence
from conformance.rulebook import Rule
from conformance.selftest.models import write
from conformance.selftest.mutants import MUTANTS
from conformance.submission import open_submission
from reference.errors import SubmissionError
from reference.tracks import TRACKS, Track

MODULES = ("common", "contract", "image", "text", "segmentation", "retrieval", "depth", "pidnet")
# They say more of Python than of a rule, or change what is not judged here.
LEFT_OUT = ("RemoveDecorator", "VariableReplacer", "VariableInserter", "ExceptionReplacer")
HANG_SECONDS = 20
TESTS = Path(__file__).with_name("test_rules.py")


@dataclass(frozen=True)
class Recorded:
    """One model, what was seen of it, and which of its rules failed, passed or were skipped."""

    name: str
    evidence: Evidence
    outcomes: dict[str, str]


def record(folder: Path) -> list[Recorded]:
    """Every conforming model and every mutant, judged once by the rules as they are."""
    found = []
    for track in TRACKS.values():
        place = _empty(folder / f"conforming-{track.id}")
        paths = write(track, place)
        specs = [f"{part}={path}" for part, path in paths.items()]
        found.append(_record(f"conforming {track.id}", track, specs, place))
    for number, mutant in enumerate(MUTANTS):
        place = _empty(folder / str(number))
        print(f"\rrecording {number + 1}/{len(MUTANTS)}", end="", file=sys.stderr)
        with contextlib.suppress(SubmissionError):
            specs = mutant.submit(place)
            found.append(_record(mutant.name, TRACKS[mutant.track], specs, place))
    return found


def _empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _record(name: str, track: Track, specs: list[str], folder: Path) -> Recorded:
    scratch = folder / "recorded"
    scratch.mkdir()
    submission = open_submission(track, specs, scratch)
    own = Assessment(track, name, lambda _: submission, scratch, torch=submission.torch)
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


def rules_of(module: str, source: str) -> dict[str, Rule]:
    """The rules that a source enters into the rulebook; the real book is left alone."""
    real, rulebook._RULES = rulebook._RULES, {}
    try:
        made = types.ModuleType(module)
        exec(compile(source, module, "exec"), made.__dict__)
        return dict(rulebook._RULES)
    finally:
        rulebook._RULES = real


def survives(source: str, module: str, recorded: list[Recorded]) -> bool:
    """Whether the changed rules give every verdict that the real ones gave."""
    try:
        rules = rules_of(module, source)
        with _time_limit():
            for one in recorded:
                for id, outcome in one.outcomes.items():
                    if id in rules and rules[id].check(one.evidence).outcome != outcome:
                        return False
    except Exception:
        return False
    return True


def survives_tests(source: str, module: str) -> bool:
    """Whether `test_rules.py` passes with the changed rules, in a copy of this process."""
    child = os.fork()
    if child == 0:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        signal.alarm(HANG_SECONDS)
        real, rulebook._RULES = rulebook._RULES, {}
        exec(compile(source, module, "exec"), sys.modules[module].__dict__)
        real.update(rulebook._RULES)
        rulebook._RULES = real
        plugins = ["-p", "no:cacheprovider", "-p", "no:benchmark", "-p", "no:xdist"]
        os._exit(pytest.main(["-x", "-q", *plugins, str(TESTS)]))
    return os.waitpid(child, 0)[1] == 0


@contextlib.contextmanager
def _time_limit() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(HANG_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)


def main(modules: list[str]) -> int:
    """Prints the survivors and the score; 0 however it goes, for a person judges survivors."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    total = killed = 0
    with tempfile.TemporaryDirectory(prefix="lpcvc-") as folder:
        recorded = record(Path(folder))
        for name in modules or MODULES:
            module = f"conformance.rules.{name}"
            path = Path(str(importlib.import_module(module).__file__))
            for label, source in changes(path):
                total += 1
                if survives(source, module, recorded) and survives_tests(source, module):
                    print(f"survived  {label}", flush=True)
                else:
                    killed += 1
            print(f"{name}: {killed} of {total} killed so far", flush=True)
    print(f"{killed} of {total} killed, {killed / total:.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
