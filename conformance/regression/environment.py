"""The versions that decide what a model answers and what a compiler makes of it."""

from collections.abc import Mapping
from contextlib import suppress

from conformance.environment import installed
from reference.errors import SubmissionError
from reference.npu.toolchain import find_toolchain

_PACKAGES = ("numpy", "onnx", "onnxruntime", "onnxruntime-qnn", "torch", "transformers")


def versions() -> dict[str, str]:
    """The version of each package that is installed, of QAIRT, and what the CPU can do at best."""
    import numpy as np

    found = {name: own for name in _PACKAGES if (own := installed(name))}
    with suppress(SubmissionError):
        found["QAIRT"] = find_toolchain().qairt
    extensions = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
    return {**found, "CPU": extensions[-1] if extensions else "baseline"}


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """`onnxruntime 1.20.0 -> 1.27.0` for each that is not the same."""
    return [
        f"{name} {before.get(name, 'none')} -> {after.get(name, 'none')}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
