"""How far two maps of class logits are apart."""

from dataclasses import dataclass

from reference.agreement import Array, Figure, Inside, check_shapes, is_nan, psnr

# A class below this share of the pixels is too small for a share of its own to say much.
RARE = 0.01


@dataclass(frozen=True)
class ClassParity:
    """Two maps of class logits: the share of pixels with the same class, and the PSNR in dB.

    `per_class` is the share among the pixels that the first map gives each class, NaN for a class
    that it does not see; `worst_class` is the lowest of the classes that have one pixel in 100.
    """

    agreement: float
    worst_class: float
    psnr: float
    per_class: tuple[float, ...]


FIGURES = {
    "agreement": Figure("same class {:.3%}", {"float32": 0.999, "float16": 0.98, "w8a8": 0.8}),
    "worst_class": Figure(
        "in the worst class {:.2%}", {"float32": 0.99, "float16": 0.9, "w8a8": 0.5}
    ),
    "psnr": Figure("PSNR {:.1f} dB", {"float32": 60.0, "float16": 55.0, "w8a8": 30.0}),
}


def measure(reference: Array, other: Array, inside: Inside) -> ClassParity:
    """Class logits (N, C, H, W). Raises ValueError for shapes that differ."""
    check_shapes(reference, other)
    a = reference.argmax(axis=1)
    same = (a == other.argmax(axis=1)) & (is_nan(reference) == is_nan(other)).all(axis=1)
    own = [a == index for index in range(reference.shape[1])]
    shares = tuple(float(same[here].mean()) if here.any() else float("nan") for here in own)
    common = [s for s, here in zip(shares, own, strict=True) if here.mean() >= RARE]
    worst = min(common, default=float(same.mean()))
    return ClassParity(float(same.mean()), worst, psnr(reference, other), shares)
