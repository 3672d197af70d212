"""Rules of image-to-text retrieval beyond the shapes."""

import numpy as np

from conformance.evidence import Evidence
from conformance.look import is_finite
from conformance.rulebook import Level, Verdict, failed, passed, rule, skipped
from conformance.rules.common import NO_RUN
from reference.tracks import format_shape

TRACKS = ("retrieval",)


@rule(
    "RET-7",
    Level.REQUIRED,
    tracks=TRACKS,
    source="26LPCVC_Track1_Sample_Solution: cosine similarity of the two embeddings",
    remedy="project both encoders to one width; give image and text of the same model",
)
def same_width(e: Evidence) -> Verdict:
    """Image and text embeddings have the same width."""
    widths = {
        part.name: sorted({run.output.shape[-1] for run in e.runs(part=part.name)})
        for part in e.track.parts
    }
    if not all(widths.values()):
        return skipped(NO_RUN)
    seen = ", ".join(f"{part} {'/'.join(map(str, found))}" for part, found in widths.items())
    one = len({width for found in widths.values() for width in found}) == 1
    return passed(seen) if one else failed("one width", seen)


@rule(
    "RET-8",
    Level.REQUIRED,
    tracks=TRACKS,
    source="26LPCVC_Track1_Sample_Solution: embeddings are divided by their length",
    remedy="look at the pooling: an all-zero embedding usually comes from a masked position",
)
def non_zero(e: Evidence) -> Verdict:
    """No embedding is zero; its length cannot be divided by."""
    lengths = []
    for run in filter(is_finite, e.runs()):
        if not run.output.any():
            seen = f"all zeros, float32 {format_shape(run.output.shape)}"
            return failed("a length above 0", seen, run.where)
        lengths.append(float(np.linalg.norm(np.asarray(run.output, dtype=np.float64))))
    return passed(f"shortest {min(lengths):.3g}") if lengths else skipped(NO_RUN)
