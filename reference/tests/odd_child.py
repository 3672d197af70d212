"""A child process that does what it should not, on request."""

import os
import time
from pathlib import Path
from typing import Any

from reference.child import Child, main


class OddChild(Child):
    def load(self, forged: str = "") -> dict[str, Any]:
        """A forward pass answers `forged` before it has an answer."""

        def run(feeds: dict[str, Any]) -> list[Any]:
            if forged:
                self._every_pipe(forged + "\n")
            return [feeds["x"] * 2, [1, 2]]

        self._run = run
        return {}

    def answer(self, what: str) -> dict[str, Any]:
        return {"what": what}

    def write(self, path: str, size: int) -> dict[str, Any]:
        """A sparse file of `size` bytes."""
        with Path(path).open("wb") as file:
            file.seek(size - 1)
            file.write(b"x")
        return {}

    def refuse(self, number: int, path: str) -> dict[str, Any]:
        """As the system does."""
        raise OSError(number, os.strerror(number), path)

    def take(self, size: int) -> dict[str, Any]:
        return {"taken": len(bytearray(size))}

    def limits(self) -> dict[str, Any]:
        import resource

        kinds = (resource.RLIMIT_DATA, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE)
        return {"soft": [resource.getrlimit(kind)[0] for kind in kinds]}

    def flood(self, end: str) -> dict[str, Any]:
        while True:
            self._every_pipe("x" * 2**20 + end)

    def close(self) -> dict[str, Any]:
        os.closerange(3, 30)
        time.sleep(1000)
        return {}

    def step(self, forever: bool) -> dict[str, Any]:
        """Says how far it is; `forever` without coming to an end, and in odd ways."""
        self.tell("the first half", 0.0)
        self.tell("the\nsecond half", 0.5)
        while forever:
            self.tell("again", float("nan"))
            self.tell("again", "much")  # type: ignore[arg-type]
            time.sleep(0.1)
        return {}

    def place(self) -> dict[str, Any]:
        """Where it is, and what it has."""
        import random
        import signal
        import sys

        listed = os.open("/proc/self/fd", os.O_RDONLY)
        files = sorted({int(name) for name in os.listdir(listed)} - {listed})
        os.close(listed)
        files = [file for file in files if os.path.exists(f"/proc/self/fd/{file}")]
        return {
            "pid": os.getpid(),
            "parent": os.getppid(),
            "session": os.getsid(0),
            "group": os.getpgrp(),
            "files": files,
            "folder": os.getcwd(),
            "arguments": sys.argv[1:],
            "environment": dict(os.environ),
            "handler": signal.getsignal(signal.SIGCHLD),
            "random": random.random(),
            "modules": sorted(sys.modules),
        }

    def end(self, number: int) -> dict[str, Any]:
        """By a signal."""
        os.kill(os.getpid(), number)
        time.sleep(60)
        return {}

    def finds(self, module: str) -> dict[str, Any]:
        from importlib.util import find_spec

        return {"found": find_spec(module) is not None}

    def fail(self, text: str) -> dict[str, Any]:
        raise RuntimeError(text)

    def die(self, text: str, code: int) -> dict[str, Any]:
        os.write(2, text.encode())
        os._exit(code)

    @staticmethod
    def _every_pipe(text: str) -> None:
        for fd in range(3, 30):
            if Path(f"/proc/self/fd/{fd}").exists() and "pipe" in os.readlink(
                f"/proc/self/fd/{fd}"
            ):
                os.write(fd, text.encode())


if __name__ == "__main__":
    main(OddChild())
