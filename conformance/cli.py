"""`lpcvc` on the command line.

Each file of `verbs/` is a verb. It is imported when it is asked for; until then it is the first
line of its file.
"""

import importlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import click
from click.shell_completion import CompletionItem, shell_complete

from conformance.fault import USER, guarded, own_version
from reference.closest import did_you_mean
from reference.errors import SubmissionError, printable

_COMPLETE = "_LPCVC_COMPLETE"
_SETTINGS = {
    "help_option_names": ["-h", "--help"],
    "max_content_width": 100,
    "show_default": True,
}


class _Verbs(click.Group):
    """Knows its verbs by their files alone, and takes one from its file when it is to run."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, known, rest = super().resolve_command(ctx, args)
        if known is not None:
            module = str(name).replace("-", "_")
            known = importlib.import_module(f"conformance.verbs.{module}").command
            _let_complete(known)
        return name, known, rest


class _Name(click.ParamType[str]):
    """A name out of a list, which the shell can complete; any other is the verb's to refuse."""

    name = "text"

    def __init__(self, names: Callable[[], Iterable[str]]) -> None:
        self._names = names

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Those that begin so."""
        return [CompletionItem(name) for name in self._names() if name.startswith(incomplete)]


def _tracks() -> Iterable[str]:
    from reference.registry import all_tracks, packages

    return sorted({*packages(), *all_tracks()})


def _devices() -> Iterable[str]:
    from reference.npu.devices import all_devices

    return [device.name for device in all_devices()]


_NAMES = {"track": _Name(_tracks), "device": _Name(_devices), "on_device": _Name(_devices)}


def _let_complete(command: click.Command) -> None:
    """Has the options of a verb, and of the verbs below it, know the names that they take."""
    for param in command.params:
        param.type = _NAMES.get(param.name or "", param.type)
    for below in getattr(command, "commands", {}).values():
        _let_complete(below)


def _listed() -> list[click.Command]:
    """A command without options for each file."""
    found = []
    for path in Path(__file__).with_name("verbs").glob("[!_]*.py"):
        with path.open(encoding="utf-8") as file:
            summary = file.readline().strip('"\n')
        found.append(click.Command(path.stem.replace("_", "-"), short_help=summary))
    return found


def _tell_version(context: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked:
        click.echo(f"lpcvc {own_version()}")
        context.exit()


lpcvc = _Verbs(
    "lpcvc",
    commands=_listed(),
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_tell_version,
            help="Show the version and exit.",
        )
    ],
    help="Hold models to the contract of a track; compile, estimate and score them offline.",
    context_settings=_SETTINGS,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb; 0 on success, 1 if the selftest finds something, a model does not compile
    whole, an item has no score or what is installed is broken. Otherwise one line on stderr: 2 for
    what the user can put right, 130 for Ctrl-C, 3 for a fault of this program or of a tool.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)

    def run() -> int:
        if instruction := os.environ.get(_COMPLETE):  # set by what `source` has made the shell run
            return shell_complete(lpcvc, {}, "lpcvc", _COMPLETE, instruction)
        try:
            with lpcvc.make_context("lpcvc", given) as context:
                text, code = lpcvc.invoke(context)
        except click.exceptions.Exit as done:  # --help and --version have printed
            return done.exit_code
        except click.exceptions.NoArgsIsHelpError as bare:
            text, code = bare.message, USER if bare.ctx and bare.ctx.parent else 0
        except click.UsageError as error:
            raise _mistake(error) from None
        print(printable(text), flush=True)
        return int(code)

    return guarded(run, lambda line: print(f"lpcvc: {line}", file=sys.stderr))


def _mistake(error: click.UsageError) -> SubmissionError:
    """What is wrong with the words of a command, and the closest that are right."""
    close = getattr(error, "possibilities", None)
    if close:
        return SubmissionError(error.message.rstrip("."), f"did you mean {' or '.join(close)}?")
    path = error.ctx.command_path if error.ctx else "lpcvc"
    near = ""
    if isinstance(error, click.BadParameter) and error.param is not None:
        given = re.match("'(.*)' is not one of", error.message)
        names = getattr(error.param.type, "choices", ())
        near = did_you_mean(given[1], names) if given else ""
    return SubmissionError(error.format_message().rstrip("."), near or f"see `{path} --help`")


if __name__ == "__main__":
    sys.exit(main())
