"""`lpcvc export`, `compile` and `quantize`: from one form of a model to another."""

import argparse
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.verbs import Answer, add_limits, add_models_and_devices, limits_of
from reference.errors import CheckpointWarning, SubmissionError, one_line
from reference.install import install_command
from reference.registry import find_track

if TYPE_CHECKING:
    from conformance.verbs import Verbs


def add_to(verbs: "Verbs") -> None:
    """Adds the three parsers."""
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
    add_models_and_devices(compiler)
    compiler.add_argument("--dlc", action="store_true", help="write a DLC too")
    compiler.add_argument(
        "--output", type=Path, metavar="FOLDER", help="copy what was made into FOLDER"
    )
    add_limits(compiler, "one compilation")
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
    add_limits(quantizer, "quantising")
    quantizer.set_defaults(verb=_quantize)


def _export(options: argparse.Namespace) -> Answer:
    try:
        from reference.export import export_reference
    except ModuleNotFoundError as error:
        raise SubmissionError(
            f"a reference model needs {error.name}, which is not installed",
            install_command("torch"),
        ) from None
    track = find_track(options.track)
    options.folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("always", CheckpointWarning)
        warnings.showwarning = lambda message, *_, **__: print(
            f"lpcvc: {one_line(str(message))}", file=sys.stderr
        )
        paths = export_reference(
            track, options.folder, options.form, options.weights, options.resolution
        )
    kind = options.weights.name if options.weights else "random weights"
    return "\n".join(f"{part}: {path} ({kind})" for part, path in paths.items()), 0


def _compile(options: argparse.Namespace) -> Answer:
    from conformance.verbs.compile import choose_devices, compile_for_devices

    track = find_track(options.track)
    return compile_for_devices(
        track,
        options.model,
        choose_devices(track, options.device, options.all_devices),
        dlc=options.dlc,
        limits=limits_of(options),
        output=options.output,
    )


def _quantize(options: argparse.Namespace) -> Answer:
    from conformance.verbs.quantize import quantize_part

    text = quantize_part(
        find_track(options.track),
        options.part,
        options.model,
        options.output,
        images=options.images,
        texts=options.texts,
        precision=options.precision,
        limits=limits_of(options),
    )
    return text, 0
