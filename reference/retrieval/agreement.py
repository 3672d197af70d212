"""How far two embeddings are apart."""

from dataclasses import dataclass

import numpy as np

from reference.agreement import Array, Figure, Inside, check_shapes, unit_rows
from reference.tracks import format_shape


@dataclass(frozen=True)
class EmbeddingParity:
    """Two embeddings: the lowest cosine over the rows, and the share of the nearest ten in a
    gallery that both find.
    """

    cosine: float
    top10: float | None


FIGURES = {
    "cosine": Figure("cosine {:.7f}", {"float32": 0.99999, "float16": 0.9999, "w8a8": 0.97}),
    "top10": Figure("top-10 overlap {:.0%}", {"float32": 0.9, "float16": 0.9, "w8a8": 0.7}),
}


def measure(reference: Array, other: Array, inside: Inside) -> EmbeddingParity:
    """As `embedding_parity`; neighbours are found in the gallery where its width is the same."""
    gallery = inside.gallery()
    fits = gallery is not None and gallery.shape[1:] == reference.shape[1:]
    return embedding_parity(reference, other, gallery if fits else None)


def embedding_parity(
    reference: Array, other: Array, gallery: Array | None = None
) -> EmbeddingParity:
    """Embeddings (N, D), and a gallery (M, D) with M above 10 to find neighbours in, by cosine.

    Raises ValueError for shapes that do not fit.
    """
    check_shapes(reference, other)
    cosines = np.sum(unit_rows(reference) * unit_rows(other), axis=-1)
    cosines[(reference == other).all(axis=-1)] = 1.0  # zeros too
    top10 = None if gallery is None else _overlap(reference, other, gallery)
    return EmbeddingParity(float(cosines.min()), top10)


def _overlap(reference: Array, other: Array, gallery: Array) -> float:
    if gallery.ndim != 2 or gallery.shape[1:] != reference.shape[1:] or len(gallery) <= 10:
        wanted = f"a gallery of more than 10 rows of {reference.shape[-1]}"
        raise ValueError(f"{format_shape(gallery.shape)} is not {wanted}")
    entries = unit_rows(gallery)
    nearest = [
        np.argsort(-(unit_rows(x) @ entries.T), axis=1, kind="stable") for x in (reference, other)
    ]
    pairs = zip(nearest[0][:, :10], nearest[1][:, :10], strict=True)
    return float(np.mean([len(np.intersect1d(a, b)) / 10 for a, b in pairs]))
