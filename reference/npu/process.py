"""The compiler and the emulator in a process of their own: they can crash, hang and eat memory."""

import tempfile
from pathlib import Path
from typing import Any

from reference.npu.trace import find_shortage
from reference.process import ChildError, ChildProcess, Limits, Tick

# What the compiler writes into the folder that it is given.
CONTEXT, BINARY = "model.onnx", "model_qnn.bin"
TRACE, PROFILE = "qnn_op_trace.json", "profile.csv"
SCHEDULE = "profile_qnn.log"  # its name follows from that of the profile


class NpuProcess(ChildProcess):
    """A child process that runs `reference.npu.worker`, with a `scratch` folder as its home.
    `name` is what it does.

    A context manager; the folder goes with it.
    """

    def __init__(self, name: str, tick: Tick, limits: Limits) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="lpcvc-npu-")
        self.scratch = Path(self._scratch.name)
        home = {"HOME": self._scratch.name, "XDG_CACHE_HOME": self._scratch.name}
        super().__init__(
            "reference.npu.worker", name, self.scratch, tick, limits, home, tool="QAIRT"
        )

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """The answer to one request; raises ChildError if the child raised, and SubmissionError
        where the compiler did for want of memory.
        """
        try:
            return super().ask(do, **arguments)
        except ChildError:
            self.check_memory()
            raise

    def check_memory(self) -> None:
        """Raises SubmissionError where the compiler did not get the memory that it asked for.

        It goes on without, and blames the graph.
        """
        if shortage := find_shortage(self.printed()):
            raise self.out_of_memory(shortage) from None

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._scratch.cleanup()
