"""Rules of image classification beyond the shapes."""

from collections import Counter
from collections.abc import Mapping

import numpy as np

from conformance.contract.evidence import Evidence, Run
from conformance.contract.look import is_finite
from conformance.rulebook import Level, Verdict, failed, passed, rule, skipped, together
from conformance.rules.logits import judge_logits
from conformance.rules.values import NO_ANSWER
from reference.classification.contract import CLASSES
from reference.classification.metric import predicted, softmax

# What is on the suite's photographs and among the classes.
SHOWN = {"chelsea": "cat", "coffee": "cup"}
BEST = 5
# A probability from which an answer means something. A network with random weights gives its first
# class 2 % (MobileNetV2, seeded), and chance is 1.6 %.
SURE = 0.5
SOME = 0.2
# How else the classes may have been numbered.
ORDERS = {
    "by the alphabet, as ImageFolder numbers folders": sorted(CLASSES),
    "by the alphabet, whatever the case": sorted(CLASSES, key=str.casefold),
    "backwards": list(reversed(CLASSES)),
    "from 1": ["", *CLASSES[:-1]],
}
UNTRAINED = "as weights that are not trained answer"


@rule(
    "CLS-7",
    Level.DOCUMENTED,
    source="25LPCVC_Evaluations, Track_1: the evaluator itself takes the softmax of the output",
    remedy="leave softmax and argmax to the evaluator: return what the last linear layer gives",
)
def logits(e: Evidence) -> Verdict:
    """The output is logits of the 64 classes, neither probabilities nor a class number.

    The largest is the same after another softmax, until rounding makes it equal to others: CLS-8.
    A class number, repeated or alone, is read as class 0.
    """
    return judge_logits(e)


@rule(
    "CLS-8",
    Level.REQUIRED,
    source="25LPCVC_Evaluations, Track_1: argmax of a softmax over the output, in float32",
    remedy="scale the logits up: a temperature, or an average in place of a sum, made them tiny",
)
def softmax_keeps_the_class(e: Evidence) -> Verdict:
    """The evaluator's softmax leaves the largest logit of a photograph the largest.

    In float32 it cannot tell logits apart that differ by less than 6e-8: the first of them wins,
    which is class 0 for a model whose logits are all that small.
    """
    runs = list(filter(is_finite, e.runs("photo")))
    offences = [
        failed(
            f"class {largest}, of the largest logit",
            f"class {found}: {np.count_nonzero(shares == shares.max())} classes are equal to"
            f" rounding, logits {run.output.min():.3g}..{run.output.max():.3g}",
            run.where,
        )
        for run in runs
        if (largest := int(run.output.argmax()))
        != (found := int((shares := softmax(run.output)).argmax()))
    ]
    return together(offences[:1]) or (
        passed(f"the same class on {len(runs)} photographs") if runs else skipped(NO_ANSWER)
    )


@rule(
    "CLS-9",
    Level.ADVICE,
    shown_by="answers",
    source="one class for everything scores chance, 1.6 %, and nothing says so before",
    remedy="check that the trained weights are loaded, and that mean/std and scale are those of"
    " the training",
)
def more_than_one_class(e: Evidence) -> Verdict:
    """Not all photographs are given one class.

    An astronaut, a cat, a cup of coffee and a rocket. Where no class has 20 % it is not judged: so
    answers a network that is not trained.
    """
    runs = list(filter(is_finite, e.runs("photo")))
    if len(runs) < 2:
        return skipped(NO_ANSWER)
    (most, times), *others = Counter(predicted(run.output) for run in runs).most_common()
    surest = max(_shares(run).max() for run in runs)
    seen = f"{CLASSES[most]!r} for {times} of {len(runs)} photographs"
    if others:
        return passed(f"{seen}, the most")
    if surest < SOME:
        return skipped(f"undecided: {seen}, at {surest:.1%} or less, {UNTRAINED}")
    return failed("several classes", f"{seen}, at up to {surest:.0%}")


@rule(
    "CLS-10",
    Level.ADVICE,
    shown_by="answers",
    source="25LPCVC_Track1_Classification_Referee: the list of the 64 classes and its order",
    remedy="number the classes as the referee lists them, from 0 for bicycle to 63 for hair drier",
)
def classes_in_order(e: Evidence) -> Verdict:
    """The classes are in the referee's order: a cat is found to be a cat, and a cup a cup.

    Judged by two photographs, on which that class should be among the best five. What is not, while
    another class has half the probability or more, was trained in another order, or badly.
    """
    photos = {run.probe.name: run for run in e.runs("photo") if is_finite(run)}
    shares = {what: _shares(photos[name]) for name, what in SHOWN.items() if name in photos}
    if not shares:
        return skipped(NO_ANSWER)
    told = ", ".join(
        f"the {what} is {CLASSES[own.argmax()]!r} at {own.max():.0%}"
        for what, own in shares.items()
    )
    missed = [own for what, own in shares.items() if what not in _best(own)]
    if not missed:
        return passed(told)
    if max(own.max() for own in missed) < SURE:
        return skipped(f"undecided: {told}; nothing follows below {SURE:.0%}")
    firsts = {what: int(own.argmax()) for what, own in shares.items()}
    if len(set(firsts.values())) < len(firsts):
        return skipped(f"undecided: {told}; one class for both (CLS-9)")
    return failed("the cat a cat, the cup a cup", told, remedy=_order(firsts))


def _shares(run: Run) -> np.ndarray:
    return softmax(np.asarray(run.output, np.float64)).reshape(-1)


def _best(shares: np.ndarray) -> list[str]:
    return [CLASSES[i] for i in np.argsort(-shares, kind="stable")[:BEST]]


def _order(firsts: Mapping[str, int]) -> str:
    """What helps where another order makes all of them right; "" for the rule's own words."""
    for words, names in ORDERS.items():
        if all(names[index] == what for what, index in firsts.items()):
            return f"the classes were numbered {words}: take the referee's order, bicycle first"
    return ""
