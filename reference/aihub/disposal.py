"""What leaves a hub: what its owner deletes, what nobody needs, and what a disk has damaged."""

import contextlib
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from reference.aihub.access import Unknown
from reference.aihub.blobs import Blobs, Damaged
from reference.aihub.problems import Refused
from reference.aihub.records import DatasetRecord, JobRecord, JobState, ModelRecord, Record
from reference.aihub.store import KINDS_BY_LETTER, Store

_DAY = 24 * 3600.0
_USED = """
select json_extract(body, '$.blob') from models
union select json_extract(body, '$.blob') from datasets
union select digest from uploads
union select value from jobs, json_each(jobs.body, '$.made.logs')
"""


@dataclass
class Freed:
    """What was deleted: jobs, models and data sets, files that nothing used, and all bytes."""

    things: int = 0
    files: int = 0
    bytes: int = 0


def delete(store: Store, blobs: Blobs, record: Record) -> int:
    """Deletes a thing with its files; a job with what it made. The bytes that this frees.

    Raises Refused while a job that is not finished needs it. What finished jobs name stays as a
    name, without a file and without an owner.
    """
    with store.writing() as db:
        gone = [record]
        if isinstance(record, JobRecord):
            gone += _found(store, record.target, record.made.output_dataset)
        for each in gone:
            _refuse_needed(db, each)
        digests = {digest for each in gone for digest in _digests(each)}
        for each in gone:
            if isinstance(each, JobRecord):
                _forget_job(store, db, each)
        for each in gone:
            if not isinstance(each, JobRecord):
                _forget(store, db, each)
    return sum(_remove_unused(store, blobs, digest) for digest in digests)


def prune(store: Store, blobs: Blobs, days: float | None) -> Freed:
    """Deletes what nobody can use: data sets that have expired, uploads that never came, files that
    nothing names. With `days`, also jobs that ended so long ago, and older things of no job.
    """
    now, freed = time.time(), Freed()
    before = 0.0 if days is None else now - days * _DAY
    for record in _all(store):
        if _old(store, record, before) or _useless(record, now):
            with contextlib.suppress(Refused, Unknown):  # needed, or gone with another
                freed.bytes += delete(store, blobs, store.again(record))
                freed.things += 1
    with store.writing():  # nothing becomes of a file meanwhile
        for digest in set(blobs.digests()) - _used(store):
            freed.bytes += blobs.remove(digest)
            freed.files += 1
    return freed


@contextlib.contextmanager
def inspection(store: Store, blobs: Blobs) -> Iterator[None]:
    """Beside the block, reads all files, and prints which things have a damaged one."""
    end = threading.Event()

    def look() -> None:
        for line in damaged(store, blobs, end.is_set):
            print(f"lpcvc: {line}", file=sys.stderr, flush=True)

    threading.Thread(target=look, daemon=True).start()
    try:
        yield
    finally:
        end.set()


def damaged(store: Store, blobs: Blobs, stopped: Callable[[], bool]) -> Iterator[str]:
    """What has a file that is damaged, or gone, and what helps."""
    for record in _all(store):
        for digest in _digests(record):
            if stopped():
                return
            try:
                blobs.check(digest)
            except Damaged as error:
                yield (
                    f"a file of {record.id} ({record.name}) of {record.owner} is damaged, or gone:"
                    f" {error}; upload or make it again"
                )


def _all(store: Store) -> Iterator[Record]:
    yield from store.every(JobRecord)
    yield from store.every(DatasetRecord)
    yield from store.every(ModelRecord)


def _digests(record: Record) -> list[str]:
    if isinstance(record, JobRecord):
        return list(record.made.logs.values())
    return [record.blob] if record.blob else []


def _found(store: Store, *ids: str) -> Iterator[Record]:
    for id in filter(None, ids):
        with contextlib.suppress(Unknown):
            yield store.get(KINDS_BY_LETTER[id[0]], id)


def _refuse_needed(db: sqlite3.Connection, record: Record) -> None:
    ends = int(JobState.DONE), int(JobState.FAILED)
    query = (
        "select id from jobs where state not in (?, ?) and (id = ? or id in"
        " (select job from job_assets where asset = ?)) limit 1"
    )
    job = db.execute(query, (*ends, record.id, record.id)).fetchone()
    if job is not None:
        raise Refused(f"{record.id} cannot be deleted while job {job[0]} is not finished")


def _forget_job(store: Store, db: sqlite3.Connection, job: JobRecord) -> None:
    """Also what was a name for this job alone."""
    named = [id for (id,) in db.execute("select asset from job_assets where job = ?", (job.id,))]
    store.forget(job)
    for asset in _found(store, *named):
        if not asset.owner:
            _forget(store, db, asset)


def _forget(store: Store, db: sqlite3.Connection, asset: Record) -> None:
    named = db.execute("select 1 from job_assets where asset = ?", (asset.id,)).fetchone()
    store.forget(asset)
    if named and not isinstance(asset, JobRecord):
        store.insert(replace(asset, owner="", blob="", size=0))


def _remove_unused(store: Store, blobs: Blobs, digest: str) -> int:
    with store.writing():  # nothing else becomes of it meanwhile
        return 0 if digest in _used(store) else blobs.remove(digest)


def _used(store: Store) -> set[str]:
    with store.writing() as db:
        return {digest for (digest,) in db.execute(_USED)}


def _old(store: Store, record: Record, before: float) -> bool:
    if isinstance(record, JobRecord):
        return (record.finished or before) < before
    return record.created < before and not store.named(record.id)


def _useless(record: Record, now: float) -> bool:
    if isinstance(record, DatasetRecord) and (record.expires or now) < now:
        return True
    made = isinstance(record, JobRecord) or record.producer or record.blob
    return not made and bool(record.owner) and record.created < now - _DAY
