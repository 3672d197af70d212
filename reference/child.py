"""The child's side of `reference.process`: answers requests, a JSON line each way, within limits.

Arrays travel as .npy files and never as pickles, so that a hostile model cannot reach the parent
through what it returns.
"""

import errno
import json
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from reference.arrays import write_npy
from reference.errors import SubmissionError, ToolError, one_line

Run = Callable[[dict[str, np.ndarray]], list[Any]]
# Takes what is being done, in words, and the share of the whole work that is behind.
Tell = Callable[[str, float], None]

OUT_OF_MEMORY = re.compile(
    r"(std::bad_alloc|failed to allocate|can't allocate memory|cannot allocate|arena alloc failed"
    r"|can't start new thread|pthread_create|failed to map segment|resource temporarily)[^\n]*",
    re.IGNORECASE,
)
LARGEST_FILE = 8 * 2**30
_LEAST_ROOM = 64 * 2**20  # for anything to be loaded at all


class Child:
    """Holds the loaded model between requests; each public method answers one kind of request."""

    def __init__(self) -> None:
        self._run: Run | None = None
        self.tell: Tell = lambda stage, share: None

    def run(self, inputs: dict[str, str], folder: str) -> dict[str, Any]:
        """One forward pass into `folder`/output_0.npy, ...; answers their number and the time."""
        assert self._run is not None, "load comes first"
        feeds = {name: np.load(path, allow_pickle=False) for name, path in inputs.items()}
        start = time.perf_counter()
        outputs = self._run(feeds)
        seconds = time.perf_counter() - start
        for index, output in enumerate(outputs):
            write_npy(Path(folder) / f"output_{index}.npy", _plain(output))
        return {"outputs": len(outputs), "seconds": seconds}

    def memory(self) -> dict[str, int | None]:
        """Answers the peak memory of this process so far, in bytes."""
        return {"peak": peak_memory()}


def _plain(output: Any) -> np.ndarray:
    """An output that .npy can hold; what ONNX has beyond tensors becomes its type's name."""
    array = np.asarray(output) if isinstance(output, np.ndarray) else np.array(str(type(output)))
    return array.astype(str) if array.dtype == object else array


def failure(error: BaseException, package: str = "") -> dict[str, str]:
    """What the parent needs to know of an exception, on one line each.

    The files below the folder `package` are the child's own, not the user's.
    """
    if isinstance(error, ToolError):
        return {"kind": "tool", "problem": error.problem, "remedy": ""}
    if isinstance(error, SubmissionError):
        return {"kind": "user", "problem": error.problem, "remedy": error.remedy}
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        problem, place = error.strerror or "", str(error.filename or "")
        return {"kind": "disk", "problem": problem, "remedy": place}
    text = one_line(f"{type(error).__name__}: {error}")
    memory = OUT_OF_MEMORY.search(str(error))
    if isinstance(error, MemoryError) or memory:
        return {"kind": "memory", "problem": memory[0] if memory else "MemoryError", "remedy": ""}
    frames = traceback.extract_tb(error.__traceback__)
    return {"kind": "model", "problem": text, "remedy": _place(frames, package)}


def _place(frames: traceback.StackSummary, package: str) -> str:
    """Where in the user's own code an exception came from, if it did."""
    cwd = os.getcwd()
    own = [
        frame
        for frame in frames
        if frame.filename.startswith(cwd)
        and "site-packages" not in frame.filename
        and not frame.filename.startswith((__file__, package or __file__))
    ]
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else ""


def peak_memory() -> int | None:
    """The peak of this process in bytes, None where the system does not tell.

    VmHWM: the peak that getrusage gives was inherited from the parent, and psutil knows that of
    Windows alone.
    """
    peak = _status("VmHWM")
    if peak is None:
        import psutil

        peak = getattr(psutil.Process().memory_info(), "peak_wset", None)
    return peak


def _status(field: str) -> int | None:
    """What /proc/self/status says, in bytes."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields[field].split()[0]) * 1024


def too_small(memory: int) -> SubmissionError | None:
    """What to say of a limit in which nothing can be loaded."""
    taken = _status("VmData") or 0  # what RLIMIT_DATA counts
    if memory >= taken + _LEAST_ROOM:
        return None
    return SubmissionError(
        f"a memory limit of {memory / 2**30:.2g} GiB is less than the"
        f" {(taken + _LEAST_ROOM) / 2**30:.2g} GiB that a process takes before it loads a model",
        "give --memory GIB with 1 or more",
    )


def set_limits(memory: int) -> None:
    """Lets an allocation beyond `memory` bytes, and a file above 8 GiB, fail (POSIX); no core."""
    try:
        import resource
    except ImportError:
        return
    for kind, limit in (
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_FSIZE, LARGEST_FILE),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (allowed, hard))


def serve(
    child: Child, requests: IO[str], answers: IO[str], refusal: SubmissionError | None = None
) -> None:
    """Answers requests until the parent closes the pipe, with `refusal` all of them."""
    module = sys.modules[type(child).__module__]
    package = str(Path(module.__file__ or "").parent)

    def write(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    child.tell = lambda stage, share: write({"stage": stage, "share": share})
    for line in requests:
        request = json.loads(line)
        try:
            if refusal is not None:
                raise refusal
            answer = getattr(child, request["do"])(**request["with"])
        except (Exception, SystemExit) as error:
            answer = {"error": failure(error, package)}
        write(answer)


def main(child: Child) -> None:
    """Entry point of a child: `python -P -m MODULE MEMORY_LIMIT_BYTES`."""
    memory = int(sys.argv[1])
    refusal = too_small(memory)
    if refusal is None:
        set_limits(memory)
    if hasattr(os, "killpg"):
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    # A model may print: what it prints goes to stderr, the protocol keeps the real stdout.
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        serve(child, sys.stdin, answers, refusal)
    sys.stderr.flush()
    os._exit(0)  # taking large runtimes apart takes longer than many a request


def _end_with(parent: int) -> None:
    """Ends this process and what it started when its parent is killed, whatever they are at."""
    while os.getppid() == parent:
        time.sleep(1)
    os.killpg(0, signal.SIGKILL)
