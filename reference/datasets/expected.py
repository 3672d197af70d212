"""What the documents say of a track's test data, to compare another data set with.

A track's room `dataset` has `expected(items, sizes)`, which gives its `Figure`s. None of them is a
rule: nobody is asked for a data set like the hidden one, but a score on one that is unlike it
promises little.
"""

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A number of a data set: what is counted, what was found, and what the documents say.

    `like` is None where the data set does not say, and `source` where it is written.
    """

    name: str
    seen: str
    documented: str
    like: bool | None
    source: str


def about(name: str, seen: int, number: int, source: str) -> Figure:
    """A number that the documents give as "approximately": a fifth more or less is like it."""
    return Figure(name, str(seen), f"about {number}", abs(seen - number) <= number / 5, source)


def between(name: str, counts: Iterable[int], low: int, high: int, source: str) -> Figure:
    """Several numbers, all of which the documents have between two bounds."""
    found = Counter(counts)
    if not found:
        return Figure(name, "none", f"{low} to {high}", None, source)
    least, most = min(found), max(found)
    outside = sum(count for number, count in found.items() if not low <= number <= high)
    seen = f"{least} to {most}" if least < most else str(least)
    if outside:
        seen += f", {outside} of {found.total()} outside"
    return Figure(name, seen, f"{low} to {high}", not outside, source)


def balanced(name: str, groups: Iterable[Hashable], source: str, known: int = 0) -> Figure:
    """How evenly members are spread over groups; "balanced" where none has twice its even share.

    That bound is this project's: the documents have the word alone. `known` is the number of groups
    where an empty one counts too.
    """
    found = Counter(groups)
    if not found:
        return Figure(name, "not said", "balanced", None, source)
    even = found.total() / max(known, len(found))
    share = found.most_common(1)[0][1] / found.total()
    largest = f"{found.most_common(1)[0][0]} has {share:.0%}"
    return Figure(name, largest, "balanced", found.most_common(1)[0][1] <= 2 * even, source)
