"""What the answers of a compiled model are held to, whether an NPU is emulated or real.

Each function returns None where there is no answer to judge.
"""

import numpy as np

from conformance.evidence import Run
from conformance.look import ULP, describe, first_offence, value_range
from conformance.rulebook import Verdict, could_not_run, failed, passed
from reference.tracks import Track

DEPTH_SLACK = 1e-6


def judge_answers(attempts: list[Run]) -> Verdict | None:
    """Every probe is answered, with the contract's shape and type."""
    for run in attempts:
        if run.error:
            return could_not_run(f"{run.error} ({run.where})", "run it through onnxruntime first")
        if not run.keeps_contract:
            return failed(run.part.output.label, describe(run.output), run.where)
    return passed(f"{len(attempts)} probes, {describe(attempts[0].output)}") if attempts else None


def judge_values(track: Track, runs: list[Run]) -> Verdict | None:
    """A mask is 0 or 1 to one unit in the last place, depth in [0, 1] to 1e-6.

    The emulator returns 1.00000012 for 1.0.
    """
    mask = track.name == "segmentation"
    expected = "0 or 1, to one ulp" if mask else "[0, 1], to 1e-6"
    for run in runs:
        x = run.output
        off = np.minimum(np.abs(x), np.abs(x - 1)) if mask else np.maximum(-x, x - 1)
        bad = ~(off <= (ULP if mask else DEPTH_SLACK))
        if bad.any():
            return failed(expected, f"{describe(x)}; {first_offence(bad, x)}", run.where)
    return passed(value_range(runs)) if runs else None


def judge_finite(answers: dict[str, list[Run]]) -> Verdict | None:
    """Every answer is finite; `answers` are by where they come from, the judged ones first."""
    for where, runs in answers.items():
        for run in runs:
            bad = ~np.isfinite(run.output)
            if bad.any():
                seen = f"on {where}: {first_offence(bad, run.output)}"
                return failed("finite values", seen, run.where)
    first = next(iter(answers.values()))
    return passed(value_range(first)) if first else None
