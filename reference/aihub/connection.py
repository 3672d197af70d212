"""What one connection may take: some time for its request, and a place while there is room."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

_LOOK_SECONDS = 1.0
# For a request to be there, to the end of its headers; and for the next one.
_REQUEST_SECONDS = 10.0
# A body, and whoever reads an answer, must get on: bytes in so many seconds.
_PACE_SECONDS, _PACE_BYTES = 30.0, 1 << 15
# Each may need a file beside its socket; the database and the jobs need some, too.
_OTHER_FILES, _FEWEST, _MOST = 96, 16, 512


def most_connections() -> int:
    """How many there may be at once, by the descriptors that this process may open."""
    try:
        import resource
    except ImportError:  # Windows, where a socket takes no descriptor
        return _MOST
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = limit if limit != resource.RLIM_INFINITY else 2 * _MOST + _OTHER_FILES
    return min(max((files - _OTHER_FILES) // 2, _FEWEST), _MOST)


class Connection(H11Protocol):
    """uvicorn's, with patience and manners.

    Where there are too many, the one goes that has been without a known user for the longest time:
    whoever opens hundreds loses them to the next who comes, and nobody waits.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """One more."""
        super().connection_made(transport)
        self._received = self._received_before = 0
        self._stuck = False
        self._stage: Any = None
        self._since = self.loop.time()
        self._timer = self.loop.call_later(_LOOK_SECONDS, self._look)
        most = most_connections()
        while len(self.connections) > most:
            # The last resort is this one, which nobody knows yet.
            strangers = (c for c in self.connections if isinstance(c, Connection) and not c.known)
            min(strangers, key=lambda stranger: stranger._since)._drop()

    def connection_lost(self, exc: Exception | None) -> None:
        """One less."""
        self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes more."""
        self._received += len(data)
        super().data_received(data)

    def resume_writing(self) -> None:
        """What was sent is being read."""
        self._stuck = False
        super().resume_writing()

    @property
    def known(self) -> bool:
        """Whether it has a request at work of somebody who was let in."""
        return self._at_work() and "user" in self.scope["state"]

    def _at_work(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _look(self) -> None:
        now = self.loop.time()
        stage = (self.cycle, self._at_work(), self._at_work() and self.cycle.more_body)
        if stage != self._stage:
            self._stage = stage
            self._begin(now)
        elif self._at_work():
            if now - self._since > _PACE_SECONDS:
                if self._stuck or (self.cycle.more_body and self._dawdles()):
                    self._drop()
                self._begin(now)
        elif now - self._since > _REQUEST_SECONDS:
            self._drop()
        self._timer = self.loop.call_later(_LOOK_SECONDS, self._look)

    def _begin(self, now: float) -> None:
        self._since, self._received_before = now, self._received
        self._stuck = self.flow.write_paused

    def _dawdles(self) -> bool:
        pace = self._received - self._received_before
        return pace < _PACE_BYTES and not self.flow.read_paused

    def _drop(self) -> None:
        self.connections.discard(self)
        self.transport.abort()
