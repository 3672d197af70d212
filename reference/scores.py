"""What the scores of the tracks share: pairing two data sets, and refusing to average nothing."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from reference.errors import SubmissionError

Prediction = TypeVar("Prediction")
Truth = TypeVar("Truth")
Item = TypeVar("Item")


def pairs(
    predictions: Iterable[Prediction], truths: Iterable[Truth]
) -> Iterator[tuple[Prediction, Truth]]:
    """Each prediction with its truth, in order. Raises SubmissionError where one side ends first.

    The depth evaluator's `zip` drops what is left over and scores the rest.
    """
    end = object()
    left, right = iter(predictions), iter(truths)
    count = 0
    while True:
        prediction, truth = next(left, end), next(right, end)
        if prediction is end and truth is end:
            return
        if prediction is end or truth is end:
            short, long = (
                ("predictions", "truths") if prediction is end else ("truths", "predictions")
            )
            raise SubmissionError(
                f"there are {count} {short} and more {long}",
                "give one prediction for each truth, in the same order",
            )
        count += 1
        yield prediction, truth  # type: ignore[misc]


def at_least_one(items: Sequence[Item]) -> Sequence[Item]:
    """`items`. Raises SubmissionError where there are none: no score has a mean then."""
    if not items:
        raise SubmissionError("nothing was scored", "give at least one prediction and its truth")
    return items
