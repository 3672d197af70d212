"""Everything that the hub knows, in one SQLite file that a crash cannot leave half written."""

import dataclasses
import sqlite3
from collections.abc import Iterable
from typing import Any, TypeVar

from reference.aihub.access import Access, Unknown, folded
from reference.aihub.codec import decode, encode
from reference.aihub.records import (
    DatasetRecord,
    JobRecord,
    JobState,
    ModelRecord,
    Record,
)
from reference.aihub.search import COLUMNS, Search, columns_of

R = TypeVar("R", ModelRecord, DatasetRecord, JobRecord)
U = TypeVar("U", ModelRecord, DatasetRecord)  # what can be uploaded

_TABLES: dict[type[Any], str] = {
    ModelRecord: "models",
    DatasetRecord: "datasets",
    JobRecord: "jobs",
}
# By the first letter of the id.
KINDS_BY_LETTER: dict[str, type[Any]] = {"m": ModelRecord, "d": DatasetRecord, "j": JobRecord}
_SCHEMA = """
create table if not exists job_assets (job text, asset text, primary key (job, asset));
create index if not exists asset_jobs on job_assets (asset);
create table if not exists shares (asset text, email text, primary key (asset, email));
create table if not exists uploads (id text primary key, digest text not null);
"""
# E-mail addresses had their case once.
_FOLD = """
update users set email = lower(email);
update or ignore shares set email = lower(email);
update models set owner = lower(owner), body = json_set(body, '$.owner', lower(owner));
update datasets set owner = lower(owner), body = json_set(body, '$.owner', lower(owner));
update jobs set owner = lower(owner), body = json_set(body, '$.owner', lower(owner));
pragma user_version = 1
"""
_ALL = Search()


class Store(Access):
    """The database at `path`. Safe to use from several threads and processes."""

    def _create(self, db: sqlite3.Connection) -> None:
        super()._create(db)
        for statement in _SCHEMA.split(";"):
            db.execute(statement)
        for kind in _TABLES:
            self._make_table(db, kind)
        if db.execute("pragma user_version").fetchone() == (0,):
            for statement in _FOLD.split(";"):
                db.execute(statement)

    def insert(self, *records: Record) -> None:
        """Adds records, all or none; a job is tied to what it is made from and makes."""
        with self.writing() as db:
            for record in records:
                self._write(db, record)

    def update(self, record: R, **changes: Any) -> R:
        """The record as it is now with `changes`; what was changed meanwhile stays."""
        with self.writing() as db:
            changed = dataclasses.replace(self.get(type(record), record.id), **changes)
            self._write(db, changed)
        return changed

    def get(self, kind: type[R], id: str, viewer: str | None = None) -> R:
        """One record; raises Unknown, also where `viewer` may not see it."""
        query = f"select owner, body from {_TABLES[kind]} where id = ?"
        row = self._db.execute(query, (id,)).fetchone()
        if row is None or not (viewer in (None, row[0]) or self._shared(id, row[0], str(viewer))):
            raise Unknown(id)
        return decode(kind, row[1])

    def find(
        self, kind: type[R], viewer: str, search: Search, *, limit: int, offset: int = 0
    ) -> list[R]:
        """What `viewer` may see and looks for, in its order."""
        rows = self._listed("body", kind, viewer, search, limit, offset)
        return [decode(kind, body) for (body,) in rows]

    def states(
        self, viewer: str, search: Search, *, limit: int, offset: int = 0
    ) -> list[tuple[str, str, int]]:
        """Id, name and state of the jobs that `find` gives."""
        return self._listed("id, name, state", JobRecord, viewer, search, limit, offset)

    def _listed(
        self, columns: str, kind: type[Any], viewer: str, search: Search, limit: int, offset: int
    ) -> list[Any]:
        where, values = _seen(kind, viewer, search)
        query = (
            f"select {columns} from {_TABLES[kind]} where {where}"
            f" order by {search.ordering(kind)} limit ? offset ?"
        )
        return self._db.execute(query, [*values, limit, offset]).fetchall()

    def count(self, kind: type[Any], viewer: str, search: Search = _ALL) -> int:
        """How much there is of it."""
        where, values = _seen(kind, viewer, search)
        query = f"select count(*) from {_TABLES[kind]} where {where}"
        return int(self._db.execute(query, values).fetchone()[0])

    def devices(self, viewer: str) -> list[str]:
        """The devices of the jobs that `viewer` may see."""
        where, values = _seen(JobRecord, viewer, _ALL)
        rows = self._db.execute(f"select distinct device from jobs where {where}", values)
        return sorted({name for (names,) in rows for name in names.split("\n") if name})

    def shares(self, asset: str) -> list[str]:
        """Who else may see it."""
        query = "select email from shares where asset = ? order by email"
        return [email for (email,) in self._db.execute(query, (asset,))]

    def share(self, asset: str, add: Iterable[str], remove: Iterable[str] | None) -> None:
        """Changes who else may see it; `remove` None takes it from everybody first."""
        with self.writing() as db:
            if remove is None:
                db.execute("delete from shares where asset = ?", (asset,))
            for email in map(folded, remove or ()):
                db.execute("delete from shares where asset = ? and email = ?", (asset, email))
            for email in map(folded, add):
                db.execute("insert or ignore into shares values (?, ?)", (asset, email))

    def add_upload(self, id: str, digest: str) -> None:
        """Notes what was uploaded for a model or data set."""
        with self.writing() as db:
            db.execute("insert or replace into uploads values (?, ?)", (id, digest))

    def uploaded(self, id: str) -> str | None:
        """The blob that was uploaded, None while there is none."""
        query = "select digest from uploads where id = ?"
        row = self._db.execute(query, (id,)).fetchone()
        return row[0] if row else None

    def check(self) -> None:
        """Raises SubmissionError where the file is damaged, or a row cannot be read."""
        super().check()
        with self._told():
            for kind, table in _TABLES.items():
                for id, body in self._db.execute(f"select id, body from {table}"):
                    try:
                        decode(kind, body)
                    except (TypeError, ValueError, LookupError, AttributeError) as error:
                        raise ValueError(f"{id} cannot be read: {error}") from None

    def again(self, record: Record) -> Record:
        """The record as it is now; raises Unknown where it is gone."""
        kind: type[Any] = type(record)
        found: Record = self.get(kind, record.id)
        return found

    def every(self, kind: type[R]) -> list[R]:
        """All records of a kind, whoever's."""
        rows = self._db.execute(f"select body from {_TABLES[kind]}")
        return [decode(kind, body) for (body,) in rows]

    def named(self, asset: str) -> bool:
        """Whether a job is made from it, or makes it."""
        query = "select 1 from job_assets where asset = ? limit 1"
        return self._db.execute(query, (asset,)).fetchone() is not None

    def forget(self, record: Record) -> None:
        """Deletes a record with everything that is noted of it."""
        with self.writing() as db:
            db.execute(f"delete from {_TABLES[type(record)]} where id = ?", (record.id,))
            db.execute("delete from job_assets where job = ?", (record.id,))
            db.execute("delete from shares where asset = ?", (record.id,))
            db.execute("delete from uploads where id = ?", (record.id,))
            db.execute("delete from addresses where asset = ?", (record.id,))

    def bytes_of(self, owner: str) -> int:
        """What the models and data sets of `owner` take."""
        query = " union all ".join(
            f"select json_extract(body, '$.size') as size from {table} where owner = ?1"
            for table in ("models", "datasets")
        )
        (total,) = self._db.execute(f"select sum(size) from ({query})", (owner,)).fetchone()
        return int(total or 0)

    def unfinished(self) -> list[JobRecord]:
        """The jobs that are not finished, the oldest first."""
        ends = int(JobState.DONE), int(JobState.FAILED)
        query = "select body from jobs where state not in (?, ?) order by created, rowid"
        return [decode(JobRecord, body) for (body,) in self._db.execute(query, ends)]

    def finish(self, job: JobRecord, *others: Record) -> bool:
        """Writes a finished job with what it made, unless that attempt is not the present one."""
        with self.writing() as db:
            present = self.get(JobRecord, job.id)
            if present.state.finished or present.attempt != job.attempt:
                return False
            # The name may have been changed meanwhile.
            for record in (dataclasses.replace(job, name=present.name), *others):
                self._write(db, record)
        return True

    def put_back(self, job: JobRecord) -> None:
        """Makes a running job one that waits, as if this attempt had not been, unless it ended."""
        with self.writing():
            present = self.get(JobRecord, job.id)
            if not present.state.finished and present.attempt == job.attempt:
                self.update(present, state=JobState.CREATED, started=None, attempt=job.attempt - 1)

    def _shared(self, id: str, owner: str, viewer: str) -> bool:
        """Whether it is shared itself, or with a job of its owner: nobody else can share it."""
        query = (
            "select 1 from shares where email = ?3 and (asset = ?1 or asset in"
            " (select job from job_assets join jobs on jobs.id = job"
            " where job_assets.asset = ?1 and jobs.owner = ?2)) limit 1"
        )
        return self._db.execute(query, (id, owner, viewer)).fetchone() is not None

    @staticmethod
    def _write(db: sqlite3.Connection, record: Record) -> None:
        row = {"id": record.id, "body": encode(record), **columns_of(record)}
        changes = ", ".join(f"{column} = excluded.{column}" for column in row)
        db.execute(
            f"insert into {_TABLES[type(record)]} ({', '.join(row)})"
            f" values ({', '.join('?' * len(row))}) on conflict (id) do update set {changes}",
            list(row.values()),
        )
        if isinstance(record, JobRecord):
            asked = record.asked
            assets = (*asked.models, asked.dataset, record.target, record.made.output_dataset)
            for asset in filter(None, assets):
                db.execute("insert or ignore into job_assets values (?, ?)", (record.id, asset))

    @classmethod
    def _make_table(cls, db: sqlite3.Connection, kind: type[Any]) -> None:
        """The table of a kind of record; one of an earlier version gets what columns it lacks."""
        columns = {name: f"{name} {type}" for name, type in COLUMNS[kind].items()}
        table, own = _TABLES[kind], ", ".join(columns.values())
        db.execute(
            f"create table if not exists {table} (id text primary key, {own}, body text not null)"
        )
        there = {row[1] for row in db.execute(f"pragma table_info({table})")}
        missing = [column for name, column in columns.items() if name not in there]
        for column in missing:
            db.execute(f"alter table {table} add column {column}")
        if missing:
            for (body,) in db.execute(f"select body from {table}").fetchall():
                cls._write(db, decode(kind, body))


def _seen(kind: type[Any], viewer: str, search: Search) -> tuple[str, list[Any]]:
    """The condition of what `viewer` may see and looks for, with its values."""
    where, values = search.where(kind)
    own = "(owner = ? or id in (select asset from shares where email = ?))"
    return f"{own} and {where}", [viewer, viewer, *values]
