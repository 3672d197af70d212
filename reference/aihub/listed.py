"""The devices and frameworks that the hub lists."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from reference.npu.devices import Device, all_devices

# Of every device of this hub: there is no such device behind it.
EMULATED = "emulated:true"


@dataclass(frozen=True)
class ListedDevice:
    """A device as the client sees it."""

    device: Device
    name: str
    os: str
    attributes: tuple[str, ...]


# By what a name says: form and operating system. AI Hub lists more than is known of the others.
_FORMS = (
    (r"^Samsung|^Snapdragon 8", "phone", "android"),
    (r"^Snapdragon X", "compute", "windows"),
    (r"^SA\d", "auto", "android"),
    (r"^XR", "xr", "android"),
    (r"", "iot", "qc_linux"),
)
_OS_VERSION = {"windows": "11"}
_FRAMEWORKS = {"windows": ("onnx", "qnn")}


@cache
def listed_devices() -> tuple[ListedDevice, ...]:
    """Every device of `fixtures/devices.tsv`, by each of its names."""
    return tuple(
        _listed(device, name) for device in all_devices() for name in (device.name, *device.also)
    )


def _listed(device: Device, name: str) -> ListedDevice:
    form, system = next((f, s) for pattern, f, s in _FORMS if re.search(pattern, device.name))
    attributes = [
        f"chipset:{device.soc.lower()}",
        EMULATED,
        f"format:{form}",
        *(f"framework:{each}" for each in _FRAMEWORKS.get(system, ("onnx", "qnn", "tflite"))),
        f"hexagon:{device.hexagon}",
        f"htp-supports-fp16:{str(device.float16).lower()}",
        f"os:{system}",
        f"soc-model:{device.soc_model}",
        "vendor:qualcomm" if not name.startswith("Samsung") else "vendor:samsung",
    ]
    return ListedDevice(device, name, _OS_VERSION.get(system, ""), tuple(attributes))


def matching(name: str, os: str, attributes: Iterable[str]) -> list[ListedDevice]:
    """The devices that fit what the client asks for; an empty word fits all.

    `os` is a version, or an interval such as `[14,15)` with either end left out.
    """
    wanted = set(attributes)
    return [
        device
        for device in listed_devices()
        if name in ("", device.name) and wanted <= set(device.attributes) and _fits(device.os, os)
    ]


def _fits(version: str, asked: str) -> bool:
    interval = re.fullmatch(r"\[?([\d.]*),([\d.]*)\)?", asked)
    if not asked or interval is None:
        return asked in ("", version)
    low, high = interval.groups()
    own = _numbers(version)
    return (not low or own >= _numbers(low)) and (not high or own < _numbers(high))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part)
