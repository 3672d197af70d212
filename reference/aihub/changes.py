"""Tells those who wait that something has changed."""

import asyncio
import contextlib


class Changes:
    """Wakes those who wait for a job, from whatever thread."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self) -> None:
        """To be called in the loop of the waiting."""
        self._loop = asyncio.get_running_loop()

    def tell(self) -> None:
        """Something has changed."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._wake)

    async def wait(self, seconds: float) -> None:
        """Until something changes, but no longer than `seconds`."""
        try:
            await asyncio.wait_for(self._event.wait(), seconds)
        except TimeoutError:
            return

    def _wake(self) -> None:
        waited, self._event = self._event, asyncio.Event()
        waited.set()
