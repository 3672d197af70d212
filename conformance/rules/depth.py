"""Rules of monocular depth beyond the shapes."""

import numpy as np

from conformance.contract.evidence import Evidence
from conformance.contract.look import is_finite
from conformance.contract.sense import CLEAR, contrast
from conformance.rulebook import Level, Verdict, failed, passed, rule, skipped
from conformance.rules.values import NO_ANSWER, judge_range

CONSTANT = "the map is constant: check that the weights are loaded and that the picture is read"


@rule(
    "DEP-7",
    Level.DOCUMENTED,
    shown_by="broken",
    source="sample solution README, section 2, item 6; not enforced by the evaluator (erratum E11)",
    remedy="end with min-max normalisation, or clamp(0, 1)",
)
def unit_range(e: Evidence) -> Verdict:
    """Depth lies in [0, 1] on the host, to one unit in the last place of 1.

    onnxruntime's own Sigmoid and Tanh come out that far beyond.
    """
    return judge_range(e.runs())


@rule(
    "DEP-8",
    Level.ADVICE,
    shown_by="answers",
    source="erratum E13: the evaluator compares with metric depth, where larger means farther",
    remedy="return 1 - depth if the network predicts inverse depth, as Depth-Anything-V2 does",
)
def larger_is_farther(e: Evidence) -> Verdict:
    """Larger values mean farther away, judged by one photograph.

    On the launch pad of the `rocket` photograph the sky in the upper third is farther than the
    ground along the lower edge. Depth-Anything-V2's relative checkpoints say the opposite. Where
    the two differ by less than a tenth of the range it is not judged.
    """
    for run in e.runs("photo"):
        if run.probe.name == "rocket" and is_finite(run):
            depth = np.asarray(run.output[0, 0], dtype=np.float64)
            spread = float(depth.max() - depth.min())
            rows = depth.shape[0]
            sky, ground = depth[: rows // 3].mean(), depth[-rows // 8 :].mean()
            seen = f"sky {sky:.2f}, ground {ground:.2f}"
            if not spread > 0 or abs(sky - ground) < CLEAR * spread:
                return skipped(f"undecided: {seen}, less apart than a tenth of the range")
            return (
                passed(seen)
                if sky > ground
                else failed("the sky above the ground", seen, run.where)
            )
    return skipped(NO_ANSWER)


@rule(
    "DEP-9",
    Level.ADVICE,
    shown_by="answers",
    source="the metric: predictions are scaled by their median, which a flat map does not survive",
    remedy="check the normalisation: one outlier pixel squeezes min-max depth to nothing",
)
def not_flat(e: Evidence) -> Verdict:
    """On photographs the middle 90 % of the pixels span at least a tenth of the range."""
    shares = []
    for run in filter(is_finite, e.runs("photo")):
        share = contrast(run.output)
        shares.append(share)
        if not share >= CLEAR:
            low, high = run.output.min(), run.output.max()
            seen = f"{share:.2g} of {low:.3g}..{high:.3g}"
            return failed(f"a share of {CLEAR:g}", seen, run.where, "" if high > low else CONSTANT)
    return passed(f"at least {min(shares):.0%} of the range") if shares else skipped(NO_ANSWER)
