"""One line that says what a long model is doing."""

import time
from typing import Any

import pytest

_QUIET_SECONDS = 2.0
_EVERY_TERMINAL, _EVERY_LOG = 0.2, 15.0


class ProgressLine:
    """Shows progress once it takes more than two seconds.

    On a terminal one line is rewritten; in a log a line appears every 15 seconds.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
        self._capture: Any = config.pluginmanager.get_plugin("capturemanager")
        self._tty = self._reporter is not None and self._reporter.isatty
        self._shown = False
        self._next = time.monotonic() + _QUIET_SECONDS

    def __call__(self, text: str) -> None:
        """Shows `text`, or drops it where the last one is too recent."""
        now = time.monotonic()
        if self._reporter is None or now < self._next:
            return
        self._next = now + (_EVERY_TERMINAL if self._tty else _EVERY_LOG)
        self._write(text)
        self._shown = self._tty

    def clear(self) -> None:
        """Wipes the line, so that what pytest prints next stands alone."""
        if self._shown:
            self._write("")
            self._shown = False

    def _write(self, text: str) -> None:
        with self._capture.global_and_fixture_disabled():
            if self._tty:
                self._reporter.rewrite(text[: self._reporter._screen_width - 1], erase=True)
            else:
                self._reporter.write_line(f"  {text}")
