"""The compiler and emulator that are installed: onnxruntime-qnn with Qualcomm's libraries."""

import importlib
import platform
import sys
from dataclasses import dataclass

from reference.errors import SubmissionError
from reference.install import install_command


@dataclass(frozen=True)
class Toolchain:
    """Versions: of the Python package, and of Qualcomm's AI Runtime (QAIRT) inside it."""

    onnxruntime_qnn: str
    qairt: str

    def __str__(self) -> str:
        return f"onnxruntime-qnn {self.onnxruntime_qnn}, QAIRT {self.qairt}"


def find_toolchain() -> Toolchain:
    """The installed toolchain; its libraries are not loaded.

    Raises SubmissionError where it is not installed, or does not exist for the platform.
    """
    try:
        package = importlib.import_module("onnxruntime_qnn")
    except ImportError:
        machine = platform.machine().lower()
        if sys.platform != "win32" and (sys.platform, machine) != ("linux", "x86_64"):
            raise SubmissionError(
                f"Qualcomm's NPU compiler does not exist for {platform.system()} {machine}",
                "compile on Linux x86_64 or on Windows",
            ) from None
        raise SubmissionError(
            "Qualcomm's NPU compiler, onnxruntime-qnn, is not installed",
            install_command("npu"),
        ) from None
    return Toolchain(package.__version__, package.build_and_package_info.qnn_version)
