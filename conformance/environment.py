"""What this machine is and has: versions of what answers depend on."""

import platform
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from reference.errors import SubmissionError
from reference.install import PROJECT
from reference.npu.toolchain import find_toolchain

_PACKAGES = ("numpy", "onnx", "onnxruntime", "onnxruntime-qnn", "opencv-python-headless", "pillow")
_OPTIONAL = ("torch", "transformers", "qai-hub")


def installed(package: str) -> str | None:
    """The version of a distribution, None where it is not installed; nothing is imported."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def pins(*extras: str) -> list[str]:
    """`name==version` of all that this project needs, with those of its `extras`, and that is
    installed, itself left out; sorted. A local version such as `+cpu` is on no index.
    """
    found: dict[str, str] = {}
    todo = [(PROJECT, frozenset(extras))]
    for name, own in todo:  # it grows
        try:
            needed = requires(name) or ()
            found[canonicalize_name(name)] = version(name).partition("+")[0]
        except PackageNotFoundError:
            continue
        for each in map(Requirement, needed):
            asked = not each.marker or any(
                each.marker.evaluate({"extra": extra}) for extra in ("", *own)
            )
            if asked and canonicalize_name(each.name) not in found:
                todo.append((each.name, frozenset(each.extras)))
    return sorted(f"{name}=={own}" for name, own in found.items() if name != PROJECT)


def environment() -> dict[str, str]:
    """Platform, interpreter, packages and Qualcomm's AI Runtime, by name."""
    found = {"platform": platform.platform(), "python": platform.python_version()}
    found |= {name: installed(name) or "not installed" for name in (*_PACKAGES, *_OPTIONAL)}
    try:
        found["QAIRT"] = find_toolchain().qairt
    except SubmissionError:
        found["QAIRT"] = "not installed"
    return found
