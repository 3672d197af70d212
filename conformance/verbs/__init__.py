"""The verbs of `lpcvc`, a module for each group of them.

Each module has `add_to(verbs)`, which adds its parsers; a parser's default `verb` takes the parsed
options and returns the text to print with the exit code. What a verb needs is imported when it is
called, so that starting `lpcvc` stays quick.
"""

import argparse
from typing import TYPE_CHECKING

from reference.process import Limits

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[argparse.ArgumentParser]

Answer = tuple[str, int]


def add_models_and_devices(parser: argparse.ArgumentParser) -> None:
    """Adds what is compiled, for which track, and for which devices."""
    parser.add_argument(
        "model",
        nargs="*",
        metavar="[PART=]MODEL",
        help="as for --submission; default: the reference of the track with random weights",
    )
    parser.add_argument("--track", required=True)
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--device",
        action="append",
        default=[],
        metavar="NAME",
        help="as AI Hub calls it; repeatable; default: the track's",
    )
    which.add_argument("--all-devices", action="store_true", help="every device that is known")


def add_limits(parser: argparse.ArgumentParser, what: str) -> None:
    """Adds --timeout and --memory for `what`."""
    parser.add_argument(
        "--timeout",
        type=float,
        default=Limits.timeout,
        metavar="SECONDS",
        help=f"the longest that {what} may take; default: %(default).0f",
    )
    parser.add_argument(
        "--memory",
        type=float,
        metavar="GIB",
        help="the most memory that it may take; default: what the machine has to spare",
    )


def limits_of(options: argparse.Namespace) -> Limits:
    """What those two say."""
    return Limits.of(options.timeout, options.memory)
