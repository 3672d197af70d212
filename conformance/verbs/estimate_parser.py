"""`lpcvc estimate`: how fast a model would be on a device, offline."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.verbs import Answer, add_limits, add_models_and_devices, limits_of
from reference.npu.calibration import RUNTIMES
from reference.registry import find_track

if TYPE_CHECKING:
    from conformance.verbs import Verbs


def add_to(verbs: "Verbs") -> None:
    """Adds the parser."""
    parser = verbs.add_parser("estimate", help="estimate the latency on a device, offline")
    add_models_and_devices(parser)
    parser.add_argument("--runtime", choices=RUNTIMES, help="default: the track's")
    parser.add_argument(
        "--what-if",
        action="append",
        default=[],
        metavar="CHANGE",
        help="simulate a change too: fold-normalisation or nchw; repeatable",
    )
    parser.add_argument(
        "--anchors", type=Path, metavar="FILE", help="JSON list of model, device, ms you measured"
    )
    parser.add_argument(
        "--measured",
        type=Path,
        metavar="FILE",
        help="what `pytest -m device --save FILE` kept of this model on other devices",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the estimates")
    parser.add_argument("--why", action="store_true", help="say what takes the time")
    add_limits(parser, "one simulation")
    parser.set_defaults(verb=_estimate)


def _estimate(options: argparse.Namespace) -> Answer:
    from conformance.device.history import read_saved
    from conformance.verbs.compile import choose_devices
    from conformance.verbs.estimate import Question, estimate_parts
    from reference.npu.anchors import read_anchors

    track = find_track(options.track)
    question = Question(
        choose_devices(track, options.device, options.all_devices),
        options.runtime or track.runtime,
        read_anchors(options.anchors) if options.anchors else (),
        options.what_if,
        read_saved(options.measured, must_exist=True) if options.measured else (),
    )
    return estimate_parts(
        track,
        options.model,
        question,
        limits=limits_of(options),
        why=options.why,
        plot=options.plot,
    )
