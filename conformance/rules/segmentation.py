"""Rules of open-vocabulary segmentation beyond the shapes."""

from conformance.contract.evidence import Evidence
from conformance.contract.sense import covered
from conformance.rulebook import Level, Verdict, failed, passed, rule, skipped
from conformance.rules.behaviour import NO_RUN
from conformance.rules.values import judge_binary

EMPTY = "look at the logits: all are below the threshold, or an empty query was chosen"
FULL = "look at the logits: all are above the threshold, or the background's query was chosen"


@rule(
    "SEG-7",
    Level.REQUIRED,
    shown_by="broken",
    source="rules page, section 4.3: binary float mask; errata E5: four thresholds are in use",
    remedy="end forward() with (logits >= 0).float()",
)
def binary_mask(e: Evidence) -> Verdict:
    """The mask holds exactly 0.0 and 1.0 on the host.

    The rules page scores `pred > 0`, the evaluator `pred > 0.5`, the sample cuts its logits at 0
    and the winner its probabilities at 0.5: only a binary mask scores the same for all of them.
    """
    return judge_binary(e.runs())


@rule(
    "SEG-8",
    Level.ADVICE,
    source="rules page, section 4.5: zero-padded right and bottom; the truth is 0 there",
    remedy="multiply the mask with (image_input.sum(1) > 0), or cut it to the content",
)
def nothing_in_the_padding(e: Evidence) -> Verdict:
    """No mask pixel lies in the padding to the right of the picture or below it.

    Every such pixel adds to the union and lowers the IoU.
    """
    photos = [run for run in e.runs("photo") if run.probe.content is not None]
    for run in photos:
        assert run.probe.content is not None, "filtered above"
        height, width = run.probe.content
        mask = run.output > 0.5
        inside, every = int(mask[..., :height, :width].sum()), int(mask.sum())
        if inside < every:
            count = every - inside
            share = f"{count / every:.0%} of the mask"
            seen = f"{count} mask pixels outside the {height}x{width} picture, {share}"
            return failed("an empty mask in the padding", seen, run.where)
    return passed(f"empty on {len(photos)} photographs") if photos else skipped(NO_RUN)


@rule(
    "SEG-9",
    Level.ADVICE,
    shown_by="answers",
    source="the metric: an empty mask scores 0, erratum E7",
    remedy="look at the logits: the threshold, or the choice of the query, may be off",
)
def finds_something(e: Evidence) -> Verdict:
    """On at least one photograph the mask is neither empty nor full."""
    photos = e.runs("photo")
    shares = {run.probe.name: covered(run.output) for run in photos}
    listed = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    if not photos:
        return skipped(NO_RUN)
    if all(share in (0.0, 1.0) for share in shares.values()):
        remedy = EMPTY if not any(shares.values()) else FULL if all(shares.values()) else ""
        return failed("a mask of some of the pixels", listed, remedy=remedy)
    return passed(listed)
