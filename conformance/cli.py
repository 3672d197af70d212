"""`lpcvc` on the command line.

Each file of `verbs/` is a verb. It is imported when it is asked for; until then it is the first
line of its file.
"""

import importlib
import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from conformance.fault import USER, guarded, own_version
from reference.closest import did_you_mean
from reference.errors import SubmissionError, printable

_COMPLETE = "_LPCVC_COMPLETE"
_OWN_SETTINGS = {"gate"}  # pytest reads them for it
_WIDEST = 100  # columns of help
_SETTINGS = {
    "help_option_names": ["-h", "--help"],
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
            if _COMPLETE in os.environ:
                from conformance.completion import let_complete

                let_complete(known)
            if name not in _OWN_SETTINGS:
                _settle(known)
        return name, known, rest


class _Settled(click.Context):
    """Options that nobody has typed are those of the settings."""

    def lookup_default(self, name: str, call: bool = True) -> Any:
        """What the settings say of a parameter, None where they say nothing."""
        if not call or self.resilient_parsing or name not in _SETTABLE:
            return super().lookup_default(name, call=call)  # type: ignore[call-overload]
        return _setting(self, name)


# Parameters of verbs, by the setting that each takes, and what says that it is not wanted.
_SETTABLE = {
    "track": ("track", ""),
    "models": ("submission", "weights"),
    "submission": ("submission", "weights"),
    "device": ("device", "all_devices"),
    "strict": ("strict", ""),
}


def _setting(context: click.Context, name: str) -> Any:
    from conformance.settings import find_settings

    setting, instead = _SETTABLE[name]
    if context.params.get(instead):  # what is typed comes first
        return None
    settings = find_settings(Path.cwd())
    found = getattr(settings, setting)
    if not found or isinstance(found, bool):
        return found or None
    (param,) = (param for param in context.command.params if param.name == name)
    if getattr(param, "multiple", False) or param.nargs == -1:
        return found
    if len(found) > 1:
        raise SubmissionError(
            f"{settings.file} has {len(found)} for {setting}, and {context.command_path} takes one",
            f"give --{name}",
        )
    return found[0]


def _settle(command: click.Command) -> None:
    """Has a verb, and the verbs below it, read the settings."""
    command.context_class = _Settled
    for below in getattr(command, "commands", {}).values():
        _settle(below)


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
        if os.environ.get(_COMPLETE):  # set by what `source` has made the shell run
            from conformance.completion import complete

            return complete(lpcvc, _COMPLETE)
        try:
            with lpcvc.make_context("lpcvc", given, terminal_width=_room()) as context:
                text, code = lpcvc.invoke(context)
        except click.exceptions.Exit as done:  # --help and --version have printed
            return done.exit_code
        except click.exceptions.NoArgsIsHelpError as bare:
            text, code = bare.message, USER if bare.ctx and bare.ctx.parent else 0
        except click.UsageError as error:
            raise _mistake(error) from None
        print(_fitted(printable(text)), flush=True)
        return int(code)

    return guarded(run, lambda line: print(f"lpcvc: {line}", file=sys.stderr))


def _room() -> int:
    """Columns for help; click takes 50 at least, and cuts words in a terminal that has fewer."""
    return min(max(shutil.get_terminal_size().columns, 32), _WIDEST) - 2


def _fitted(text: str) -> str:
    """What a verb says as wide as the terminal, if it is for one; a document stays as it is."""
    if not sys.stdout.isatty() or text.startswith(("{", "[")):
        return text
    from conformance.report.columns import fitted

    return fitted(text, shutil.get_terminal_size().columns)


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
