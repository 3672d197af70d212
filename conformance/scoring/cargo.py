"""The files of a job, for machines that share no disk with the one that has them."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
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
    """Path, size in bytes and time of change, in ns, of each file of a job.

    `name` is that of the folder in which machines that did not have them keep them, the same for
    all jobs of a run, so that the next job brings only what it has of its own.
    """

    files: tuple[tuple[Path, int, int], ...]
    name: str

    @classmethod
    def of(cls, job: Job, name: str) -> "Cargo":
        """What the job's data set and submission are made of. Raises OSError for what is gone."""
        paths = [*Dataset(job.track, job.data).files, *_submitted(job)]
        found = [(path, path.stat()) for path in sorted({path.absolute() for path in paths})]
        return cls(tuple((path, facts.st_size, facts.st_mtime_ns) for path, facts in found), name)

    @property
    def folder(self) -> Path:
        """Where the files of a machine that did not have them are, for all its workers."""
        return Path(tempfile.gettempdir()) / self.name

    def is_here(self) -> bool:
        """Whether this machine has the same files in the same places, as on a shared disk."""
        return all(_is(path, size, changed) for path, size, changed in self.files)

    def missing(self) -> list[int]:
        """The numbers of the files that are not below `folder`."""
        return [
            number
            for number, (path, size, changed) in enumerate(self.files)
            if not _is(_below(self.folder, path), size, changed)
        ]

    def tidy(self) -> None:
        """Removes what the jobs before had below `folder` and this one has not."""
        kept = {_below(self.folder, path) for path, _, _ in self.files}
        for top, _, names in os.walk(self.folder):
            for name in names:
                if (path := Path(top) / name) not in kept:
                    with suppress(OSError):  # another worker was faster
                        path.unlink()

    def blocks(self, number: int) -> Iterator[np.ndarray]:
        """The bytes of a file, uint8, in blocks of 16 MiB at most."""
        with self.files[number][0].open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                yield np.frombuffer(block, np.uint8)

    def unload(self, sent: Mapping[int, Sequence[Any]], get: Callable[[Any], Any]) -> None:
        """Writes files, by number, below `folder`, each whole or not at all. Raises OSError."""
        draft = Path(tempfile.mkdtemp(prefix="lpcvc-"))
        try:
            for number, blocks in sent.items():
                path, _, changed = self.files[number]
                place, made = _below(self.folder, path), draft / str(number)
                with made.open("wb") as file:
                    file.writelines(get(block) for block in blocks)
                os.utime(made, ns=(changed, changed))
                place.parent.mkdir(parents=True, exist_ok=True)
                made.replace(place)
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


def _is(path: Path, size: int, changed: int) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (size, changed)


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
