"""Rules of image-to-text retrieval beyond the shapes."""

import numpy as np

from conformance.contract.evidence import Evidence, Run
from conformance.contract.look import describe, is_finite
from conformance.contract.probes import Role
from conformance.rulebook import Level, Verdict, failed, passed, rule, skipped, together
from conformance.rules.behaviour import NO_RUN

MIN_WIDTH = 2
ANY_INPUT = "pool inside the model: an embedding has one width, whatever the input"
WHOLE_EMBEDDING = "the cosine of single numbers is 1 or -1: return the embedding, not a score"
POOLING = "look at the pooling: an all-zero embedding usually comes from a masked position"
BIAS = "harmless to photographs: a bias in the encoder gives a picture of one colour a length"
SCALE = "scale inside the model, or divide by the length there: float32 cannot square these"
_MEANT: tuple[Role, ...] = ("photo", "text", "repeat", "retext", "tail")
_PLAIN: tuple[Role, ...] = ("constant", "noise")


@rule(
    "RET-7",
    Level.REQUIRED,
    source="26LPCVC_Track1_Sample_Solution: cosine similarity of the two embeddings",
    remedy="project both encoders to one width; give image and text of the same model",
)
def same_width(e: Evidence) -> Verdict:
    """Image and text embeddings have the same width, of more than one number."""
    widths = {
        part.name: sorted({run.output.shape[-1] for run in e.runs(part=part.name)})
        for part in e.track.parts
    }
    if not all(widths.values()):
        return skipped(NO_RUN)
    seen = ", ".join(f"{part} {'/'.join(map(str, found))}" for part, found in widths.items())
    distinct = {width for found in widths.values() for width in found}
    if min(distinct) < MIN_WIDTH:
        return failed("more than one number", seen, remedy=WHOLE_EMBEDDING)
    if len(distinct) == 1:
        return passed(seen)
    varies = any(len(found) > 1 for found in widths.values())
    return failed("one width", seen, remedy=ANY_INPUT if varies else "")


@rule(
    "RET-8",
    Level.REQUIRED,
    source="26LPCVC_Track1_Sample_Solution: embeddings are divided by their length, in float32",
    remedy=POOLING,
)
def has_a_length(e: Evidence) -> Verdict:
    """No embedding of a photograph or a text is zero; its length cannot be divided by.

    The length is float32's: values below 1e-23 have none, and values above 1e19 have no end.
    """
    return _lengths(e, list(filter(is_finite, e.runs(*_MEANT))), POOLING)


@rule(
    "RET-9",
    Level.ADVICE,
    source="26LPCVC_Track1_Sample_Solution: embeddings are divided by their length, in float32",
    remedy=BIAS,
)
def constant_pictures_have_a_length(e: Evidence) -> Verdict:
    """No embedding of a picture of one colour, or of noise, is zero.

    A linear encoder without a bias answers all-black with zero. No hidden photograph is all-black;
    an unlucky one may be nearly.
    """
    return _lengths(e, list(filter(is_finite, e.runs(*_PLAIN))), BIAS)


def _lengths(e: Evidence, runs: list[Run], remedy: str) -> Verdict:
    with np.errstate(over="ignore"):
        lengths = [float(np.linalg.norm(run.output)) for run in runs]
    offences = []
    for part in e.track.parts:
        own = [
            (run, length)
            for run, length in zip(runs, lengths, strict=True)
            if run.part is part and not 0 < length < np.inf
        ]
        if own:
            run, length = own[0]
            more = f", and {len(own) - 1} more" if len(own) > 1 else ""
            seen = f"length {length:g}: {describe(run.output)}{more}"
            helps = SCALE if run.output.any() else remedy
            offences.append(failed("a length above 0", seen, run.where, helps))
    return together(offences) or (
        passed(f"shortest {min(lengths):.3g}") if lengths else skipped(NO_RUN)
    )
