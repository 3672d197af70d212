"""The compiler and the emulator in a process of their own: they can crash, hang and eat memory."""

import tempfile
from pathlib import Path

from reference.process import ChildProcess, Limits, Tick

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

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._scratch.cleanup()
