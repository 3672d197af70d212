"""Rules of action recognition beyond the shapes.

Channels, frames, normalisation and scale are in the rules of all pictures. The order of classes and
rows is in `reference.action.dataset`: a model does not show it.
"""

from collections.abc import Iterator

import numpy as np

from conformance.contract.evidence import Evidence
from conformance.contract.look import describe, is_finite
from conformance.rulebook import Level, Verdict, failed, passed, rule, skipped, together
from conformance.rules.behaviour import NO_RUN
from conformance.rules.logits import judge_logits
from reference.action.metric import BEST, softmax


@rule(
    "ACT-7",
    Level.ADVICE,
    source="26LPCVC_Track2_Sample_Solution, evaluate.py takes the softmax itself; class_probs is"
    " the name that qai-hub-models gives to logits",
    remedy="return what the last linear layer gives, without softmax or argmax",
)
def logits(e: Evidence) -> Verdict:
    """The output is logits of the 92 classes, neither probabilities nor class numbers.

    Another softmax keeps the order of probabilities. In float16, where the NPU computes, the small
    ones are equal or 0, and the five likeliest classes are no longer known.
    """
    return judge_logits(e)


@rule(
    "ACT-8",
    Level.REQUIRED,
    source="26LPCVC_Track2_Sample_Solution, evaluate.py: softmax in float32, then torch.topk",
    remedy="scale the logits: the largest should lie some 0.01 to 50 above the sixth",
)
def softmax_keeps_the_order(e: Evidence) -> Verdict:
    """The evaluator's softmax keeps the largest logit apart, and the five largest from the others.

    In float32 what lies more than some 100 below the largest is 0, and what differs by less than
    6e-8 is equal. Which of equal ones are among the five torch leaves open.
    """
    runs = list(filter(is_finite, e.runs("photo")))

    def offences() -> Iterator[Verdict]:
        for run in runs:
            row = run.output.reshape(1, -1)
            for best in (1, BEST):
                values, chances = (np.sort(each[0])[::-1] for each in (row, softmax(row)))
                if values[best - 1] > values[best] and chances[best - 1] == chances[best]:
                    seen = f"{values[best - 1]:.7g} and {values[best]:.7g} are equally likely"
                    wanted = f"{best} of the largest logits apart from the others"
                    yield failed(wanted, f"{seen}: {describe(run.output)}", run.where)

    return together(offences()) or (
        passed(f"kept in {len(runs)} answers") if runs else skipped(NO_RUN)
    )
