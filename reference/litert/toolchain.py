"""Google's LiteRT as it is installed: what reads and runs TFLite, and what makes it of PyTorch."""

import importlib.util
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from reference.errors import SubmissionError
from reference.install import install_command

_PLATFORM = ("linux", "x86_64")


def find_litert() -> str:
    """`ai-edge-litert 2.3.0`: what reads and runs TFLite, with Qualcomm's plugin. It is not loaded.

    Raises SubmissionError where it is not installed, or does not exist for the platform.
    """
    return _find("ai-edge-litert", "TFLite", "tflite")


def find_converter() -> str:
    """`litert-torch 0.10.0`: what makes TFLite of PyTorch. As `find_litert`."""
    return _find("litert-torch", "making TFLite of PyTorch", "tflite,tflite-convert")


def has_converter() -> bool:
    """Whether PyTorch models can become TFLite here."""
    try:
        return bool(find_litert() and find_converter())
    except SubmissionError:
        return False


def _find(package: str, what: str, extra: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        machine = platform.machine().lower()
        if (sys.platform, machine) != _PLATFORM:
            raise SubmissionError(
                f"TFLite is for Linux x86_64 here, and this is {platform.system()} {machine}",
                "work on Linux x86_64, or take the model as ONNX",
            ) from None
        raise SubmissionError(
            f"{what} needs {package}, which is not installed", install_command(extra)
        ) from None


def litert_folder() -> Path:
    """Where ai-edge-litert lies."""
    found = importlib.util.find_spec("ai_edge_litert")
    assert found is not None, "find_litert comes first"
    assert found.origin is not None, "it is a package of files"
    return Path(found.origin).parent
