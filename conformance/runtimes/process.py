"""The parent's side: starts the child, sends it probes, and turns its end into an error."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reference.errors import SubmissionError, one_line

# Left to the parent, the page cache and everybody else.
_SPARE_BYTES = 512 * 2**20
_TICK_SECONDS = 0.5
_KILLED = -9  # by SIGKILL, which the signal module does not have on Windows

Tick = Callable[[float], None]


@dataclass(frozen=True)
class Limits:
    """What a model may take: `timeout` in seconds for loading it and for each forward pass, and
    `memory` in bytes, None for what the machine has to spare.
    """

    timeout: float = 600.0
    memory: int | None = None


class ModelError(Exception):
    """The model raised on one input; the child is still there."""


@dataclass(frozen=True)
class Pass:
    """One forward pass: its outputs, on disk and mapped into memory, and the host's seconds."""

    outputs: tuple[np.ndarray, ...]
    seconds: float


class ModelProcess:
    """A model in a child process of its own. A context manager.

    `tick` is called with the seconds waited, twice a second, while the child works. A crash, an
    answer that cannot be read, and whatever goes beyond `limits` are SubmissionErrors.
    """

    def __init__(self, name: str, folder: Path, tick: Tick, limits: Limits) -> None:
        self._name = name
        self._tick = tick
        self._timeout = limits.timeout
        self._limit = limits.memory or max(available_memory() - _SPARE_BYTES, _SPARE_BYTES)
        self._stderr = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed in __exit__
        self._answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "conformance.runtimes.child", str(self._limit)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> "ModelProcess":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._kill()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._stderr.close()

    def load(self, target: str, form: str) -> str:
        """Loads the model; the name and version of the runtime that took it.

        Raises SubmissionError if it cannot be loaded.
        """
        try:
            return str(self._ask("load", target=target, form=form)["runtime"])
        except ModelError as error:
            remedy = {
                "onnx": "check it with onnx.checker, or export it again",
                "factory": "make the factory run on its own first: it takes no arguments",
            }.get(form, "save it again with the PyTorch version that is installed here")
            raise SubmissionError(f"{self._name} cannot be loaded: {error}", remedy) from None

    def export(self, target: str, form: str, track: str, part: str, path: Path) -> None:
        """Writes a PyTorch model as ONNX to `path`; raises ModelError where it cannot be."""
        self._ask("export", target=target, form=form, track=track, part=part, path=str(path))

    def reference(self, track: str, folder: Path, weights: Path | None) -> dict[str, str]:
        """Writes the reference model of a track as ONNX into `folder`; the files by part.

        Raises SubmissionError where the weights or a library do not allow it.
        """
        where = str(weights) if weights else None
        try:
            answer = self._ask("reference", track=track, folder=str(folder), weights=where)
        except ModelError as error:
            raise SubmissionError(
                f"{self._name} failed: {error}", "check it with the tests of reference/"
            ) from None
        paths: dict[str, str] = answer["paths"]
        return paths

    def run(self, feeds: dict[str, np.ndarray], folder: Path) -> Pass:
        """One forward pass; raises ModelError if the model does."""
        folder.mkdir(parents=True)
        inputs = {}
        for index, (name, array) in enumerate(feeds.items()):
            path = folder / f"input_{index}.npy"
            np.save(path, array, allow_pickle=False)
            inputs[name] = str(path)
        answer = self._ask("run", inputs=inputs, folder=str(folder))
        for written in inputs.values():
            Path(written).unlink()
        try:
            files = [folder / f"output_{index}.npy" for index in range(int(answer["outputs"]))]
            outputs = [np.load(file, mmap_mode="r", allow_pickle=False) for file in files]
            return Pass(tuple(outputs), float(answer["seconds"]))
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise self._unreadable(error) from None

    def _ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the answer that never comes says more
            self._process.stdin.write(json.dumps({"do": do, "with": arguments}) + "\n")
            self._process.stdin.flush()
        line = self._wait()
        if line is None:
            raise self._death()
        try:
            answer: dict[str, Any] = json.loads(line)
            error = answer.get("error")
        except (ValueError, AttributeError) as fault:
            raise self._unreadable(fault) from None
        if error is None:
            return answer
        if error["kind"] == "user":
            raise SubmissionError(error["problem"], error["remedy"])
        if error["kind"] == "memory":
            raise self._memory(error["problem"])
        place = f" ({error['remedy']})" if error["remedy"] else ""
        raise ModelError(error["problem"] + place)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError):  # closed while reading
            for line in self._process.stdout:
                self._answers.put(line)
        self._answers.put(None)

    def _wait(self) -> str | None:
        start = time.monotonic()
        while True:
            try:
                return self._answers.get(timeout=_TICK_SECONDS)
            except queue.Empty:
                waited = time.monotonic() - start
                self._tick(waited)
                if waited > self._timeout:
                    self._kill()
                    raise SubmissionError(
                        f"{self._name} gave no answer for {self._timeout:.0f} s and was stopped",
                        "see where it hangs, or allow it more with --timeout SECONDS",
                    ) from None

    def _kill(self) -> None:
        """Ends the child and whatever it started."""
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()

    def _death(self) -> SubmissionError:
        code = self._process.wait()
        if code == _KILLED:
            return self._memory("the system killed it")
        self._stderr.seek(0)
        tail = one_line(self._stderr.read().decode(errors="replace")[-300:])
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return SubmissionError(
            f"{self._name} crashed its runtime ({how}): {tail or 'nothing was printed'}",
            "run it by hand in a process of its own; a crash here is a crash for the organisers",
        )

    def _unreadable(self, error: Exception) -> SubmissionError:
        return SubmissionError(
            f"{self._name} gave an answer that cannot be read ({error})",
            "leave the process that the model runs in alone",
        )

    def _memory(self, how: str) -> SubmissionError:
        return SubmissionError(
            f"{self._name} needs more memory than its limit of {self._limit / 2**30:.1f} GiB"
            f" ({how})",
            "make the model smaller, or allow it more with --memory GIB if the machine has it",
        )


def available_memory() -> int:
    """The bytes that a process may still take: the system's, or the container's if that is less."""
    candidates = [
        _meminfo_available(),
        _cgroup_room("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        _cgroup_room(
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        ),
    ]
    known = [value for value in candidates if value is not None]
    return min(known, default=2**40)


def _meminfo_available() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in fields else None


def _cgroup_room(limit: str, usage: str) -> int | None:
    try:
        return int(Path(limit).read_text()) - int(Path(usage).read_text())
    except (OSError, ValueError):  # no such controller, or "max"
        return None
