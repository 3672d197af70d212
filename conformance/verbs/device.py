"""`lpcvc submit`, `export-card` and `devices`: what goes to AI Hub, what comes from it, and what it
runs on.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.verbs import Answer, add_limits, limits_of

if TYPE_CHECKING:
    from conformance.verbs import Verbs


def add_to(verbs: "Verbs") -> None:
    """Adds the three parsers."""
    submit = verbs.add_parser("submit", help="check, compile and share with the organisers")
    _add_subject(submit, "remote")
    submit.add_argument("--device", metavar="NAME", help="default: the track's")
    submit.add_argument("--team", required=True, help="the name on the form")
    submit.add_argument(
        "--receipt",
        type=Path,
        default=Path("receipt.json"),
        metavar="FILE",
        help="where to keep what was submitted; default: %(default)s",
    )
    submit.add_argument("--force", action="store_true", help="submit although the gate fails")
    submit.set_defaults(verb=_submit)

    card = verbs.add_parser("export-card", help="profile, and write what a model card shows")
    _add_subject(card, "auto")
    card.add_argument(
        "--device",
        action="append",
        default=[],
        metavar="NAME",
        help="repeatable; default: the track's",
    )
    card.add_argument(
        "--profile-runs",
        type=int,
        default=1,
        metavar="N",
        help="profile jobs of each part, of which the median counts; default: %(default)s",
    )
    card.set_defaults(verb=_card)

    devices = verbs.add_parser("devices", help="list the devices that can be compiled for offline")
    devices.set_defaults(verb=_devices)


def _add_subject(parser: argparse.ArgumentParser, hub: str) -> None:
    parser.add_argument("--track", required=True)
    parser.add_argument(
        "--submission",
        action="append",
        required=True,
        metavar="[PART=]FILE",
        help="the model, as for the suite; twice for retrieval",
    )
    parser.add_argument(
        "--hub",
        choices=("auto", "remote", "local"),
        default=hub,
        help="AI Hub as qai-hub is configured, or a local one that emulates; default: %(default)s",
    )
    add_limits(parser, "loading the model or one forward pass")


def _submit(options: argparse.Namespace) -> Answer:
    from conformance.verbs.submit import Request, submit

    request = Request(
        options.track,
        options.submission,
        options.team,
        options.receipt,
        options.device,
        options.hub,
        options.force,
    )
    return submit(request, limits_of(options)), 0


def _card(options: argparse.Namespace) -> Answer:
    from conformance.device.assessment import DeviceOptions
    from conformance.verbs.export_card import export_card

    asked = DeviceOptions(hub=options.hub, repeats=max(1, options.profile_runs))
    return export_card(
        options.track, options.submission, options.device, asked, limits_of(options)
    ), 0


def _devices(options: argparse.Namespace) -> Answer:
    from reference.npu.devices import all_devices

    found = all_devices()
    width = max(len(device.name) for device in found)
    lines = []
    for device in found:
        also = f"; also {', '.join(device.also)}" if device.also else ""
        numbers = "float16" if device.float16 else "quantised models alone"
        chip = f"{device.soc}, Hexagon {device.hexagon}, {numbers}"
        lines.append(f"{device.name:<{width}}  {chip}{also}")
    return "\n".join(lines), 0
