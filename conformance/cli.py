"""`lpcvc`: the rulebook and the reference models on the command line."""

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from conformance.report.rules import rules_explained, rules_markdown, rules_table
from reference.errors import CheckpointWarning, SubmissionError
from reference.process import Limits
from reference.tracks import find_track

Answer = tuple[str, int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb; 0 on success, 1 if the selftest finds something or a model does not compile
    whole, 2 with one line on stderr for what the user can put right.
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

    compiler = verbs.add_parser("compile", help="compile for the NPU of a device, offline")
    compiler.add_argument(
        "model",
        nargs="*",
        metavar="[PART=]MODEL",
        help="as for --submission; default: the reference of the track with random weights",
    )
    compiler.add_argument("--track", required=True)
    which = compiler.add_mutually_exclusive_group()
    which.add_argument(
        "--device",
        action="append",
        default=[],
        metavar="NAME",
        help="as AI Hub calls it; repeatable; default: the track's",
    )
    which.add_argument("--all-devices", action="store_true", help="every device that is known")
    compiler.add_argument("--dlc", action="store_true", help="write a DLC too")
    compiler.add_argument(
        "--output", type=Path, metavar="FOLDER", help="copy what was made into FOLDER"
    )
    _add_limits(compiler, "one compilation")
    compiler.set_defaults(verb=_compile)

    quantizer = verbs.add_parser("quantize", help="make an int8 model of a float one")
    quantizer.add_argument("model", help="the float model: .onnx, or a folder or zip with it")
    quantizer.add_argument("output", type=Path, metavar="OUT.onnx", help="where the new one goes")
    quantizer.add_argument("--track", required=True)
    quantizer.add_argument("--part", help="which model of the track it is, where there are two")
    quantizer.add_argument(
        "--images", type=Path, metavar="DIR", help="pictures to calibrate on; default: four"
    )
    quantizer.add_argument(
        "--texts", type=Path, metavar="FILE", help="texts to calibrate on, one a line"
    )
    quantizer.add_argument(
        "--precision",
        choices=("w8a8", "w8a16"),
        default="w8a8",
        help="bits of the weights and activations; default: %(default)s",
    )
    _add_limits(quantizer, "quantising")
    quantizer.set_defaults(verb=_quantize)

    selftest = verbs.add_parser("selftest", help="hold every rule against models that break it")
    selftest.set_defaults(verb=_selftest)
    return parser


def _add_limits(parser: argparse.ArgumentParser, what: str) -> None:
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


def _limits(options: argparse.Namespace) -> Limits:
    return Limits(options.timeout, int(options.memory * 2**30) if options.memory else None)


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
        warnings.simplefilter("always", CheckpointWarning)
        warnings.showwarning = lambda message, *_, **__: print(f"lpcvc: {message}", file=sys.stderr)
        paths = export_reference(
            track, options.folder, options.form, options.weights, options.resolution
        )
    kind = options.weights.name if options.weights else "random weights"
    return "\n".join(f"{part}: {path} ({kind})" for part, path in paths.items()), 0


def _compile(options: argparse.Namespace) -> Answer:
    from conformance.compile import choose_devices, compile_for_devices

    track = find_track(options.track)
    return compile_for_devices(
        track,
        options.model,
        choose_devices(track, options.device, options.all_devices),
        dlc=options.dlc,
        limits=_limits(options),
        output=options.output,
    )


def _quantize(options: argparse.Namespace) -> Answer:
    from conformance.quantize import quantize_part

    text = quantize_part(
        find_track(options.track),
        options.part,
        options.model,
        options.output,
        images=options.images,
        texts=options.texts,
        precision=options.precision,
        limits=_limits(options),
    )
    return text, 0


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
