"""The calibration of the latency estimate: from what the compiler simulates to milliseconds on a
device, as fitted to published latencies (`fixtures/latency`).
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from reference.data import fixture
from reference.npu.devices import Device, all_devices, find_device

CALIBRATION = "latency/calibration.json"

RUNTIMES = ("qnn_dlc", "qnn_context_binary", "tflite", "onnx")
CONVOLUTION, ATTENTION, INTEGERS = "convolution", "attention", "w8a8"
CLASSES = (CONVOLUTION, ATTENTION, INTEGERS)
KINDS = ("aot", "onnx", "tflite")  # of runtimes, each with its own fit
# Two models are similar from this likeness on.
KIN = 0.95
# Fewer are found in detectors and hybrids, which behave like convolutional models.
ATTENTION_SOFTMAX = 4
# The upper end of w8a8: two of nine models took 3.5 and 3.7 times on the S24 what their simulation,
# held against the other models', had made expected.
SLOWEST = 3.7
# The compiler has no record of this chip and takes another's (devices.tsv).
_CHIP_NOT_KNOWN = {"SA8650 (Proxy)"}
# Of two devices with this chip the one that is as fast: release 0.46.1 had latencies of both, which
# are the same. The other one, the VENTUNO Q, takes a third of the time.
_AS_FAST = {"QCS8275 (Proxy)": "SA7255P ADP"}
# Qualcomm publishes the latencies of another device for these, from the same jobs.
_STAND_INS = {"XR2 Gen 2 (Proxy)": "Samsung Galaxy S22 5G", "SA8650 (Proxy)": "SA8775P ADP"}


@dataclass(frozen=True)
class Simulated:
    """What the simulation says of one model, in milliseconds on the simulated chip.

    `whole` is the simulated time, and the others the work of the units as in `Schedule`. `ends` are
    the millions of bytes of inputs and outputs, and `kinds` counts the operators by type.
    `quantised` models compute in integers of 8 bits.
    """

    whole: float
    matrix: float
    vector: float
    dma: float
    ends: float
    kinds: Mapping[str, int]
    quantised: bool = False

    @property
    def model_class(self) -> str:
        """`w8a8` if quantised, `attention` for four or more Softmax operators, or `convolution`."""
        if self.quantised:
            return INTEGERS
        many = self.kinds.get("Softmax", 0) >= ATTENTION_SOFTMAX
        return ATTENTION if many else CONVOLUTION

    def suits(self, kind: str) -> bool:
        """Whether its latencies can be told for that kind of runtime.

        Published with tflite, models with 3-D convolutions take 14 to 24 times as long.
        """
        return kind != "tflite" or not self.kinds.get("Conv3d")

    def likeness(self, other: "Simulated") -> float:
        """Cosine between the counts of operators of two models, from 0 to 1."""
        kinds = {*self.kinds, *other.kinds}
        product = sum(self.kinds.get(kind, 0) * other.kinds.get(kind, 0) for kind in kinds)
        lengths = (math.hypot(*model.kinds.values()) for model in (self, other))
        return product / (math.prod(lengths) or 1.0)

    def terms(self, formula: str) -> tuple[float, ...]:
        """What the coefficients of a formula are multiplied with."""
        rest = max(self.whole - self.matrix - self.vector, 0.0)
        return {
            "line": (1.0, self.whole),
            "units": (1.0, self.matrix, self.vector, self.dma),
            "parts": (1.0, self.matrix, self.vector, rest),
        }[formula]


FORMULAS = ("line", "units", "parts")


@dataclass(frozen=True)
class Interval:
    """80 % of held-out latencies are between `low` and `high` times what is expected of them.

    `count` is how many there are.
    """

    low: float
    high: float
    count: int

    @property
    def width(self) -> float:
        """The upper end as a multiple of the lower."""
        return self.high / self.low

    @property
    def doubled(self) -> "Interval":
        """Twice as wide, in logarithms."""
        return Interval(self.low**2, self.high**2, self.count)


@dataclass(frozen=True)
class Fit:
    """The fit for one device, kind of runtime and class of model.

    `simulated` is the range of simulated times that it was fitted to, and `ends` the most that a
    model of it had at its inputs and outputs (millions of bytes).
    """

    formula: str
    coefficients: tuple[float, ...]
    interval: Interval
    simulated: tuple[float, float]
    ends: float

    def predict(self, simulated: Simulated) -> float:
        """Milliseconds on the device."""
        terms = simulated.terms(self.formula)
        return sum(c * term for c, term in zip(self.coefficients, terms, strict=True))


@dataclass(frozen=True)
class Ratio:
    """Latency on one device as a multiple of that on another, for the same model."""

    median: float
    interval: Interval


@dataclass(frozen=True)
class Kinship:
    """What the known latency of a similar model on the device says of another one.

    The estimate is multiplied with the known latency's ratio to its own estimate, to the power of
    `weight`, which leaves `interval`. Where the device has no fit, the known latency is multiplied
    with the ratio of the simulated times, which leaves `unfitted`.
    """

    weight: float
    interval: Interval
    unfitted: Interval


@dataclass(frozen=True)
class Calibration:
    """All fits. `version` follows from the tables that they were fitted to.

    `qairt` is the compiler that simulated, and `figures` what measured. `fits` go by device, kind
    of runtime and class; `ratios` by kind of runtime and two devices, from and to; `kinships` by
    kind of runtime and class.
    """

    version: str
    qairt: str
    figures: str
    fits: Mapping[str, Mapping[str, Mapping[str, Fit]]]
    ratios: Mapping[str, Mapping[str, Mapping[str, Ratio]]]
    kinships: Mapping[str, Mapping[str, Kinship]]

    def source(self, device: Device) -> str:
        """The calibrated device that has the same chip, or stands in for it; empty for none."""
        if device.name in _AS_FAST:
            return _AS_FAST[device.name]
        known = (other.name for other in all_devices() if other.name in self.fits)
        alike = (name for name in known if same_chip(find_device(name), device))
        return device.name if device.name in self.fits else next(alike, self.stand_in(device))

    def stand_in(self, device: Device) -> str:
        """The device whose latencies Qualcomm publishes for this one; empty for none."""
        name = _STAND_INS.get(device.name, "")
        return name if name in self.fits else ""

    def covers(self, device: Device, runtime: str) -> bool:
        """Whether there are fits for that device and runtime."""
        return kind_of(runtime) in self.fits.get(self.source(device), {})

    def fit(self, device: Device, runtime: str, model_class: str) -> Fit | None:
        """The fit for a model of that class; None where there is none."""
        kinds = self.fits.get(self.source(device), {})
        return kinds.get(kind_of(runtime), {}).get(model_class)

    def ratio(self, runtime: str, start: Device, end: Device) -> Ratio | None:
        """From one device to another; None where either is not calibrated."""
        known = self.ratios[kind_of(runtime)].get(self.source(start), {})
        return known.get(self.source(end))


def same_chip(one: Device, other: Device) -> bool:
    """Whether the two devices have the same chip, as far as is known."""
    sure = not {one.name, other.name} & _CHIP_NOT_KNOWN
    return one.name == other.name or (sure and one.soc_model == other.soc_model)


def kind_of(runtime: str) -> str:
    """`onnx`, `tflite`, or `aot` for a DLC or context binary, which is compiled ahead."""
    return runtime if runtime in KINDS else "aot"


@cache
def load_calibration() -> Calibration:
    """The one in the package."""
    text = fixture(CALIBRATION).read_text(encoding="utf-8")
    return read_calibration(json.loads(text))


def read_calibration(facts: Mapping[str, Any]) -> Calibration:
    """The calibration that `dataclasses.asdict` has written."""
    return Calibration(
        facts["version"],
        facts["qairt"],
        facts["figures"],
        {
            device: {
                kind: {name: _fit(**fit) for name, fit in fits.items()}
                for kind, fits in kinds.items()
            }
            for device, kinds in facts["fits"].items()
        },
        {
            kind: {
                start: {end: Ratio(r["median"], Interval(**r["interval"])) for end, r in to.items()}
                for start, to in starts.items()
            }
            for kind, starts in facts["ratios"].items()
        },
        {
            kind: {name: _kinship(**kinship) for name, kinship in classes.items()}
            for kind, classes in facts["kinships"].items()
        },
    )


def _fit(
    coefficients: list[float], interval: dict[str, Any], simulated: list[float], **fields: Any
) -> Fit:
    least, most = simulated
    return Fit(
        coefficients=tuple(coefficients),
        interval=Interval(**interval),
        simulated=(least, most),
        **fields,
    )


def _kinship(weight: float, interval: dict[str, Any], unfitted: dict[str, Any]) -> Kinship:
    return Kinship(weight, Interval(**interval), Interval(**unfitted))
