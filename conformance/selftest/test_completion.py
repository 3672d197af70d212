"""What a shell makes of a Tab: Bash, zsh and fish themselves, each in a terminal."""

import os
import re
import select
import shutil
import sys
import time
from pathlib import Path

import pytest

from conformance.cli import main

pty = pytest.importorskip("pty", reason="a terminal of its own is POSIX's")

SHELLS = {
    "bash": (
        ["bash", "--norc", "--noprofile", "-i"],
        'eval "$(_LPCVC_COMPLETE=bash_source lpcvc)"',
    ),
    "zsh": (
        ["zsh", "-f", "-i"],
        'autoload -U compinit; compinit -u -D; eval "$(_LPCVC_COMPLETE=zsh_source lpcvc)"',
    ),
    "fish": (
        ["fish", "--no-config", "-i"],
        "_LPCVC_COMPLETE=fish_source lpcvc | source",
    ),
}
# Answers to the shell as lpcvc does, and else shows the words that it got.
SCRIPT = f"""#!/bin/sh
[ -n "$_LPCVC_COMPLETE" ] && exec {sys.executable} -m conformance.cli "$@"
printf '<%s>' "$@"; echo .
"""
SECONDS = 60.0


class Terminal:
    """A shell with a terminal; `read` waits for a pattern in what it shows from now on."""

    def __init__(self, command: list[str], folder: Path) -> None:
        own = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "TERM": "xterm"}
        self._pid, self._file = pty.fork()
        if self._pid == 0:
            os.chdir(folder)
            os.execvpe(command[0], command, {**os.environ, **own, "HOME": str(folder)})

    def type(self, text: str) -> None:
        os.write(self._file, text.encode())

    def read(self, pattern: str) -> str:
        seen, end = b"", time.monotonic() + SECONDS
        while time.monotonic() < end:
            if select.select([self._file], [], [], 0.2)[0]:
                seen += os.read(self._file, 65536)
                if found := re.search(pattern, seen.decode(errors="replace")):
                    return found[0]
        raise AssertionError(f"no {pattern!r} in {seen!r}")

    def close(self) -> None:
        os.close(self._file)  # which hangs up on it
        os.waitpid(self._pid, 0)


@pytest.mark.parametrize(
    "shell",
    [
        pytest.param(name, marks=pytest.mark.skipif(not shutil.which(name), reason="no such shell"))
        for name in SHELLS
    ],
)
def test_names_with_spaces_are_one_word(shell: str, tmp_path: Path) -> None:
    """Whether a quote was begun, or backslashes, or nothing."""
    script = tmp_path / "lpcvc"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    command, setup = SHELLS[shell]
    terminal = Terminal(command, tmp_path)
    try:
        terminal.type(f"{setup}; echo rea''dy\n")
        terminal.read(r"ready\r?\n")
        for begun in ("XR", '"XR2 G', "XR2\\ Gen\\ 2\\ \\(Pr"):
            terminal.type(f"lpcvc compile --device {begun}\t")
            terminal.read(r"\(?Proxy\\?\)|roxy\\?\)")
            terminal.type("\n")
            shown = terminal.read(r"(?:<[^<>\r\n]+>){3}\.")
            assert shown == "<compile><--device><XR2 Gen 2 (Proxy)>."
    finally:
        terminal.close()


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_is_told_how_to_ask(shell: str, monkeypatch, capsys) -> None:
    monkeypatch.setenv("_LPCVC_COMPLETE", f"{shell}_source")
    assert main([]) == 0
    assert f"_LPCVC_COMPLETE={shell}_complete" in capsys.readouterr().out
