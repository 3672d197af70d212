"""Rules of image-to-text retrieval beyond the shapes."""

from conformance.contract.evidence import Evidence
from conformance.contract.look import is_finite
from conformance.contract.probes import Role
from conformance.rulebook import Level, Verdict, failed, passed, rule, skipped
from conformance.rules.behaviour import NO_RUN
from conformance.rules.values import POOLING, judge_lengths

MIN_WIDTH = 2
ANY_INPUT = "pool inside the model: an embedding has one width, whatever the input"
WHOLE_EMBEDDING = "the cosine of single numbers is 1 or -1: return the embedding, not a score"
BIAS = "harmless to photographs: a bias in the encoder gives a picture of one colour a length"
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
    return judge_lengths(list(filter(is_finite, e.runs(*_MEANT))), POOLING)


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
    return judge_lengths(list(filter(is_finite, e.runs(*_PLAIN))), BIAS)
