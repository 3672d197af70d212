"""What this machine is and has: versions of what answers depend on."""

import platform
from importlib.metadata import PackageNotFoundError, version

from reference.errors import SubmissionError
from reference.npu.toolchain import find_toolchain

_PACKAGES = ("numpy", "onnx", "onnxruntime", "onnxruntime-qnn", "opencv-python-headless", "pillow")
_OPTIONAL = ("torch", "transformers", "qai-hub")


def installed(package: str) -> str | None:
    """The version of a distribution, None where it is not installed; nothing is imported."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def environment() -> dict[str, str]:
    """Platform, interpreter, packages and Qualcomm's AI Runtime, by name."""
    found = {"platform": platform.platform(), "python": platform.python_version()}
    found |= {name: installed(name) or "not installed" for name in (*_PACKAGES, *_OPTIONAL)}
    try:
        found["QAIRT"] = find_toolchain().qairt
    except SubmissionError:
        found["QAIRT"] = "not installed"
    return found
