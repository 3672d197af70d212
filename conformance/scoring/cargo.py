"""The files of a job, for machines that share no disk with the one that has them."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from conformance.scoring.datasets import Dataset
from conformance.scoring.job import Job
from conformance.submission.opening import split_spec
from reference.cache import external_files

_BLOCK_BYTES = 2**24


@dataclass(frozen=True)
class Cargo:
    """Path, size in bytes and time of change, in ns, of each file; `name` is that of this run."""

    files: tuple[tuple[Path, int, int], ...]
    name: str = field(default_factory=lambda: f"lpcvc-{uuid.uuid4().hex}")

    @classmethod
    def of(cls, job: Job) -> "Cargo":
        """What the job's data set and submission are made of. Raises OSError for what is gone."""
        paths = [*Dataset(job.track, job.data).files, *_submitted(job)]
        found = [(path, path.stat()) for path in sorted({path.absolute() for path in paths})]
        return cls(tuple((path, facts.st_size, facts.st_mtime_ns) for path, facts in found))

    @property
    def folder(self) -> Path:
        """Where the files of a machine that did not have them are, for all its workers."""
        return Path(tempfile.gettempdir()) / self.name

    def is_here(self) -> bool:
        """Whether this machine has the same files in the same places, as on a shared disk."""
        try:
            return all(
                (status.st_size, status.st_mtime_ns) == (size, changed)
                for path, size, changed in self.files
                for status in [path.stat()]
            )
        except OSError:
            return False

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """All bytes, uint8, in blocks of 16 MiB at most, each with its file's number."""
        for number, (path, _, _) in enumerate(self.files):
            with path.open("rb") as file:
                while block := file.read(_BLOCK_BYTES):
                    yield number, np.frombuffer(block, np.uint8)

    def unload(self, blocks: Sequence[tuple[int, Any]], get: Callable[[Any], Any]) -> None:
        """Writes the files below `folder`, unless another worker has. Raises OSError."""
        draft = Path(tempfile.mkdtemp(prefix="lpcvc-"))
        try:
            for path, _, _ in self.files:
                made = _below(draft, path)
                made.parent.mkdir(parents=True, exist_ok=True)
                made.touch()
            for number, block in blocks:
                with _below(draft, self.files[number][0]).open("ab") as file:
                    file.write(get(block))
            with suppress(OSError):  # the other was faster
                draft.rename(self.folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def moved(self, job: Job) -> Job:
        """The job on the files below `folder`."""
        return replace(
            job,
            data=_below(self.folder, job.data),
            submission=tuple(self._moved(job, spec) for spec in job.submission),
        )

    def _moved(self, job: Job, spec: str) -> str:
        part, target = split_spec(job.track, spec)
        path = _below(self.folder, Path(target))
        moved = f"{part}={path}" if part else str(path)
        return moved if path.exists() else spec


def _below(folder: Path, path: Path) -> Path:
    return folder.joinpath(*path.absolute().parts[1:])


def _submitted(job: Job) -> Iterator[Path]:
    for spec in job.submission:
        path = Path(split_spec(job.track, spec)[1])
        if path.is_dir():
            yield from (Path(top) / name for top, _, names in os.walk(path) for name in names)
        elif path.is_file():  # a factory is none: it is in a package that every machine has
            yield path
            if path.suffix == ".onnx":
                beside = [path.parent / name for name in external_files(path)]
                root = path.parent.resolve()
                yield from (f for f in beside if f.resolve().is_relative_to(root) and f.is_file())
