"""Runs a compiled TFLite file as the device would: the NPU's graphs in QAIRT's emulator, and the
rest on this host's CPU.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np

from reference.errors import SubmissionError
from reference.litert.compile import CompiledTflite, Step
from reference.litert.interpreter import Interpreter
from reference.npu.binary import write_context
from reference.npu.emulator import Context, Emulator
from reference.process import ChildError, Limits, Tick

_MOST_OPEN = 4  # processes that wait for the next pass, each with a runtime in it


class TfliteEmulator:
    """A compiled TFLite file, each step in a child process with `limits`. A context manager.

    The seconds that it takes say nothing of the device's. Raises SubmissionError for a result
    without a step for the NPU, and as `reference.npu.emulator.Emulator` and
    `reference.litert.interpreter.Interpreter` do.
    """

    def __init__(
        self,
        compiled: CompiledTflite,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        tick: Tick = lambda seconds: None,
    ) -> None:
        if compiled.failure:
            raise SubmissionError(
                f"there is nothing to emulate: {compiled.failure}", compiled.remedy
            )
        self._compiled, self._limits, self._tick = compiled, limits, tick
        self._keep = len(compiled.steps) <= _MOST_OPEN
        self._peak = 0
        self._stack = contextlib.ExitStack()
        self._open: dict[int, Emulator | Interpreter] = {}

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lpcvc-")))
            for file in {step.file for step in self._compiled.steps}:
                shutil.copyfile(self._compiled.folder / file, self._folder / file)
            if self._keep:
                for index, step in enumerate(self._compiled.steps):
                    runner = self._start(index, step)
                    stack.enter_context(runner)
                    self._open[index] = runner
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(*error)  # type: ignore[arg-type]

    def run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs by name for the inputs by name, in the file's shapes and dtypes.

        Raises ChildError as `timed_run` does.
        """
        return self.timed_run(feeds)[0]

    def timed_run(self, feeds: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], float]:
        """The outputs of `run`, and the host's seconds for them.

        Raises ChildError where the model does not take these inputs.
        """
        inputs, outputs = (self._compiled.tensors[side] for side in ("inputs", "outputs"))
        if feeds.keys() != inputs.keys():
            raise ChildError(f"the inputs are {', '.join(inputs)}, not {', '.join(feeds)}")
        tensors = {number: feeds[name] for name, number in inputs.items()}
        seconds = 0.0
        for index, step in enumerate(self._compiled.steps):
            with self._ready(index, step) as runner:
                seconds += self._pass(runner, step, tensors)
        return {name: tensors[number] for name, number in outputs.items()}, seconds

    def peak_memory(self) -> int | None:
        """The peak of the largest process so far, in bytes; None where the system does not tell."""
        peaks = [runner.peak_memory() or 0 for runner in self._open.values()]
        return max([self._peak, *peaks]) or None

    @contextlib.contextmanager
    def _ready(self, index: int, step: Step) -> Iterator[Emulator | Interpreter]:
        """What runs the step: open already, or for now."""
        if self._keep:
            yield self._open[index]
            return
        with self._start(index, step) as runner:
            yield runner
            self._peak = max(self._peak, runner.peak_memory() or 0)

    def _start(self, index: int, step: Step) -> Emulator | Interpreter:
        if step.graph is None:
            return Interpreter(self._folder / step.file, self._limits, self._tick)
        path = self._folder / f"{index}.onnx"
        context = Context(write_context(step.graph, step.file, path), self._compiled.device)
        return Emulator(context, self._limits, self._tick)

    @staticmethod
    def _pass(runner: Emulator | Interpreter, step: Step, tensors: dict[int, np.ndarray]) -> float:
        """Runs the step on its `tensors` and adds what it makes; the seconds."""
        if isinstance(runner, Interpreter):
            inputs = [(value.name, value.shape) for value in runner.network.inputs]
            outputs = [(value.name, value.shape) for value in runner.network.outputs]
        else:
            assert step.graph is not None, "the emulator runs graphs"
            inputs, outputs = (
                [(each["name"], tuple(each["shape"])) for each in step.graph[side]]
                for side in ("inputs", "outputs")
            )
        feeds = {
            name: tensors[number].reshape(shape)
            for (name, shape), number in zip(inputs, step.inputs, strict=True)
        }
        found, seconds = runner.timed_run(feeds)
        for (name, _), number in zip(outputs, step.outputs, strict=True):
            tensors[number] = found[name]
        return seconds
