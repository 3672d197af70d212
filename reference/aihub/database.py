"""The file that the hub's rows are in: its owner's alone, whole, and a hub's."""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from reference.errors import SubmissionError

_MARK = int.from_bytes(b"lpcv")  # `application_id` of every hub's database
_TABLES = {"users", "models", "datasets", "jobs"}  # of one from before there was the mark


class Database:
    """SQLite at `path`, made if need be. Safe to use from several threads and processes.

    Raises SubmissionError for a file that cannot be used, or is not a hub's.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        with self._told():
            path.touch(mode=0o600)
            for file in path.parent.glob(f"{path.name}*"):  # with what SQLite puts beside it
                file.chmod(0o600)
            self._refuse_others()
            with self.writing() as db:
                db.execute(f"pragma application_id = {_MARK}")
                self._create(db)

    def check(self) -> None:
        """Raises SubmissionError where the file is damaged; reads the whole of it."""
        with self._told():
            (found,) = self._db.execute("pragma integrity_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(found)

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """All that is written inside, or nothing of it; one inside another is part of that."""
        if self._db.in_transaction:
            yield self._db
        else:
            self._db.execute("begin immediate")
            with self._db:
                yield self._db

    def _create(self, db: sqlite3.Connection) -> None:
        """Makes the tables that are not there yet."""
        raise NotImplementedError

    def _refuse_others(self) -> None:
        with contextlib.closing(sqlite3.connect(self._path)) as db:
            (mark,) = db.execute("pragma application_id").fetchone()
            tables = {name for (name,) in db.execute("select name from sqlite_master")}
        if mark not in (0, _MARK) or (mark == 0 and tables and not tables >= _TABLES):
            raise SubmissionError(
                f"{self._path} is the database of something else", "give another --state"
            )

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise SubmissionError(
                f"{self._path} cannot be used ({error})",
                "see to the rights and the space of the folder, or give another --state",
            ) from None
        except (sqlite3.DatabaseError, ValueError) as error:
            raise SubmissionError(
                f"the database {self._path} is damaged ({error})",
                "put back a copy of it, or give another --state",
            ) from None
        except OSError as error:
            raise SubmissionError(
                f"{self._path} cannot be used ({error.strerror})",
                "give a --state that is a folder of your own",
            ) from None

    @property
    def _db(self) -> sqlite3.Connection:
        if not hasattr(self._local, "db"):
            db = sqlite3.connect(self._path, isolation_level=None, timeout=30)
            db.execute("pragma journal_mode = wal")
            db.execute("pragma synchronous = full")
            db.create_function("folded", 1, str.casefold, deterministic=True)
            self._local.db = db
        connection: sqlite3.Connection = self._local.db
        return connection
