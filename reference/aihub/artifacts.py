"""What the models that were compiled here were made of, by the content of the file.

A DLC says nothing that could be run: the compiler takes ONNX. So the ONNX that each was written
from is kept in the cache of compiled models. A file that comes from elsewhere has no entry.
"""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reference.aihub.tasks import TensorSpec
from reference.cache import Cache, external_files, file_digest

_FORMAT, _RECORD = "aihub 1", "artifact.json"


@dataclass(frozen=True)
class Graph:
    """One graph of a compiled model and the ONNX file, `source`, that it was made of.

    `name` is its owner's, and `inner` that in the context binary (empty in a DLC).
    """

    name: str
    inner: str
    source: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def remember(file: Path, graphs: Sequence[Graph]) -> None:
    """Keeps the graphs of the compiled `file` with copies of their sources."""
    cache, key = Cache(), _key(file)
    if cache.find(key):
        return
    with cache.fill(key) as draft:
        record = []
        for index, graph in enumerate(graphs):
            folder = draft / str(index)
            folder.mkdir()
            for name in (graph.source.name, *external_files(graph.source)):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(graph.source.parent / name, folder / name)
            kept = {**dataclasses.asdict(graph), "source": f"{index}/{graph.source.name}"}
            record.append(kept)
        (draft / _RECORD).write_text(json.dumps(record), encoding="utf-8")


def recall(file: Path) -> tuple[Graph, ...]:
    """The graphs of a compiled file; none for one that was not made here."""
    entry = Cache().find(_key(file))
    if entry is None:
        return ()
    record = json.loads((entry / _RECORD).read_text(encoding="utf-8"))
    return tuple(
        Graph(
            **{
                **graph,
                "source": entry / graph["source"],
                "inputs": tuple(map(read_spec, graph["inputs"])),
                "outputs": tuple(map(read_spec, graph["outputs"])),
            }
        )
        for graph in record
    )


def read_spec(fields: dict[str, object]) -> TensorSpec:
    """A TensorSpec of its fields in JSON."""
    return TensorSpec(**{**fields, "shape": tuple(fields["shape"])})  # type: ignore[arg-type]


def _key(file: Path) -> str:
    return hashlib.sha256(f"{_FORMAT} {file_digest(file)}".encode()).hexdigest()
