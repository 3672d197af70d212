"""Foreign code in a process of its own: a child with limits, and its end turned into an error."""

import contextlib
import errno
import json
import math
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import numpy as np

from reference.arrays import read_npy, write_npy
from reference.cache import default_folder
from reference.child import OUT_OF_MEMORY
from reference.errors import SubmissionError, ToolError, one_line
from reference.forks import Process, start

# Left to the parent, the page cache and everybody else.
_SPARE_BYTES = 512 * 2**20
_ROOM = 2**30  # a disk that has it is not full
_TICK_SECONDS = 0.5
_LOG_BYTES, _TRANSCRIPT_BYTES = 64 * 2**20, 2**20
_LONGEST_ANSWER, _MOST_ANSWERS = 2**26, 16  # in characters; that wait to be read
_LAST_SECONDS = 5  # for a child to end in when its pipe is closed
_STAGE = '{"stage": '  # begins a line that is no answer yet
_KILLED = -9  # by SIGKILL, which the signal module does not have on Windows
# What reading an answer raises that was forged, or whose files are not yet whole.
_FORGED = (
    AttributeError,
    KeyError,
    OSError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
)

Tick = Callable[[float], None]

_transcript: ContextVar[IO[str] | None] = ContextVar("transcript", default=None)


@contextlib.contextmanager
def transcript(file: IO[str]) -> Iterator[None]:
    """What children that end within the block have printed goes to `file`, each under its name."""
    before = _transcript.set(file)
    try:
        yield
    finally:
        _transcript.reset(before)


@dataclass(frozen=True)
class Limits:
    """What a model may take: `timeout` in seconds for loading it and for each forward pass, and
    `memory` in bytes, None for what the machine has to spare.
    """

    timeout: float = 600.0
    memory: int | None = None

    @classmethod
    def of(cls, timeout: float | None, gibibytes: float | None) -> "Limits":
        """What --timeout SECONDS and --memory GIB say, None for what is not given.

        Raises SubmissionError for what is no amount of either.
        """
        for option, given in (("--timeout", timeout), ("--memory", gibibytes)):
            if given is not None and not 0 < given < math.inf:
                raise SubmissionError(f"{option} {given:g} allows nothing", "give a number above 0")
        memory = None if gibibytes is None else int(gibibytes * 2**30)
        return cls(cls.timeout if timeout is None else timeout, memory)


class ChildError(Exception):
    """The child raised on one request, such as the model on one input; it is still there."""


@dataclass(frozen=True)
class Pass:
    """One forward pass: its outputs, on disk and mapped into memory, and the host's seconds."""

    outputs: tuple[np.ndarray, ...]
    seconds: float


@dataclass(frozen=True)
class Stage:
    """What a child is at: the `share` of its work that was behind it after `reached` seconds."""

    name: str
    share: float
    reached: float

    def told(self, seconds: float) -> str:
        """`exporting text, 67 %, about 9 s left`, after so many seconds."""
        text = f"{self.name}, {100 * self.share:.0f} %"
        if not self.share:
            return text
        return f"{text}, about {max(self.reached / self.share - seconds, 1):.0f} s left"


class ChildProcess:
    """A child process that answers requests. A context manager.

    `module` is what it runs, with `reference.child.main`; `name` is what messages call it: the
    model that runs in it or, where a `tool` works on one, what the tool does.
    `tick` is called with the seconds waited, twice a second, while the child works. A crash, an
    answer that cannot be read, and whatever goes beyond `limits` are SubmissionErrors. `stage` is
    what it says that it is at, if it does.
    `environment` is added to the parent's; what the child imports of `ahead`, a module's name, may
    be there when it begins. A tool's crash is a ToolError.
    """

    def __init__(
        self,
        module: str,
        name: str,
        folder: Path,
        tick: Tick,
        limits: Limits,
        environment: Mapping[str, str] | None = None,
        *,
        tool: str = "",
        ahead: str = "",
    ) -> None:
        self.name = name
        self.stage: Stage | None = None
        self._tool = tool
        self._folder = folder
        self._tick = tick
        self._timeout = limits.timeout
        spare = max(available_memory() - _SPARE_BYTES, _SPARE_BYTES)
        self._limit = spare if limits.memory is None else limits.memory
        # Appending: reading it does not move the place where the child writes.
        self._stderr = tempfile.TemporaryFile("a+b", dir=folder)  # noqa: SIM115 - see __exit__
        self._answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        # Threads that spin while they wait take the cores from each other.
        own = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, **(environment or {})}
        self._process = start([module, str(self._limit)], self._stderr, own, ahead)
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object = None, *_: object) -> None:
        if kind is KeyboardInterrupt:
            end_tree(self._process)
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        try:
            self._process.wait(timeout=_LAST_SECONDS)
        except subprocess.TimeoutExpired:
            end_tree(self._process)
        assert self._process.stdout is not None
        self._process.stdout.close()
        if file := _transcript.get():
            print(f"[{self.name}]\n{self.printed(_TRANSCRIPT_BYTES)}", file=file, flush=True)
        self._stderr.close()

    def run(self, feeds: dict[str, np.ndarray], folder: Path) -> Pass:
        """One forward pass; raises ChildError if the model does, and OSError for a full disk."""
        folder.mkdir(parents=True)
        inputs = {}
        for index, (name, array) in enumerate(feeds.items()):
            path = folder / f"input_{index}.npy"
            write_npy(path, array)
            inputs[name] = str(path)
        answer = self.ask("run", inputs=inputs, folder=str(folder))
        for written in inputs.values():
            Path(written).unlink()
        with self.reading():
            count = int(answer["outputs"])
            outputs = [read_npy(folder / f"output_{index}.npy") for index in range(count)]
            return Pass(tuple(outputs), float(answer["seconds"]))

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """The answer to one request; raises ChildError if the child raised, but OSError where that
        was for a disk that is full.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the answer that never comes says more
            self._process.stdin.write(json.dumps({"do": do, "with": arguments}) + "\n")
            self._process.stdin.flush()
        line = self._wait()
        if line is None:
            raise self._death()
        with self.reading():
            answer: dict[str, Any] = json.loads(line)
            error = answer.get("error")
            if error is None:
                return answer
            kind, problem, remedy = (str(error[field]) for field in ("kind", "problem", "remedy"))
        if kind == "user":
            raise SubmissionError(problem, remedy)
        if kind == "tool":
            raise ToolError(problem)
        if kind == "memory":
            raise self.out_of_memory(problem)
        if kind == "disk" and any(map(_is_full, (self._folder, default_folder()))):
            raise OSError(errno.ENOSPC, problem, remedy or None)
        raise ChildError(problem + (f" ({remedy})" if remedy else ""))

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """What fails within the block, as it reads an answer, is a SubmissionError that says so.

        The model's own code runs beside what answers, and can write there too.
        """
        try:
            yield
        except _FORGED as error:
            if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
                raise  # too many files are open here
            raise self._unreadable(f"{type(error).__name__}: {error}") from None

    @property
    def alive(self) -> bool:
        """Whether it can still answer."""
        return self._process.poll() is None

    def out_of_memory(self, how: str) -> SubmissionError:
        """What to say of a child that did not get the memory that it asked for."""
        return SubmissionError(
            f"{self.name} needs more memory than its limit of {self._limit / 2**30:.1f} GiB"
            f" ({how})",
            "make the model smaller, or allow it more with --memory GIB if the machine has it",
        )

    def printed(self, last: int = _LOG_BYTES) -> str:
        """The end of what the child has printed so far, at most `last` bytes."""
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(size - last, 0))
        return self._stderr.read(last).decode(errors="replace")

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError):  # closed while reading
            # One answer a request: whoever writes more, or without end, is heard no longer.
            while line := self._process.stdout.readline(_LONGEST_ANSWER):
                self._answers.put(line)
                if not line.endswith("\n") or self._answers.qsize() > _MOST_ANSWERS:
                    break
        self._answers.put(None)

    def _wait(self) -> str | None:
        start = time.monotonic()
        while True:
            line: str | None = ""
            with contextlib.suppress(queue.Empty):
                line = self._answers.get(timeout=_TICK_SECONDS)
            waited = time.monotonic() - start
            if line and line.startswith(_STAGE):
                self.stage = _stage(line, waited)
            elif line != "":
                return line
            self._tick(waited)
            if waited > self._timeout:
                end_tree(self._process)
                raise SubmissionError(
                    f"{self.name} gave no answer for {self._timeout:.0f} s and was stopped",
                    "see where it hangs, or allow it more with --timeout SECONDS",
                )

    def _death(self) -> SubmissionError:
        try:
            code = self._process.wait(timeout=_LAST_SECONDS)
        except subprocess.TimeoutExpired:
            end_tree(self._process)
            return self._unreadable("none, and its pipe is closed")
        if code == _KILLED:
            return self.out_of_memory("the system killed it")
        tail = one_line(self.printed(300))
        memory = OUT_OF_MEMORY.search(tail)
        if memory:
            return self.out_of_memory(memory[0])
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        said = tail or "nothing was printed"
        if self._tool:
            return ToolError(f"{self._tool} crashed while {self.name} ({how}): {said}")
        return SubmissionError(
            f"{self.name} crashed its runtime ({how}): {said}",
            "run it by hand in a process of its own; a crash here is a crash for the organisers",
        )

    def _unreadable(self, error: str) -> SubmissionError:
        if self._tool:
            return ToolError(f"{self._tool} gave no readable answer while {self.name} ({error})")
        return SubmissionError(
            f"{self.name} gave an answer that cannot be read ({error})",
            "leave the process that the model runs in alone",
        )


def _stage(line: str, waited: float) -> Stage | None:
    """None for one that cannot be read: the model, which may be hostile, can write there too."""
    try:
        told = json.loads(line)
        share = float(told["share"])
        return Stage(one_line(str(told["stage"]), 80), share, waited) if 0 <= share <= 1 else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def end_tree(process: Process) -> None:
    """Kills a process, what it started and, where it leads a group (POSIX), what is left of that.

    Returns when the process itself has ended.
    """
    import psutil

    family = []
    with contextlib.suppress(psutil.Error):
        if process.poll() is None:
            family = psutil.Process(process.pid).children(recursive=True)
    if hasattr(os, "killpg"):  # also what lost its parent
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    for member in family:
        with contextlib.suppress(psutil.Error):
            member.kill()
    process.wait()


def _is_full(place: Path) -> bool:
    """Whether the disk of a folder has as little room as a child says, which may be hostile."""
    with contextlib.suppress(OSError):
        return shutil.disk_usage(place).free < _ROOM
    return False


def available_memory() -> int:
    """The bytes that a process may still take: the system's, or the container's if that is less."""
    import psutil

    v1, v2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    rooms = (
        _cgroup_room(v2 / "memory.max", v2 / "memory.current"),
        _cgroup_room(v1 / "memory.limit_in_bytes", v1 / "memory.usage_in_bytes"),
    )
    return int(min(psutil.virtual_memory().available, *rooms))


def _cgroup_room(limit: Path, usage: Path) -> float:
    try:
        return int(limit.read_text()) - int(usage.read_text())
    except (OSError, ValueError):  # no such controller, or "max"
        return math.inf
