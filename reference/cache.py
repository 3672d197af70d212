"""Keeps what was compiled or exported, by all that decides what comes of it."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reference.errors import SubmissionError

ANSWER, _COMPILED = "answer.json", "compiled.json"
_MANIFEST = "files.json"  # written last: an entry without it, or that differs from it, is torn

_DRAFT = ".draft-"
_ABANDONED_SECONDS = 7 * 86400.0
_IN_USE_SECONDS = 3600.0  # since an entry was found last: somebody may still work with it
_LIMIT = "10GB"
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(?:([kMGT])(i?))?B?", re.IGNORECASE)
# What an entry is, by a file that only such entries have.
_KINDS = {
    _COMPILED: "compiled models",
    "reference.json": "exported references",
    ANSWER: "answers of the emulator",
    "artifact.json": "files of the local AI Hub",
}


@dataclass(frozen=True)
class Entry:
    """What is kept under one key: its `kind` in words, bytes, and when it was last used, in seconds
    since the epoch.
    """

    folder: Path
    kind: str
    size: int
    used: float


class Cache:
    """A folder of entries, each a folder of files. Processes may share it.

    It is `folder`, or `LPCVC_CACHE`, or the platform's cache folder of the user. What is written
    beyond `LPCVC_CACHE_LIMIT` takes the place of what has been unused for longest.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or default_folder()

    @property
    def writable(self) -> bool:
        """Whether something can be kept; the folder is made."""
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
        return os.access(self.folder, os.W_OK)

    def find(self, key: str) -> Path | None:
        """The entry, None if it is not there or not as it was written."""
        entry = self.folder / key
        try:
            manifest = json.loads((entry / _MANIFEST).read_text(encoding="utf-8"))
            if manifest != _digests(entry):
                return None
        except (OSError, ValueError):
            return None
        with contextlib.suppress(OSError):  # of somebody else
            os.utime(entry / _MANIFEST)
        return entry

    @contextlib.contextmanager
    def fill(self, key: str) -> Iterator[Path]:
        """A folder to write into, which becomes the entry when all went well.

        Raises SubmissionError where nothing can be written, or the limit is no size.
        """
        limit = default_limit()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            draft = self._draft()
        except OSError as error:
            raise SubmissionError(
                f"the cache folder {self.folder} cannot be written ({error.strerror})",
                "set LPCVC_CACHE to a folder of your own",
            ) from None
        self._sweep()
        try:
            yield draft
            (draft / _MANIFEST).write_text(json.dumps(_digests(draft)), encoding="utf-8")
            if self.find(key) is None:
                shutil.rmtree(self.folder / key, ignore_errors=True)
                with contextlib.suppress(OSError):  # another process was faster
                    os.replace(draft, self.folder / key)
        except OSError as error:
            if error.filename is None:  # of writing into a file that is open
                error.filename = str(self.folder)
            raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        self.prune(limit, _IN_USE_SECONDS)

    def compiled(
        self, key: str, compile: Callable[[Path], dict[str, Any]]
    ) -> tuple[Path, dict[str, Any], bool]:
        """The entry, what `compile` answered when it wrote it, and whether it was there before.

        Raises SubmissionError as `fill` does.
        """
        entry = self.find(key)
        cached = entry is not None
        if entry is None:
            with self.fill(key) as draft:
                (draft / _COMPILED).write_text(json.dumps(compile(draft)), encoding="utf-8")
            entry = self.folder / key
        return entry, json.loads((entry / _COMPILED).read_text(encoding="utf-8")), cached

    def entries(self) -> list[Entry]:
        """Everything that is kept, what has been unused for longest first."""
        try:
            folders = [place for place in self.folder.iterdir() if _is_entry(place)]
        except OSError:
            return []
        return sorted(filter(None, map(_entry, folders)), key=lambda entry: entry.used)

    def prune(self, limit: int, unused: float = 0.0) -> list[Entry]:
        """Removes what has been unused for longest until `limit` bytes are left; what it removed.

        What was used in the last `unused` seconds stays.
        """
        entries = self.entries()
        size, removed = sum(entry.size for entry in entries), []
        for entry in entries:
            if size <= limit or time.time() - entry.used < unused:
                break
            with contextlib.suppress(OSError):
                grave = self._draft()
                os.replace(entry.folder, grave / entry.folder.name)  # gone for others at once
                shutil.rmtree(grave, ignore_errors=True)
                size -= entry.size
                removed.append(entry)
        return removed

    def _draft(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.folder, prefix=_DRAFT))

    def _sweep(self) -> None:
        """Removes what processes that were killed have left."""
        for draft in self.folder.glob(f"{_DRAFT}*"):
            with contextlib.suppress(OSError):
                if time.time() - draft.stat().st_mtime > _ABANDONED_SECONDS:
                    shutil.rmtree(draft, ignore_errors=True)


def _is_entry(place: Path) -> bool:
    return not place.name.startswith(_DRAFT) and (place / _MANIFEST).is_file()


def _entry(folder: Path) -> Entry | None:
    """None where another process removes it."""
    try:
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        used = (folder / _MANIFEST).stat().st_mtime
    except OSError:
        return None
    kinds = (kind for name, kind in _KINDS.items() if (folder / name).exists())
    return Entry(folder, next(kinds, "others"), size, used)


def default_limit() -> int:
    """The bytes that `LPCVC_CACHE_LIMIT` allows, 10 GB where it is not set.

    Raises SubmissionError for what is no size.
    """
    given = os.environ.get("LPCVC_CACHE_LIMIT") or _LIMIT
    return parse_size(given, "LPCVC_CACHE_LIMIT")


def parse_size(text: str, what: str) -> int:
    """The bytes of `2GB`, `1.5 GiB`, `500MB` or `0`; `what` is said where it is none of these.

    Raises SubmissionError.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise SubmissionError(f"{what} {text!r} is no size", "write it as 500MB, 2GB or 1.5GiB")
    number, prefix, binary = match.groups()
    power = " kMGT".lower().index((prefix or " ").lower())
    return int(float(number) * (1024 if binary else 1000) ** power)


def default_folder() -> Path:
    """`LPCVC_CACHE`, or the platform's cache folder of the user."""
    import platformdirs

    given = os.environ.get("LPCVC_CACHE")
    return Path(given) if given else Path(platformdirs.user_cache_dir("lpcvc", appauthor=False))


def model_digest(path: Path) -> str:
    """SHA-256 of the ONNX file at `path` and of its external data.

    Raises SubmissionError where the file or its data cannot be read.
    """
    sha = hashlib.sha256(file_digest(path).encode())
    for location in external_files(path):
        file = path.parent / location
        if not file.resolve().is_relative_to(path.parent.resolve()) or not file.is_file():
            raise SubmissionError(
                f"{path.name} wants its weights in {location!r}, which is not beside it",
                "keep the model and its external data in one folder",
            )
        sha.update(f"{location} {file_digest(file)}".encode())
    return sha.hexdigest()


def external_files(path: Path) -> list[str]:
    """Where the ONNX file at `path` says that its external data is, relative to its folder.

    Raises SubmissionError for what is no ONNX file. The places are as hostile as the file.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, RuntimeError, ValueError) as error:
        raise SubmissionError(
            f"{path.name} is not an ONNX model or was cut short ({error})",
            "export or copy the file again and compare its size",
        ) from None
    nodes = [node for function in model.functions for node in function.node]
    tensors = [*_graph_tensors(model.graph), *_node_tensors(nodes)]
    return sorted({location for tensor in tensors for location in _locations(tensor)})


def _graph_tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Iterable[Any]) -> Iterator[Any]:
    for node in nodes:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for graph in (attribute.g, *attribute.graphs):
                yield from _graph_tensors(graph)


def _locations(tensor: Any) -> Iterator[str]:
    return (entry.value for entry in tensor.external_data if entry.key == "location")


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != _MANIFEST)
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in files}


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
