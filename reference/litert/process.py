"""LiteRT in a process of its own: it can crash, hang and eat memory."""

import tempfile
from pathlib import Path

from reference.process import ChildProcess, Limits, Tick


class LiteRtProcess(ChildProcess):
    """A child process that runs `reference.litert.worker`, with a `scratch` folder as its home.

    `name` is the model that it runs or, with a `tool`, what the tool does. A context manager; the
    folder goes with it.
    """

    def __init__(self, name: str, tick: Tick, limits: Limits, *, tool: str = "") -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="lpcvc-litert-")
        self.scratch = Path(self._scratch.name)
        home = {"HOME": self._scratch.name, "XDG_CACHE_HOME": self._scratch.name}
        super().__init__(
            "reference.litert.worker", name, self.scratch, tick, limits, home, tool=tool
        )

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._scratch.cleanup()
