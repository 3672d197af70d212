"""Keeps whoever guesses tokens from guessing many."""

import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.requests import Request

from reference.aihub.problems import Hasty

_MOST, _SECONDS = 10, 60.0  # wrong tokens, and for how long they are remembered
_PLACES = 10_000


class Throttle:
    """Counts the wrong tokens that were given at the login from each address."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._wrong: OrderedDict[str, list[float]] = OrderedDict()

    def begin(self, request: Request) -> None:
        """Counts a token as wrong until it is `right`; raises Hasty after too many."""
        place = _place(request)
        recent = self._recent(place)
        if len(recent) >= _MOST:
            wait = recent[0] + _SECONDS - self._clock()
            raise Hasty(f"too many wrong tokens from this address: wait {wait:.0f} s")
        self._wrong[place] = [*recent, self._clock()]
        self._wrong.move_to_end(place)
        while len(self._wrong) > _PLACES:
            self._wrong.popitem(last=False)

    def right(self, request: Request) -> None:
        """It was not wrong."""
        if recent := self._wrong.get(_place(request)):
            recent.pop()

    def _recent(self, place: str) -> list[float]:
        since = self._clock() - _SECONDS
        return [moment for moment in self._wrong.get(place, ()) if moment > since]


def _place(request: Request) -> str:
    return request.client.host if request.client else ""
