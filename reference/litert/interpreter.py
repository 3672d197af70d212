"""Runs a TFLite file on this host's CPU, in a child process."""

import itertools
import shutil
from pathlib import Path
from typing import Self

import numpy as np

from reference.errors import SubmissionError
from reference.litert.network import usable_network
from reference.litert.process import LiteRtProcess
from reference.process import ChildError, Limits, Tick


class Interpreter:
    """A TFLite file in LiteRT's interpreter on the CPU, in a child process with `limits`.

    A context manager. Raises SubmissionError where TFLite is not installed, for a file that cannot
    be run (`reference.litert.network.usable_network`), and where the interpreter refuses it,
    crashes on it or goes beyond `limits`.
    """

    def __init__(
        self,
        model: Path,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        tick: Tick = lambda seconds: None,
        *,
        threads: int = 0,
    ) -> None:
        self.network = usable_network(model)
        self._model, self._threads = model, threads
        self._process = LiteRtProcess(model.name, tick, limits)
        self._runs = itertools.count()
        self.runtime = ""

    def __enter__(self) -> Self:
        try:
            answer = self._process.ask(
                "load", model=str(self._model.resolve()), threads=self._threads
            )
        except (ChildError, SubmissionError) as error:
            self._process.__exit__()
            if isinstance(error, SubmissionError):
                raise
            raise SubmissionError(
                f"LiteRT does not take {self._model.name}: {error}",
                "convert it again with operators of TFLite's own",
            ) from None
        self.runtime = answer["runtime"]
        return self

    def __exit__(self, *error: object) -> None:
        self._process.__exit__(*error)

    def run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs by name for the inputs by name, in the file's shapes and dtypes.

        Raises ChildError as `timed_run` does.
        """
        return self.timed_run(feeds)[0]

    def timed_run(self, feeds: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], float]:
        """The outputs of `run`, and the host's seconds for them.

        Raises ChildError where the model does not take these inputs.
        """
        folder = self._process.scratch / str(next(self._runs))
        try:
            done = self._process.run(feeds, folder)
            names = (value.name for value in self.network.outputs)
            return dict(zip(names, map(np.array, done.outputs), strict=True)), done.seconds
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def peak_memory(self) -> int | None:
        """The peak of the interpreter's process so far, in bytes; None where nothing tells."""
        peak: int | None = self._process.ask("memory")["peak"]
        return peak
