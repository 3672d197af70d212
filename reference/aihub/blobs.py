"""Files by the hash of their content. What is in the folder is whole: it got there by a rename."""

import asyncio
import contextlib
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

_CHUNK = 1 << 20
_SYNC = 1 << 26


class TooLarge(Exception):  # noqa: N818 - no error of the server's
    """More bytes than are allowed."""


@dataclass(frozen=True)
class Blob:
    """One file: the SHA-256 of its content, and its size in bytes."""

    digest: str
    size: int


class Blobs:
    """A folder of such files. Made where it is not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._partial = folder / "partial"
        self._partial.mkdir(parents=True, exist_ok=True)

    def clean(self) -> None:
        """Removes what a hub that was killed had not received whole."""
        for path in self._partial.iterdir():
            path.unlink()

    def path(self, digest: str) -> Path:
        """Where the file of that hash lies."""
        return self._folder / digest[:2] / digest

    def size(self, digest: str) -> int:
        """Its bytes."""
        return self.path(digest).stat().st_size

    async def receive(self, chunks: AsyncIterator[bytes], limit: int) -> Blob:
        """Keeps what arrives; raises TooLarge beyond `limit` bytes, and leaves nothing then."""
        with self._writing() as (file, partial):
            hashed, size = hashlib.sha256(), 0
            async for chunk in chunks:
                size += len(chunk)
                if size > limit:
                    raise TooLarge(f"more than {limit} bytes")
                hashed.update(chunk)
                os.write(file, chunk)
                if size // _SYNC != (size - len(chunk)) // _SYNC:
                    # Bit by bit: at the end the client waits four seconds only.
                    await asyncio.to_thread(os.fdatasync, file)
            return await asyncio.to_thread(
                self._keep, file, partial, Blob(hashed.hexdigest(), size)
            )

    def add(self, path: Path) -> Blob:
        """Keeps a copy of a file."""
        with self._writing() as (file, partial), path.open("rb") as source:
            hashed, size = hashlib.sha256(), 0
            while chunk := source.read(_CHUNK):
                hashed.update(chunk)
                size += len(chunk)
                os.write(file, chunk)
            return self._keep(file, partial, Blob(hashed.hexdigest(), size))

    @contextlib.contextmanager
    def _writing(self) -> Iterator[tuple[int, Path]]:
        file, name = tempfile.mkstemp(dir=self._partial)
        partial = Path(name)
        try:
            yield file, partial
        finally:
            os.close(file)
            partial.unlink(missing_ok=True)

    def _keep(self, file: int, partial: Path, blob: Blob) -> Blob:
        target = self.path(blob.digest)
        if not target.exists():
            os.fsync(file)
            target.parent.mkdir(exist_ok=True)
            _sync_folder(self._folder)
            partial.replace(target)
            _sync_folder(target.parent)
        return blob


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
