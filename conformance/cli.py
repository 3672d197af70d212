"""`lpcvc`: the rulebook and the reference models on the command line."""

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from conformance.report.rules import rules_explained, rules_markdown, rules_table
from reference.errors import SubmissionError
from reference.tracks import find_track

Answer = tuple[str, int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb; 0 on success, 1 if the selftest finds something, 2 with one line on stderr for
    what the user can put right.
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

    rules = verbs.add_parser("rules", help="print the rulebook")
    rules.add_argument("--track", help="only the rules of one track")
    rules.add_argument("--explain", metavar="ID", help="everything about one rule, such as SEG-7")
    rules.add_argument("--markdown", action="store_true", help="the text of docs/rules.md")
    rules.set_defaults(verb=_rules)

    export = verbs.add_parser("export", help="write a reference model")
    export.add_argument("--track", required=True)
    export.add_argument("--weights", type=Path, help="the official checkpoint; default: random")
    export.add_argument(
        "--resolution",
        type=int,
        metavar="PIXELS",
        help="segmentation: what the network sees; default: 256, the sample's; the winner's: 590",
    )
    export.add_argument("--form", choices=("onnx", "torchscript"), default="onnx")
    export.add_argument("folder", type=Path, help="where the files go; made if it is not there")
    export.set_defaults(verb=_export)

    selftest = verbs.add_parser("selftest", help="hold every rule against models that break it")
    selftest.set_defaults(verb=_selftest)
    return parser


def _rules(options: argparse.Namespace) -> Answer:
    if options.explain:
        return rules_explained(options.explain), 0
    track = find_track(options.track) if options.track else None
    return rules_markdown() if options.markdown else rules_table(track), 0


def _export(options: argparse.Namespace) -> Answer:
    from reference.export import export_reference

    track = find_track(options.track)
    options.folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: print(f"lpcvc: {message}", file=sys.stderr)
        paths = export_reference(
            track, options.folder, options.form, options.weights, options.resolution
        )
    kind = options.weights.name if options.weights else "random weights"
    return "\n".join(f"{part}: {path} ({kind})" for part, path in paths.items()), 0


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


if __name__ == "__main__":
    sys.exit(main())
