"""How far apart two runtimes may be, by measure and precision, and where each figure is from."""

from dataclasses import dataclass
from typing import Literal

from conformance.parity.measures import (
    ClassParity,
    DepthParity,
    EmbeddingParity,
    MaskParity,
    Measures,
)

# float32 is PyTorch against ONNX; float16 and w8a8 are ONNX on the CPU against the NPU.
Precision = Literal["float32", "float16", "w8a8"]

_UPPER = {"flipped", "margin", "max_error", "mean_error"}


@dataclass(frozen=True)
class Tolerance:
    """The bound of one measure: the most of an error, the least of an agreement."""

    measure: str
    bound: float
    source: str

    @property
    def upper(self) -> bool:
        """Whether it is the most that is allowed."""
        return self.measure in _UPPER

    def allows(self, value: float | None) -> bool:
        """Whether `value` keeps the bound; NaN never does, what was not measured always."""
        if value is None:
            return True
        return value <= self.bound if self.upper else value >= self.bound


def tolerances(measures: Measures, precision: Precision) -> tuple[Tolerance, ...]:
    """What `measures` are held to."""
    source = _SOURCES[precision]
    bounds = _BOUNDS[type(measures), precision].items()
    return tuple(Tolerance(measure, bound, source) for measure, bound in bounds)


_SOURCES: dict[Precision, str] = {
    "float32": "measured on the reference models: exports are within 1e-4 of the range, and flip"
    " 1e-4 of a mask's pixels, at most; ten times that",
    "float16": "measured on the emulated NPU, models with random weights: mask IoU 0.988 at"
    " 256x256, depth error 0.004, cosine 0.999998, same class 99.4 % at 67 dB; with some room",
    "w8a8": "measured on the emulated NPU, PIDNet-S with random weights quantised with 2 pictures:"
    " same class 86.7 % at 38 dB, cosine 0.996; with some room, other measures by analogy",
}

_BOUNDS: dict[tuple[type[Measures], Precision], dict[str, float]] = {
    (MaskParity, "float32"): {"iou": 0.99, "flipped": 1e-3, "margin": 0.01},
    (MaskParity, "float16"): {"iou": 0.98, "flipped": 0.01, "margin": 0.1},
    (MaskParity, "w8a8"): {"iou": 0.9, "flipped": 0.05, "margin": 0.5},
    (DepthParity, "float32"): {
        "max_error": 1e-3,
        "mean_error": 1e-4,
        "rank_correlation": 0.9999,
        "psnr": 60.0,
    },
    (DepthParity, "float16"): {
        "max_error": 0.05,
        "mean_error": 5e-3,
        "rank_correlation": 0.999,
        "psnr": 35.0,
    },
    (DepthParity, "w8a8"): {
        "max_error": 0.3,
        "mean_error": 0.03,
        "rank_correlation": 0.98,
        "psnr": 20.0,
    },
    (EmbeddingParity, "float32"): {"cosine": 0.99999, "top10": 0.9},
    (EmbeddingParity, "float16"): {"cosine": 0.9999, "top10": 0.9},
    (EmbeddingParity, "w8a8"): {"cosine": 0.97, "top10": 0.7},
    (ClassParity, "float32"): {"agreement": 0.999, "worst_class": 0.99, "psnr": 60.0},
    (ClassParity, "float16"): {"agreement": 0.98, "worst_class": 0.9, "psnr": 55.0},
    (ClassParity, "w8a8"): {"agreement": 0.8, "worst_class": 0.5, "psnr": 30.0},
}
