"""`lpcvc`: the rulebook, the reference models and scores on the command line."""

import argparse
import os
import sys
from collections.abc import Sequence

from conformance.verbs import device, doctor, estimate, hub, models, rules, score
from reference.errors import SubmissionError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb; 0 on success, 1 if the selftest finds something, a model does not compile
    whole, an item has no score or what is installed is broken, 2 with one line on stderr for what
    the user can put right.
    """
    options = _parser().parse_args(arguments)
    code = 0
    try:
        text, code = options.verb(options)
        print(text, flush=True)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except SubmissionError as error:
        print(f"lpcvc: {error}", file=sys.stderr)
        return 2
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lpcvc", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for group in (rules, models, estimate, score, device, hub, doctor):
        group.add_to(verbs)
    return parser


if __name__ == "__main__":
    sys.exit(main())
