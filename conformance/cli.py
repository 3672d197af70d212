"""`lpcvc`: the rulebook, the reference models and scores on the command line."""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from conformance.fault import guarded
from conformance.verbs import device, doctor_parser, estimate_parser, hub, models, rules, score
from reference.errors import one_line, printable


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(one_line(message))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb; 0 on success, 1 if the selftest finds something, a model does not compile
    whole, an item has no score or what is installed is broken. Otherwise one line on stderr: 2 for
    what the user can put right, 130 for Ctrl-C, 3 for a fault of this program or of a tool.
    """
    options = _parser().parse_args(arguments)

    def run() -> int:
        text, code = options.verb(options)
        print(printable(text), flush=True)
        return int(code)

    return guarded(run, lambda line: print(f"lpcvc: {line}", file=sys.stderr))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="lpcvc", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for group in (rules, models, estimate_parser, score, device, hub, doctor_parser):
        group.add_to(verbs)
    return parser


if __name__ == "__main__":
    sys.exit(main())
