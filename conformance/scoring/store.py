"""Results by item in an SQLite file, which a run that was interrupted continues.

A run is one part of a submission on one data set with one runtime and one metric; its key is made
of their digests, so that nothing is scored twice, whoever asks. Each result is there as soon as it
is known.
"""

import contextlib
import hashlib
import io
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from reference.errors import SubmissionError
from reference.scores import Result

_APPLICATION = 0x4C504356  # "LPCV"
_TABLES = """
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, label TEXT NOT NULL, part TEXT NOT NULL,
    model TEXT NOT NULL, data TEXT NOT NULL, runtime TEXT NOT NULL, metric TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS results (
    run INTEGER NOT NULL REFERENCES runs, item TEXT NOT NULL, numbers TEXT NOT NULL, array BLOB,
    error TEXT NOT NULL, note TEXT NOT NULL, seconds REAL NOT NULL, PRIMARY KEY (run, item));
"""
_BUSY_SECONDS = 30.0
# Of a new file. Rows with an embedding of 512 floats take 2.4 kB each, in SQLite's own 4 kB 4.1.
_PAGE_BYTES = 16384


@dataclass(frozen=True)
class Run:
    """What identifies a run: digests of the model and the data, and versions of the rest.

    `part` is empty for scores that several parts make together, `label` is the user's word.
    """

    label: str
    part: str
    model: str
    data: str
    runtime: str
    metric: str

    @property
    def key(self) -> str:
        """SHA-256 of all that decides a result."""
        facts = (self.part, self.model, self.data, self.runtime, self.metric)
        return hashlib.sha256(repr(facts).encode()).hexdigest()


class Store:
    """The file of results. A context manager. Raises SubmissionError for a file of another kind."""

    def __init__(self, path: Path, *, create: bool = True) -> None:
        if not create and not path.is_file():
            raise SubmissionError(f"no such file: {path}", "give a file that --results has written")
        self._path = path
        with self._told():
            self._database = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
            self._claim()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def open_run(self, run: Run) -> int:
        """The number of the run in the file; it is entered where it is not there."""
        values = (run.key, run.label, run.part, run.model, run.data, run.runtime, run.metric)
        self._execute(
            "INSERT OR IGNORE INTO runs (key, label, part, model, data, runtime, metric)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            values,
        )
        row = self._execute("SELECT id FROM runs WHERE key = ?", (run.key,))[0]
        return int(row[0])

    def runs(self) -> dict[int, Run]:
        """All runs of the file by number."""
        rows = self._execute(
            "SELECT id, label, part, model, data, runtime, metric FROM runs ORDER BY id"
        )
        return {id: Run(*fields) for id, *fields in rows}

    def answered(self, run: int) -> set[str]:
        """The items that have an answer; those with an error are tried again."""
        rows = self._execute("SELECT item FROM results WHERE run = ? AND error = ''", (run,))
        return {item for (item,) in rows}

    def add(self, run: int, result: Result) -> None:
        """Keeps a result, in place of an earlier one of the item."""
        self._execute(
            "INSERT OR REPLACE INTO results (run, item, numbers, array, error, note, seconds)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                run,
                result.item,
                json.dumps(dict(result.numbers)),
                _to_bytes(result.array),
                result.error,
                result.note,
                result.seconds,
            ),
        )

    def results(self, run: int) -> Iterator[Result]:
        """All results of a run, one in memory at a time."""
        query = "SELECT item, numbers, array, error, note, seconds FROM results WHERE run = ?"
        with self._told(), closing(self._database.execute(query, (run,))) as rows:
            for item, numbers, array, *rest in rows:
                yield Result(item, json.loads(numbers), _from_bytes(array), *rest)

    def _execute(self, query: str, values: tuple[object, ...] = ()) -> list[Any]:
        with self._told():
            return self._database.execute(query, values).fetchall()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Errors of the file, such as a full disk, as SubmissionError."""
        try:
            yield
        except (sqlite3.Error, ValueError) as error:
            raise SubmissionError(
                f"{self._path} cannot be used for results ({error})",
                "see that its disk has room, or name another file",
            ) from None

    def _claim(self) -> None:
        (application,) = self._database.execute("PRAGMA application_id").fetchone()
        (tables,) = self._database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application != _APPLICATION and tables:
            raise SubmissionError(f"{self._path} holds other tables", "name another file")
        self._database.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        # Without a wait for the disk a result survives the end of the process, not of the power.
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        if application != _APPLICATION:
            self._database.execute(f"PRAGMA application_id = {_APPLICATION}")
        self._database.executescript(_TABLES)


def _to_bytes(array: np.ndarray | None) -> bytes | None:
    if array is None:
        return None
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _from_bytes(data: bytes | None) -> np.ndarray | None:
    return None if data is None else np.load(io.BytesIO(data), allow_pickle=False)
