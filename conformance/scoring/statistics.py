"""How sure a number is: the bootstrap, over groups of items that belong together.

The texts of one picture are not independent, so pictures are drawn and not items. Resampling is
seeded: the same results give the same interval.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95
_SEED = 2025
_CHUNK = 2**20  # counts drawn at once

# From how often each group is drawn, (resamples, groups), to a number for each resample.
Statistic = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Interval:
    """The `LEVEL` percentile interval of the bootstrap."""

    low: float
    high: float


def mean_of(values: np.ndarray, groups: Sequence[str]) -> tuple[Statistic, int]:
    """The mean of values (items,) as a function of the groups drawn, and the number of groups."""
    index, count = _numbered(groups)
    sums = np.bincount(index, values, count)
    sizes = np.bincount(index, minlength=count).astype(float)
    return lambda drawn: (drawn @ sums) / (drawn @ sizes), count


def pooled_of(
    pooled: Callable[[np.ndarray], np.ndarray], arrays: np.ndarray, groups: Sequence[str]
) -> tuple[Statistic, int]:
    """What `pooled` makes of sums of `arrays` (items, ...), and the number of groups."""
    index, count = _numbered(groups)
    sums = np.zeros((count, *arrays.shape[1:]))
    np.add.at(sums, index, arrays)
    return lambda drawn: pooled(np.tensordot(drawn, sums, 1)), count


def interval(statistic: Statistic, groups: int) -> Interval:
    """Where the statistic lies in resamples of the groups, in memory for some of them."""
    rng = np.random.default_rng(_SEED)
    share = np.full(groups, 1 / groups)
    step = max(1, _CHUNK // groups)
    values = [
        statistic(rng.multinomial(groups, share, min(step, RESAMPLES - start)).astype(float))
        for start in range(0, RESAMPLES, step)
    ]
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(np.concatenate(values), [tail, 100 - tail])
    return Interval(float(low), float(high))


def _numbered(groups: Sequence[str]) -> tuple[np.ndarray, int]:
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    return index, len(names)
