"""The file of results: what a row takes, and files as they were before."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np

from conformance.scoring.store import Run, Store
from reference.scores import Result

RUN = Run("a", "text", "m", "d", "r", "v")
EMBEDDING = np.linspace(0, 1, 512, dtype=np.float32)


def filled(path: Path, rows: int) -> list[Result]:
    with Store(path) as kept:
        number = kept.open_run(RUN)
        for row in range(rows):
            kept.add(number, Result(str(row), array=EMBEDDING + np.float32(row)))
        return list(kept.results(number))


def test_a_row_with_an_embedding_takes_little_more_than_its_numbers(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    filled(path, 400)
    assert path.stat().st_size / 400 < 1.4 * EMBEDDING.nbytes


def test_a_file_with_other_pages_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    with Store(path):
        pass
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = DELETE")
        database.execute("PRAGMA page_size = 4096")
        database.execute("VACUUM")
        assert database.execute("PRAGMA page_size").fetchone() == (4096,)
    filled(path, 3)
    found = filled(path, 4)
    assert [result.item for result in found] == ["0", "1", "2", "3"]
    assert np.array_equal(found[2].array, EMBEDDING + 2)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA page_size").fetchone() == (4096,)
