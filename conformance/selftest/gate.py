"""Runs the gate as a user does: pytest in a process of its own, from another folder."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Gate:
    """What the run gave back."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Everything that was printed, line by line, empty lines left out."""
        return [line for line in (self.out + self.err).splitlines() if line.strip()]


def outside_xdist() -> dict[str, str]:
    """The environment as it is without workers."""
    return {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST")}


def run_gate(folder: Path, *options: str, suite: str = "contract", **environment: str) -> Gate:
    """`pytest --pyargs conformance -m SUITE OPTIONS` with `folder` as working directory."""
    command = [sys.executable, "-m", "pytest", "--pyargs", "conformance", "-m", suite]
    done = subprocess.run(
        [*command, *options],
        cwd=folder,
        env={**outside_xdist(), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    return Gate(done.returncode, done.stdout, done.stderr)


def counts(gate: Gate) -> dict[str, int]:
    """The numbers of pytest's last line."""
    return {word: int(n) for n, word in re.findall(r"(\d+) (\w+)", gate.out.splitlines()[-1])}
