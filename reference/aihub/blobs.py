"""Files by the hash of their content. What is in the folder is whole: it got there by a rename.

What a disk makes of it afterwards is seen when it is read.
"""

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


class Damaged(Exception):  # noqa: N818 - an answer
    """A file that is not there any more, or not what it was."""


@dataclass(frozen=True)
class Blob:
    """One file: the SHA-256 of its content, and its size in bytes."""

    digest: str
    size: int


class Draft:
    """A file that is being written."""

    def __init__(self, file: int, path: Path) -> None:
        self.path = path
        self._file = file
        self._hash, self.size = hashlib.sha256(), 0

    def write(self, data: bytes) -> None:
        """Adds to it."""
        self._hash.update(data)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._file, rest) :]
        self.size += len(data)
        if self.size // _SYNC != (self.size - len(data)) // _SYNC:
            # Bit by bit: at the end the client waits four seconds only.
            os.fdatasync(self._file)

    def finish(self) -> Blob:
        """It is whole, and on the disk."""
        os.fsync(self._file)
        return Blob(self._hash.hexdigest(), self.size)


class Blobs:
    """A folder of such files, its owner's alone. Made where it is not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._partial = folder / "partial"
        for each in (folder, self._partial):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
            each.chmod(0o700)

    def clean(self) -> None:
        """Removes what a hub that was killed had not received whole."""
        for path in self._partial.iterdir():
            path.unlink(missing_ok=True)

    def path(self, digest: str) -> Path:
        """Where the file of that hash lies."""
        return self._folder / digest[:2] / digest

    def digests(self) -> Iterator[str]:
        """Every file that there is."""
        return (path.name for path in self._folder.glob("??/*"))

    @contextlib.contextmanager
    def draft(self) -> Iterator[Draft]:
        """A new file, which is gone after the block unless it was kept."""
        file, name = tempfile.mkstemp(dir=self._partial)
        try:
            yield Draft(file, Path(name))
        finally:
            os.close(file)
            Path(name).unlink(missing_ok=True)

    async def receive(self, draft: Draft, chunks: AsyncIterator[bytes], limit: int) -> Blob:
        """Writes what arrives; raises TooLarge beyond `limit` bytes."""
        data, size = bytearray(), 0
        async for chunk in chunks:
            size += len(chunk)
            if size > limit:
                raise TooLarge(f"larger than this hub takes ({limit / 1e6:.1f} MB)")
            data += chunk
            if len(data) >= _CHUNK:
                await asyncio.to_thread(draft.write, bytes(data))
                data.clear()
        await asyncio.to_thread(draft.write, bytes(data))
        return await asyncio.to_thread(draft.finish)

    def copy_in(self, path: Path, draft: Draft) -> Blob:
        """Writes a copy of a file."""
        with path.open("rb") as source:
            while chunk := source.read(_CHUNK):
                draft.write(chunk)
        return draft.finish()

    def keep(self, draft: Draft, blob: Blob) -> None:
        """Keeps a finished file, in the place of one of that hash: that one may be damaged."""
        target = self.path(blob.digest)
        target.parent.mkdir(mode=0o700, exist_ok=True)
        _sync_folder(self._folder)
        draft.path.replace(target)
        _sync_folder(target.parent)

    @contextlib.contextmanager
    def copies(self) -> Iterator["Copies"]:
        """Copies of several files, which are kept together or not at all."""
        with contextlib.ExitStack() as stack:
            yield Copies(self, stack)

    def size(self, digest: str) -> int:
        """Its bytes; raises Damaged where it is gone."""
        try:
            return self.path(digest).stat().st_size
        except OSError as error:
            raise Damaged(f"{digest} cannot be read ({error.strerror})") from None

    def remove(self, digest: str) -> int:
        """Removes a file; the bytes that this frees."""
        path = self.path(digest)
        try:
            size = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            return 0
        return size

    def check(self, digest: str) -> int:
        """The size of the file; raises Damaged where its content is not that of its hash."""
        return sum(map(len, self._chunks(digest)))

    def copy(self, digest: str, target: Path) -> None:
        """Writes the file to `target`; raises Damaged as `check` does."""
        with target.open("wb") as file:
            for chunk in self._chunks(digest):
                file.write(chunk)

    async def read(self, digest: str) -> AsyncIterator[bytes]:
        """The file. Raises Damaged ahead of the last bytes of one whose content is another."""
        chunks = self._chunks(digest)
        while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
            yield chunk

    def _chunks(self, digest: str) -> Iterator[bytes]:
        """The bytes, the last of them when it is known that they are right."""
        hashed, last = hashlib.sha256(), b""
        try:
            with self.path(digest).open("rb") as file:
                while chunk := file.read(_CHUNK):
                    if last:
                        yield last
                    hashed.update(chunk)
                    last = chunk
        except OSError as error:
            raise Damaged(f"{digest} cannot be read ({error.strerror})") from None
        if hashed.hexdigest() != digest:
            raise Damaged(f"{digest} has another content")
        yield last


class Copies:
    """See `Blobs.copies`."""

    def __init__(self, blobs: Blobs, stack: contextlib.ExitStack) -> None:
        self._blobs, self._stack = blobs, stack
        self._made: list[tuple[Draft, Blob]] = []

    def add(self, path: Path) -> Blob:
        """One more file."""
        draft = self._stack.enter_context(self._blobs.draft())
        blob = self._blobs.copy_in(path, draft)
        self._made.append((draft, blob))
        return blob

    def keep(self) -> None:
        """They stay."""
        for draft, blob in self._made:
            self._blobs.keep(draft, blob)


def make_private(folder: Path) -> None:
    """Makes a folder that its owner alone may enter; one with things of others stays as it is."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    names = {path.name for path in folder.iterdir()}
    if not names or "hub.sqlite" in names:
        folder.chmod(0o700)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
