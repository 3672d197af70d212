"""`lpcvc rules`, `check` and `selftest`: the rulebook printed, applied to files, and proved."""

import argparse
import importlib
from typing import TYPE_CHECKING

from conformance.report.rules import rules_explained, rules_markdown, rules_table
from conformance.verbs import Answer, add_limits, limits_of
from reference.errors import SubmissionError
from reference.registry import find_track

if TYPE_CHECKING:
    from conformance.verbs import Verbs


def add_to(verbs: "Verbs") -> None:
    """Adds the three parsers."""
    rules = verbs.add_parser("rules", help="print the rulebook")
    rules.add_argument("--track", help="only the rules of one track")
    rules.add_argument("--explain", metavar="ID", help="everything about one rule, such as SEG-7")
    rules.add_argument("--markdown", action="store_true", help="the text of docs/rules.md")
    rules.set_defaults(verb=_rules)

    check = verbs.add_parser("check", help="hold models to the rules that need no run")
    check.add_argument(
        "models",
        nargs="+",
        metavar="[PART=]MODEL",
        help="as for --submission, each on its own; PyTorch models are exported for --track",
    )
    check.add_argument("--track", help="its rules too; default: those of every track alone")
    check.add_argument("--strict", action="store_true", help="advice fails too")
    add_limits(check, "opening or exporting a model")
    check.set_defaults(verb=_check)

    selftest = verbs.add_parser("selftest", help="hold every rule against models that break it")
    selftest.set_defaults(verb=_selftest)


def _rules(options: argparse.Namespace) -> Answer:
    if options.explain:
        return rules_explained(options.explain), 0
    track = find_track(options.track) if options.track else None
    return rules_markdown() if options.markdown else rules_table(track), 0


def _check(options: argparse.Namespace) -> Answer:
    from conformance.verbs.check import check_files

    track = find_track(options.track) if options.track else None
    return check_files(options.models, track, strict=options.strict, limits=limits_of(options))


def _selftest(options: argparse.Namespace) -> Answer:
    try:
        matrix = importlib.import_module("conformance.selftest.matrix")
    except ImportError as error:
        raise SubmissionError(
            f"selftest cannot be loaded ({error})",
            "run it from a source checkout with the dev extra",
        ) from None
    answer: Answer = matrix.selftest()
    return answer
