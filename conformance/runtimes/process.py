"""The parent's side: starts the child, sends it probes, and turns its end into an error."""

import contextlib
import json
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


class ModelError(Exception):
    """The model raised on one input; the child is still there."""


@dataclass(frozen=True)
class Pass:
    """One forward pass: its outputs, on disk and mapped into memory, and the host's seconds."""

    outputs: tuple[np.ndarray, ...]
    seconds: float


class ModelProcess:
    """A model in a child process of its own. A context manager.

    `tick` is called with the seconds waited, twice a second, while the child works. `timeout` is
    in seconds and holds for one request.
    """

    def __init__(self, name: str, folder: Path, tick: Tick, timeout: float = 1800.0) -> None:
        self._name = name
        self._folder = folder
        self._tick = tick
        self._timeout = timeout
        self._limit = max(available_memory() - _SPARE_BYTES, _SPARE_BYTES)
        self._stderr = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed in __exit__
        self._answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "conformance.runtimes.child", str(self._limit)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
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
            self._process.kill()
            self._process.wait()
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
        outputs = [np.load(p, mmap_mode="r", allow_pickle=False) for p in answer["outputs"]]
        return Pass(tuple(outputs), float(answer["seconds"]))

    def _ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the answer that never comes says more
            self._process.stdin.write(json.dumps({"do": do, "with": arguments}) + "\n")
            self._process.stdin.flush()
        line = self._wait()
        if line is None:
            raise self._death()
        answer: dict[str, Any] = json.loads(line)
        error = answer.get("error")
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
                    self._process.kill()
                    raise SubmissionError(
                        f"{self._name} gave no answer for {self._timeout:.0f} s and was stopped",
                        "run it by hand on one input and see where it hangs",
                    ) from None

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

    def _memory(self, how: str) -> SubmissionError:
        return SubmissionError(
            f"{self._name} needs more memory than the {self._limit / 2**30:.1f} GiB there is"
            f" ({how})",
            "make the model smaller or check it on a machine with more memory",
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
