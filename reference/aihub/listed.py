"""The devices and frameworks that the hub lists."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from reference.errors import SubmissionError
from reference.npu.devices import Device, all_devices, find_device

# Of every device of this hub: there is no such device behind it.
EMULATED = "emulated:true"
# What the reason of a failure begins with where the job is not to blame.
FAULT = "a fault of this hub, not of the job"
_FIRST_MINOR = 20


@dataclass(frozen=True)
class ListedDevice:
    """A device as the client sees it."""

    device: Device
    name: str
    os: str
    attributes: tuple[str, ...]


@cache
def listed_devices() -> tuple[ListedDevice, ...]:
    """Every device of `fixtures/devices.tsv`, by each of its names."""
    return tuple(
        _listed(device, name) for device in all_devices() for name in (device.name, *device.also)
    )


def _listed(device: Device, name: str) -> ListedDevice:
    frameworks = ("onnx", "qnn") if device.os == "windows" else ("onnx", "qnn", "tflite")
    attributes = [
        *(f"chipset:{chipset}" for chipset in device.chipsets),
        EMULATED,
        f"format:{device.form}",
        *(f"framework:{framework}" for framework in frameworks),
        f"hexagon:{device.hexagon}",
        f"htp-supports-fp16:{str(device.float16).lower()}",
        *([f"os:{device.os}"] if device.os else []),
        f"soc-model:{device.soc_model}",
        "vendor:samsung" if name.startswith("Samsung") else "vendor:qualcomm",
    ]
    return ListedDevice(device, name, device.os_version, tuple(attributes))


def qairt_versions(here: str) -> list[str]:
    """`2.51`, `2.50`, ...: what AI Hub calls the version `here` and those before it, back to 2.20.

    Clients look a version up before they ask for it: qai-hub-models 0.65 wants 2.50.
    """
    major, minor = (int(number) for number in here.split(".")[:2])
    return [f"{major}.{number}" for number in range(minor, min(minor, _FIRST_MINOR) - 1, -1)]


def matching(name: str, os: str, attributes: Iterable[str]) -> list[ListedDevice]:
    """The devices that fit what the client asks for; an empty word fits all.

    A name that is not listed, such as "Samsung Galaxy S24 (Family)", is looked for as
    `find_device` does. `os` is a version, or an interval such as `[14,15)` with either end left
    out.
    """
    wanted = set(attributes)
    return [
        device
        for device in _called(name)
        if wanted <= set(device.attributes) and _fits(device.os, os)
    ]


def _called(name: str) -> list[ListedDevice]:
    called = [device for device in listed_devices() if name in ("", device.name)]
    if called:
        return called
    try:
        known = find_device(name)
    except SubmissionError:
        return []
    return [device for device in listed_devices() if device.name == known.name]


def _fits(version: str, asked: str) -> bool:
    interval = re.fullmatch(r"\[?([0-9.]{0,40}),([0-9.]{0,40})\)?", asked)
    if not asked or interval is None:
        return asked in ("", version)
    low, high = interval.groups()
    own = _numbers(version)  # none where it is not known
    return bool(own) and own >= _numbers(low) and (not high or own < _numbers(high))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part)
