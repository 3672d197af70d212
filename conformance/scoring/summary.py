"""From the results of a run to the number of the data set, and to the difference of two runs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from conformance.scoring.statistics import Interval, Statistic, interval, mean_of, pooled_of
from reference.datasets.items import Item
from reference.scores import Headline, Result


@dataclass(frozen=True)
class Summary:
    """The score of a run: the headline with its interval, the mean of every column, and what
    became of each item, in the order of the data set. None where no item has an answer.
    """

    headline: Headline
    value: float | None
    interval: Interval | None
    columns: dict[str, float]
    results: tuple[Result, ...]
    groups: int

    @property
    def answered(self) -> list[Result]:
        """The results without error."""
        return [result for result in self.results if not result.error]

    @property
    def failed(self) -> list[Result]:
        """The results with an error."""
        return [result for result in self.results if result.error]

    @property
    def odd(self) -> list[Result]:
        """The results that are scored and remarked on, such as NaN in a prediction."""
        return [result for result in self.results if result.note]

    def worst(self, count: int) -> list[Result]:
        """The answers with the lowest score, the lowest first; NaN is lower than any number."""
        column = self.headline.column

        def key(result: Result) -> float:
            value = result.numbers[column]
            return value if value == value else -np.inf

        return sorted(self.answered, key=key)[:count]


@dataclass(frozen=True)
class Comparison:
    """This run less `other`, on the items that both have; positive is better."""

    other: str
    difference: float
    interval: Interval
    better: int
    worse: int
    items: int

    @property
    def verdict(self) -> str:
        """`better`, `worse`, or that no difference is shown."""
        if self.interval.low > 0:
            return "better"
        return "worse" if self.interval.high < 0 else "no difference shown"


def summarise(headline: Headline, items: Sequence[Item], results: dict[str, Result]) -> Summary:
    """The summary of the results, by item, of a run on `items`."""
    ordered = tuple(results[item.id] for item in items if item.id in results)
    groups = {item.id: item.group for item in items}
    answered = [result for result in ordered if not result.error]
    if not answered:
        return Summary(headline, None, None, {}, ordered, 0)
    columns = {
        name: float(np.mean([result.numbers[name] for result in answered]))
        for name in answered[0].numbers
    }
    statistic, count = _statistic(headline, answered, [groups[r.item] for r in answered])
    value = columns[headline.column]
    if headline.pooled:
        value = float(statistic(np.ones((1, count)))[0])
    return Summary(headline, value, interval(statistic, count), columns, ordered, count)


def compare(
    headline: Headline,
    items: Sequence[Item],
    own: dict[str, Result],
    other: dict[str, Result],
    name: str,
) -> Comparison | None:
    """The difference of two runs, paired by item; None where they have no item in common."""
    common = [
        item
        for item in items
        if all(item.id in results and not results[item.id].error for results in (own, other))
    ]
    if not common:
        return None
    groups = [item.group for item in common]
    mine, count = _statistic(headline, [own[item.id] for item in common], groups)
    theirs, _ = _statistic(headline, [other[item.id] for item in common], groups)

    def difference(drawn: np.ndarray) -> np.ndarray:
        return mine(drawn) - theirs(drawn)

    gains = np.array(
        [
            own[item.id].numbers[headline.column] - other[item.id].numbers[headline.column]
            for item in common
        ]
    )
    return Comparison(
        name,
        float(difference(np.ones((1, count)))[0]),
        interval(difference, count),
        int((gains > 0).sum()),
        int((gains < 0).sum()),
        len(common),
    )


def _statistic(
    headline: Headline, results: Sequence[Result], groups: Sequence[str]
) -> tuple[Statistic, int]:
    if headline.pooled:
        arrays = np.stack([np.asarray(result.array) for result in results])
        return pooled_of(headline.pooled, arrays, groups)
    values = np.array([result.numbers[headline.column] for result in results])
    return mean_of(values, groups)
