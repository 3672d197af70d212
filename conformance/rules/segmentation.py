"""Rules of open-vocabulary segmentation beyond the shapes."""

import numpy as np

from conformance.contract.evidence import Evidence
from conformance.contract.look import ULP, describe, first_offence
from conformance.contract.sense import covered
from conformance.rulebook import Level, Verdict, failed, passed, rule, skipped
from conformance.rules.behaviour import NO_RUN

EMPTY = "look at the logits: all are below the threshold, or an empty query was chosen"
FULL = "look at the logits: all are above the threshold, or the background's query was chosen"


@rule(
    "SEG-7",
    Level.REQUIRED,
    source="rules page, section 4.3: binary float mask; errata E5: four thresholds are in use",
    remedy="end forward() with (logits >= 0).float()",
)
def binary_mask(e: Evidence) -> Verdict:
    """The mask holds exactly 0.0 and 1.0 on the host.

    The rules page scores `pred > 0`, the evaluator `pred > 0.5`, the sample cuts its logits at 0
    and the winner its probabilities at 0.5: only a binary mask scores the same for all of them.
    """
    runs = e.runs()
    for run in runs:
        bad = (run.output != 0) & (run.output != 1)
        if bad.any():
            seen = f"{describe(run.output)}; {first_offence(bad, run.output)}"
            return failed("0.0 and 1.0 only", seen, run.where, _looks_like(run.output))
    if not runs:
        return skipped(NO_RUN)
    return passed(f"0.0 and 1.0 only, over {len(runs)} probes")


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


def _looks_like(output: np.ndarray) -> str:
    """The remedy for what was probably returned instead of a mask."""
    low, high = float(output.min()), float(output.max())
    if np.all((np.abs(output) <= ULP) | (np.abs(output - 1) <= ULP)):
        return "compare as the very last step: no arithmetic behind (... > 0.5).float()"
    if low < 0:
        return "this looks like logits: end with (logits >= 0).float()"
    if high <= 1:
        return "this looks like probabilities: end with (probabilities > 0.5).float()"
    return "divide a 0/255 mask by 255" if high == 255 else ""
