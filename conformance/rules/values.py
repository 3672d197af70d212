"""What an output holds: the one rule of contracts that are TOML files, and what such rules of the
tracks are made of.
"""

from collections.abc import Sequence

import numpy as np

from conformance.contract.evidence import Evidence, Run
from conformance.contract.look import ULP, describe, first_offence, is_finite, ulp, value_range
from conformance.rulebook import Level, Verdict, failed, passed, rule, skipped, together
from conformance.rules.behaviour import NO_RUN
from reference.tracks import Track

NO_ANSWER = "no probe that this is judged by came back with finite values (COM-8 to COM-10)"
POOLING = "look at the pooling: an all-zero embedding usually comes from a masked position"
SCALE = "scale inside the model, or divide by the length there: float32 cannot square these"


def says_something(track: Track) -> bool:
    """Whether the contract says of some output what it holds."""
    outputs = (part.output for part in track.parts)
    return any(o.kind in ("binary", "embedding") or o.values is not None for o in outputs)


@rule(
    "*-7",
    Level.REQUIRED,
    shown_by="broken",
    when=says_something,
    remedy="let the last step of the model make it so, or state what the output holds",
)
def values_as_stated(e: Evidence) -> Verdict:
    """The output holds what the contract says of it, on the host.

    Exactly 0.0 and 1.0, numbers in its range to one unit in the last place, or an embedding that
    has a length.
    """
    verdicts = [_judge(e.runs(part=part.name)) for part in e.track.parts]
    broken = together(each for each in verdicts if each.outcome == "fail")
    if broken is not None:
        return broken
    kept = [each.seen for each in verdicts if each.outcome == "pass"]
    return passed("; ".join(kept)) if kept else verdicts[0]


def _judge(runs: list[Run]) -> Verdict:
    """Of the answers of one part."""
    if not runs:
        return skipped(NO_RUN)
    output = runs[0].part.output
    if output.kind == "binary":
        return judge_binary(runs)
    if output.kind == "embedding":
        meant = [run for run in runs if run.probe.role not in ("constant", "noise")] or runs
        return judge_lengths(list(filter(is_finite, meant)), POOLING)
    return judge_range(runs)


def judge_binary(runs: list[Run]) -> Verdict:
    """Masks of exactly 0.0 and 1.0."""
    for run in runs:
        bad = (run.output != 0) & (run.output != 1)
        if bad.any():
            seen = f"{describe(run.output)}; {first_offence(bad, run.output)}"
            return failed("0.0 and 1.0 only", seen, run.where, _looks_like(run.output))
    return passed(f"0.0 and 1.0 only, over {len(runs)} probes") if runs else skipped(NO_RUN)


def judge_range(runs: list[Run]) -> Verdict:
    """Finite answers within the range of their output, to one unit in the last place."""
    finite = list(filter(is_finite, runs))
    for run in finite:
        low, high = run.part.output.values or (-np.inf, np.inf)
        bad = (run.output < low - ulp(low)) | (run.output > high + ulp(high))
        if bad.any():
            seen = f"{describe(run.output)}; {first_offence(bad, run.output)}"
            return failed(f"values in [{low:g}, {high:g}]", seen, run.where)
    return passed(value_range(finite)) if finite else skipped(NO_ANSWER)


def judge_lengths(runs: Sequence[Run], remedy: str) -> Verdict:
    """Embeddings that can be divided by their length in float32."""
    with np.errstate(over="ignore"):
        lengths = [float(np.linalg.norm(run.output)) for run in runs]
    offences = []
    for part in dict.fromkeys(run.part for run in runs):
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
