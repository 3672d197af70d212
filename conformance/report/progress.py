"""One line that says what a long model is doing."""

import shutil
import sys
import time
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, Self

from reference.errors import one_line

if TYPE_CHECKING:
    import pytest

_QUIET_SECONDS = 2.0
_EVERY_TERMINAL, _EVERY_LOG = 0.2, 15.0


class ProgressLine:
    """Shows progress once it takes more than two seconds.

    On a terminal one line is rewritten; in a log a line appears every 15 seconds. `write` puts the
    text there, `tty` says which of the two it is. A context manager, which wipes it at the end.
    """

    def __init__(self, write: Callable[[str], None], tty: bool) -> None:
        self._write = write
        self._tty = tty
        self._shown = False
        self._next = time.monotonic() + _QUIET_SECONDS

    def __call__(self, text: str) -> None:
        """Shows `text`, or drops it where the last one is too recent."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (_EVERY_TERMINAL if self._tty else _EVERY_LOG)
        self._write(one_line(text))
        self._shown = self._tty

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def clear(self) -> None:
        """Wipes the line, so that what is printed next stands alone."""
        if self._shown:
            self._write("")
            self._shown = False


def pytest_progress(config: "pytest.Config") -> ProgressLine:
    """Progress in the terminal that pytest reports to, below what pytest has begun to write."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    capture: Any = config.pluginmanager.get_plugin("capturemanager")
    tty = reporter is not None and reporter.isatty

    def write(text: str) -> None:
        if reporter is None:
            return
        with capture.global_and_fixture_disabled():
            if not tty:
                reporter.write_line(f"  {text}")
                return
            writer = config.get_terminal_writer()
            if writer.width_of_current_line:
                writer.line()
            _rewrite(
                text, sys.stdout, writer.fullwidth
            )  # which the writer does not count as its own

    return ProgressLine(write, tty)


def _rewrite(text: str, file: IO[str], width: int) -> None:
    print(f"\r{text[: width - 1]}\x1b[K", end="", file=file, flush=True)


def stderr_progress() -> ProgressLine:
    """Progress on stderr, beside what a command prints."""
    tty = sys.stderr.isatty()

    def write(text: str) -> None:
        if tty:
            _rewrite(text, sys.stderr, shutil.get_terminal_size().columns)
        else:
            print(text, file=sys.stderr, flush=True)

    return ProgressLine(write, tty)
