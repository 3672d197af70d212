"""What the answers of a compiled model are held to, whether an NPU is emulated or real.

Each function returns None where there is no answer to judge.
"""

from collections.abc import Callable

import numpy as np

from conformance.contract.evidence import Run
from conformance.contract.look import SLACK, ULP, describe, first_offence, value_range
from conformance.contract.sense import lost
from conformance.rulebook import Verdict, could_not_run, failed, passed, together
from reference.errors import SubmissionError
from reference.tracks import Track

SCALE = (
    "scale before the last layer, so that what it returns is well above 6e-8, and keep every sum"
    " and product on the way below 65504: beyond these float16 holds 0 and infinity"
)


def judge_answers(attempts: list[Run]) -> Verdict | None:
    """Every probe is answered, with the contract's shape and type."""
    for run in attempts:
        if run.error:
            plain = SubmissionError(run.error, "run it through onnxruntime first")
            return could_not_run(run.fault or plain, run.where)
        if not run.keeps_contract:
            return failed(run.part.output.label, describe(run.output), run.where)
    return passed(f"{len(attempts)} probes, {describe(attempts[0].output)}") if attempts else None


def judge_values(runs: list[Run]) -> Verdict | None:
    """A mask is 0 or 1 to one unit in the last place, other values in their range to 1e-6 of it.

    The emulator returns 1.00000012 for 1.0.
    """
    for run in runs:
        x, output = run.output, run.part.output
        if output.kind == "binary":
            expected, slack = "0 or 1, to one ulp", ULP
            off = np.minimum(np.abs(x), np.abs(x - 1))
        elif output.values is not None:
            low, high = output.values
            expected, slack = f"[{low:g}, {high:g}], to {SLACK:g}", SLACK * (high - low)
            off = np.maximum(low - x, x - high)
        else:
            continue
        bad = ~(off <= slack)
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


def judge_sense(
    track: Track, where: str, runs: list[Run], host: list[Run], cause: Callable[[str], str]
) -> Verdict | None:
    """The answers of each part make the sense that they make on the host; `where` is where they
    were given, and `cause` says what is known to lie behind it in a part, empty for nothing.
    """
    offences = []
    judged = []
    for part in track.parts:
        own, others = ([r for r in some if r.part.name == part.name] for some in (runs, host))
        for found, seen, on_host in lost(own, others):
            there = f"{found.seen} ({seen}) {where}; {on_host} on the host"
            known = cause(part.name)
            told = f"{there}; {known}" if known else there
            offences.append(failed(found.expected, told, found.where, SCALE))
        judged += own if others else []
    if broken := together(offences):
        return broken
    return passed(f"{value_range(judged)} {where}, as on the host") if judged else None
