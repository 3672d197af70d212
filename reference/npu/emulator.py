"""Runs a compiled model as the NPU would, bit for bit the compiler's emulation, on the host."""

import itertools
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from reference.errors import SubmissionError, one_line
from reference.npu.compile import Compiled
from reference.npu.devices import Device
from reference.npu.process import NpuProcess
from reference.process import ChildError, Limits, Tick

_ERROR = re.compile(r"::ERROR:\s*((?!Thread:).*)")


@dataclass(frozen=True)
class Context:
    """A context binary for `device`, beside the ONNX file `context` that stands for it."""

    context: Path
    device: Device


class Emulator:
    """A compiled model in the emulator, in a child process with `limits`. A context manager.

    The emulator computes in the NPU's float16 and integers, a thousand times slower than the
    device: the seconds that it takes say nothing of the device's. Its ways are not those of the
    CPU: 1.0 can come back as 1.0000001, 0/0 is 0, and so is what GatherElements finds at a negative
    index or at one beyond the end.

    Raises SubmissionError for a result without context binary, one that cannot be loaded, and where
    the emulator crashes or goes beyond `limits`.
    """

    def __init__(
        self,
        compiled: Compiled | Context,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        tick: Tick = lambda seconds: None,
    ) -> None:
        if isinstance(compiled, Compiled) and compiled.failure:
            raise SubmissionError(
                f"there is nothing to emulate: {compiled.failure}", compiled.remedy
            )
        self._compiled = compiled
        self._process = NpuProcess("emulating the model", tick, limits)
        self._runs = itertools.count()
        self._outputs: list[str] = []
        self._errors = 0

    def __enter__(self) -> Self:
        compiled = self._compiled
        try:
            answer = self._process.ask(
                "load", context=str(compiled.context), soc_model=compiled.device.soc_model
            )
        except (ChildError, SubmissionError) as error:
            self._process.__exit__()
            if isinstance(error, SubmissionError):
                raise
            problem = f"the context binary cannot be loaded: {error}"
            raise SubmissionError(
                problem, "allow it more with --memory GIB, or delete it and compile again"
            ) from None
        self._outputs = answer["outputs"]
        return self

    def __exit__(self, *error: object) -> None:
        self._process.__exit__(*error)

    def run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs by name for the inputs by name; shapes and dtypes are the ONNX model's.

        Raises ChildError as `timed_run` does.
        """
        return self.timed_run(feeds)[0]

    def peak_memory(self) -> int | None:
        """The peak of the emulator's process so far, in bytes; None where the system does not tell.

        It holds the whole toolchain: a device needs far less.
        """
        peak: int | None = self._process.ask("memory")["peak"]
        return peak

    def timed_run(self, feeds: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], float]:
        """The outputs of `run`, and the host's seconds for them.

        Raises ChildError where the model does not take these inputs, with what the emulator says of
        them, such as an index beyond a table.
        """
        folder = self._process.scratch / str(next(self._runs))
        try:
            done = self._process.run(feeds, folder)
            outputs = zip(self._outputs, map(np.array, done.outputs), strict=True)
            return dict(outputs), done.seconds
        except ChildError as error:
            said = _ERROR.findall(self._process.printed())
            new, self._errors = said[self._errors :], len(said)
            raise ChildError(one_line("; ".join([*dict.fromkeys(new), str(error)]))) from None
        finally:
            shutil.rmtree(folder, ignore_errors=True)
