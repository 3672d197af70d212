"""The devices of AI Hub that the compiler knows."""

import csv
import re
from dataclasses import dataclass
from functools import cache

from reference.closest import closest
from reference.data import fixture
from reference.errors import SubmissionError

_SUFFIX = re.compile(r"\s*\((family|proxy)\)$")


@dataclass(frozen=True)
class Device:
    """One device by its name on AI Hub; `also` are other names for it.

    `soc` is what the compiler calls the chip and `soc_model` the number that selects it
    (`Qnn_SocModel_t` of Qualcomm's QnnTypes.h). `hexagon` is the NPU's architecture, `vtcm_mb` its
    on-chip memory in MiB. Without `float16` it takes quantised models alone. `chipsets`, `os`,
    `os_version` and `form` (phone, compute, iot, auto, xr) are AI Hub's words, `os` and its version
    empty where they are not known. `marketing` is what model cards call the chip.
    """

    name: str
    also: tuple[str, ...]
    soc: str
    soc_model: int
    hexagon: str
    vtcm_mb: int
    float16: bool
    chipsets: tuple[str, ...] = ()
    os: str = ""
    os_version: str = ""
    form: str = ""
    marketing: str = ""


@dataclass(frozen=True)
class Tuning:
    """What the compiler is asked for: how much it optimises, 1 to 3, and how many MB of the chip's
    fast memory a graph may take, 0 for all.
    """

    level: int = 3
    vtcm_mb: int = 0


@cache
def all_devices() -> tuple[Device, ...]:
    """Every known device.

    `fixtures/devices.tsv`: names as AI Hub lists them; chip, architecture, memory and float16 as
    onnxruntime-qnn 2.7.0 (QAIRT 2.51) reports them when it compiles. It has no record of the
    SA8650, which is taken for the SA8255. Chipset and marketing names, systems and forms are those
    of `devices_and_chipsets.yaml` in github.com/qualcomm/ai-hub-models (commit b61a009); it has no
    system of three proxies, whose marketing names are those of the model card PidNet.
    """
    with fixture("devices.tsv").open(encoding="utf-8", newline="") as file:
        return tuple(_device(row) for row in csv.DictReader(file, delimiter="\t"))


def _device(row: dict[str, str]) -> Device:
    return Device(
        name=row["name"],
        also=_names(row["also"]),
        soc=row["soc"],
        soc_model=int(row["soc_model"]),
        hexagon=row["hexagon"],
        vtcm_mb=int(row["vtcm_mb"]),
        float16=row["float16"] == "yes",
        chipsets=_names(row["chipsets"]),
        os=row["os"],
        os_version=row["os_version"],
        form=row["form"],
        marketing=row["marketing"],
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(", ") if name)


def find_device(name: str) -> Device:
    """The device called `name`; case and a last word "(Family)" or "(Proxy)" do not matter.

    Raises SubmissionError for a device that is not known, with the closest names.
    """
    known = {_plain(n): device for device in all_devices() for n in (device.name, *device.also)}
    device = known.get(_plain(name))
    if device is None:
        close = closest(_plain(name), known, likeness=0.5)
        names = list(dict.fromkeys(known[match].name for match in close))
        near = f"the closest are {', '.join(names)}; " if names else ""
        raise SubmissionError(
            f"unknown device {name!r}", f"{near}lpcvc devices lists all {len(all_devices())}"
        )
    return device


def marketing_name(name: str) -> str:
    """What model cards call the chip of the device `name`: `Snapdragon® 8 Gen 3 Mobile`. That of a
    proxy is one too. Raises SubmissionError as `find_device` does.
    """
    chip = find_device(name).marketing
    return f"{chip} (Proxy)" if name.endswith("(Proxy)") else chip


def _plain(name: str) -> str:
    return _SUFFIX.sub("", " ".join(name.lower().split()))
