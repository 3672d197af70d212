"""What the shell completes: names of tracks and devices too, in words that it takes as they are."""

import os
from collections.abc import Callable, Iterable
from typing import ClassVar

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    shell_complete,
)

# As click's, but names keep their backslashes, and Bash quotes those that have spaces.
_BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' type value line
    for line in $(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD \
%(complete_var)s=bash_complete $1); do
        IFS=',' read -r type value <<< "$line"
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain)
                COMPREPLY+=("$value")
                [[ $value == *[[:space:]]* ]] && compopt -o filenames ;;
        esac
    done
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class _Bash(BashComplete):
    source_template: ClassVar[str] = _BASH


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


def let_complete(command: click.Command) -> None:
    """Has the options of a verb, and of the verbs below it, know the names that they take."""
    for param in command.params:
        param.type = _NAMES.get(param.name or "", param.type)
    for below in getattr(command, "commands", {}).values():
        let_complete(below)


def complete(command: click.Command, variable: str) -> int:
    """Answers to the shell, which asks by `variable`; the exit code."""
    add_completion_class(_Bash)
    return shell_complete(command, {}, "lpcvc", variable, os.environ[variable])
