"""Nodes in the order in which they can be computed: quantising tools write them in any."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from heapq import heapify, heappop, heappush
from typing import TypeVar

T = TypeVar("T")


def in_order(
    nodes: Sequence[T],
    reads: Callable[[T], Iterable[str]],
    makes: Callable[[T], Iterable[str]],
) -> list[T]:
    """`nodes` after all that they read, else in the order that they have; circles come last."""
    producer = {name: place for place, node in enumerate(nodes) for name in makes(node) if name}
    waiting = [{producer[name] for name in reads(node) if name in producer} for node in nodes]
    behind: defaultdict[int, list[int]] = defaultdict(list)
    for place, before in enumerate(waiting):
        for earlier in before:
            behind[earlier].append(place)
    ready = [place for place, before in enumerate(waiting) if not before]
    heapify(ready)
    found = []
    while ready:
        place = heappop(ready)
        found.append(place)
        for later in behind[place]:
            waiting[later].discard(place)
            if not waiting[later]:
                heappush(ready, later)
    found += sorted(set(range(len(nodes))).difference(found))
    return [nodes[place] for place in found]
