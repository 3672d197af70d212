"""Keeps what was compiled, by the content of the model and everything that decides the result."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from reference.errors import SubmissionError

_MANIFEST = "files.json"  # written last: an entry without it, or that differs from it, is torn

_DRAFT = ".draft-"
_ABANDONED_SECONDS = 7 * 86400.0


class Cache:
    """A folder of entries, each a folder of files. Processes may share it.

    It is `folder`, or `LPCVC_CACHE`, or the platform's cache folder of the user.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or default_folder()

    def find(self, key: str) -> Path | None:
        """The entry, None if it is not there or not as it was written."""
        entry = self.folder / key
        try:
            manifest = json.loads((entry / _MANIFEST).read_text(encoding="utf-8"))
            return entry if manifest == _digests(entry) else None
        except (OSError, ValueError):
            return None

    @contextlib.contextmanager
    def fill(self, key: str) -> Iterator[Path]:
        """A folder to write into, which becomes the entry when all went well."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(dir=self.folder, prefix=_DRAFT))
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
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _sweep(self) -> None:
        """Removes what processes that were killed have left."""
        for draft in self.folder.glob(f"{_DRAFT}*"):
            with contextlib.suppress(OSError):
                if time.time() - draft.stat().st_mtime > _ABANDONED_SECONDS:
                    shutil.rmtree(draft, ignore_errors=True)


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
