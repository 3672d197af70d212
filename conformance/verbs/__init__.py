"""The verbs of `lpcvc`: a file each, with its `command` and its work.

The first line of the file is what `lpcvc --help` says of it. A command takes its options and
returns the text to print with the exit code, and where it is decorated `in_json` the same as
values. Here is what several of them share.
"""

import dataclasses
import json
import math
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from functools import wraps
from pathlib import Path

import click

from reference.errors import SubmissionError
from reference.npu.devices import Device, all_devices, find_device
from reference.process import Limits
from reference.registry import find_track
from reference.tracks import Track

Answer = tuple[str, int]
Command = Callable[..., Answer]
# With the same as values: dataclasses, mappings, collections, paths and what JSON has.
Found = tuple[str, int, object]

PATH = click.Path(path_type=Path)


def model_track(name: str) -> Track:
    """The track of that name; raises SubmissionError also for one that takes no model."""
    track = find_track(name)
    if track.has("package"):
        raise SubmissionError(
            f"{track.id} takes a package, in which there is nothing to compile or to run",
            f"hold it to its rules: pytest --pyargs conformance -m contract --track {track.id}",
        )
    return track


def in_json(command: Callable[..., Found]) -> Command:
    """Adds --json: what was found as one document, and whatever else is printed on stderr.

    Keys of numbers say the unit. A number that JSON has none for is null. A group leaves the answer
    to its verb where one is called, --json included.
    """

    @click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
    @wraps(command)
    def chosen(as_json: bool, **others: object) -> Answer:
        context = click.get_current_context()
        if context.invoked_subcommand:
            return "", 0
        as_json = as_json or bool(context.parent and context.parent.params.get("as_json"))
        with redirect_stdout(sys.stderr) if as_json else nullcontext():
            text, code, found = command(**others)
        return (json.dumps(_plain(found), indent=1) if as_json else text), code

    return chosen


def _plain(value: object) -> object:
    """The same in types of JSON."""
    match value:
        case None | bool() | int():
            return value
        case float():
            return float(value) if math.isfinite(value) else None
        case Mapping():
            return {str(key): _plain(each) for key, each in value.items()}
        case str() | Path():
            return str(value)
        case Collection():
            return [_plain(each) for each in value]
    if dataclasses.is_dataclass(value):
        return _plain({each.name: getattr(value, each.name) for each in dataclasses.fields(value)})
    raise TypeError(f"a {type(value).__name__} in a document")


def held_to_a_track(command: Command) -> Command:
    """Adds --track and --submission, as the suite has them."""
    submission = click.option(
        "--submission",
        multiple=True,
        required=True,
        metavar="[PART=]MODEL",
        help="The model, as for the suite; once for each part.",
    )
    return click.option("--track", required=True, metavar="TRACK")(submission(command))


def for_devices(command: Command) -> Command:
    """Adds what is taken, for which track and for which devices.

    The command gets the `models` as they were typed, the `track` or None, and the `devices`. Raises
    SubmissionError where neither a track nor the user says them.
    """

    @click.argument("models", nargs=-1, metavar="[[PART=]MODEL]...")
    @click.option(
        "--track",
        metavar="TRACK",
        help="Whose parts, inputs and device; without it MODEL is any ONNX file.",
    )
    @click.option(
        "--device",
        multiple=True,
        metavar="NAME",
        help="As AI Hub calls it; repeatable; default: the track's.",
    )
    @click.option("--all-devices", is_flag=True, help="Every device that is known.")
    @wraps(command)
    def chosen(
        models: Sequence[str],
        track: str | None,
        device: Sequence[str],
        all_devices: bool,
        **others: object,
    ) -> Answer:
        contract = None if track is None else model_track(track)
        if not models and contract is None:
            raise SubmissionError("no model is given", "give one, or --track for its reference")
        devices = _devices(contract, device, all_devices)
        return command(models=models, track=contract, devices=devices, **others)

    return chosen


def limited(what: str) -> Callable[[Command], Command]:
    """Adds --timeout and --memory for `what`; the command gets both as `limits`."""

    def add(command: Command) -> Command:
        @click.option(
            "--timeout",
            default=Limits.timeout,
            metavar="SECONDS",
            help=f"The longest that {what} may take.",
        )
        @click.option(
            "--memory",
            type=float,
            metavar="GIB",
            help="The most memory that it may take; default: what the machine has to spare.",
        )
        @wraps(command)
        def within(timeout: float, memory: float | None, **others: object) -> Answer:
            return command(limits=Limits.of(timeout, memory), **others)

        return within

    return add


def on_hub(
    kind: str | None, text: str = "AI Hub as qai-hub is configured, or a local one that emulates."
) -> Callable[[Command], Command]:
    """Adds --hub, which is `kind` by default."""
    return click.option(
        "--hub", type=click.Choice(["auto", "remote", "local"]), default=kind, help=text
    )


def _devices(track: Track | None, names: Sequence[str], everything: bool) -> tuple[Device, ...]:
    if everything and names:
        raise SubmissionError("--device and --all-devices are two answers", "give one of them")
    if everything:
        return all_devices()
    if names:
        return tuple(map(find_device, names))
    if track is None:
        raise SubmissionError(
            "nothing says for which device",
            "give --device NAME (`lpcvc devices` lists them), --all-devices or --track",
        )
    return (find_device(track.device),)
