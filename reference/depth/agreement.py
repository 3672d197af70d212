"""How far two depth maps are apart."""

from dataclasses import dataclass

from reference.agreement import (
    Array,
    Figure,
    Inside,
    absolute_errors,
    check_shapes,
    psnr,
    rank_correlation,
)


@dataclass(frozen=True)
class DepthParity:
    """Two depth maps: absolute errors in their own unit, Spearman's rank correlation, PSNR in dB.

    The peak of the PSNR is the range of the first map.
    """

    max_error: float
    mean_error: float
    rank_correlation: float
    psnr: float


FIGURES = {
    "max_error": Figure(
        "largest error {:.2g}", {"float32": 1e-3, "float16": 0.05, "w8a8": 0.3}, upper=True
    ),
    "mean_error": Figure(
        "mean error {:.2g}", {"float32": 1e-4, "float16": 5e-3, "w8a8": 0.03}, upper=True
    ),
    "rank_correlation": Figure(
        "rank correlation {:.6f}", {"float32": 0.9999, "float16": 0.999, "w8a8": 0.98}
    ),
    "psnr": Figure("PSNR {:.1f} dB", {"float32": 60.0, "float16": 35.0, "w8a8": 20.0}),
}


def measure(reference: Array, other: Array, inside: Inside) -> DepthParity:
    """Depth maps of any one shape. Raises ValueError for shapes that differ."""
    check_shapes(reference, other)
    errors = absolute_errors(reference, other)
    return DepthParity(
        float(errors.max()),
        float(errors.mean()),
        rank_correlation(reference, other),
        psnr(reference, other),
    )
