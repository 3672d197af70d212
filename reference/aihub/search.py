"""How lists are searched, filtered and sorted: as SQL, on the columns that each record has."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reference.aihub.records import DatasetRecord, JobRecord, JobState, ModelRecord, Record

_OF_ALL = {"owner": "text", "project": "text", "created": "real", "name": "text", "kind": "text"}
_OF_ASSETS = {**_OF_ALL, "size": "integer"}
_OF_JOBS = {"state": "integer", "device": "text", "started": "real", "finished": "real"}
# The columns of each kind of record beside its id and its body, with their types.
COLUMNS: dict[type[Any], dict[str, str]] = {
    ModelRecord: _OF_ASSETS,
    DatasetRecord: _OF_ASSETS,
    JobRecord: {**_OF_ALL, **_OF_JOBS},
}

_SHOWN_NAME = "coalesce(nullif(name, ''), id)"
_SAID = f"{_SHOWN_NAME} || char(10) || id || char(10) || owner"
_SAID_OF_JOBS = f"{_SAID} || char(10) || device"
_HAS_DEVICE = "instr(char(10) || device || char(10), char(10) || ? || char(10))"
_ORDERS_OF_ALL = {
    "name": f"folded({_SHOWN_NAME})",
    "id": "id",
    "kind": "kind",
    "created": "created",
    "owner": "folded(owner)",
}
_ORDERS_OF_ASSETS = {**_ORDERS_OF_ALL, "size": "size"}
_ORDERS_OF_JOBS = {
    **_ORDERS_OF_ALL,
    # Whatever it runs, it is running.
    "state": f"min(state, {int(JobState.OPTIMIZING_MODEL)})",
    "device": "folded(device)",
    "took": "coalesce(finished, {now!r}) - started",
}


@dataclass(frozen=True)
class Search:
    """What is looked for; what is empty fits all. `states`, `kinds` and `device` are of jobs.

    `text` is part of a name, id, owner or device, in any case. `order` is the column to sort by,
    `down` from the last on; among equals the newest comes first.
    """

    text: str = ""
    kinds: tuple[str, ...] = ()
    states: tuple[int, ...] = ()
    device: str = ""
    project: str = ""
    creator: str = ""
    order: str = "created"
    down: bool = True

    def where(self, kind: type[Any]) -> tuple[str, list[Any]]:
        """The condition, with the values of its question marks."""
        said = _SAID_OF_JOBS if kind is JobRecord else _SAID
        conditions: list[tuple[str, tuple[Any, ...]]] = [
            (f"kind in ({_marks(self.kinds)})", self.kinds),
            (f"state in ({_marks(self.states)})", self.states),
            (_HAS_DEVICE, (self.device,) if self.device else ()),
            ("project = ?", (self.project,) if self.project else ()),
            ("owner = ?", (self.creator,) if self.creator else ()),
            (f"instr(folded({said}), ?)", (self.text.casefold(),) if self.text else ()),
        ]
        asked = [(condition, values) for condition, values in conditions if values]
        where = " and ".join(["true", *(condition for condition, _ in asked)])
        return where, [value for _, values in asked for value in values]

    def ordering(self, kind: type[Any]) -> str:
        """What comes first; a column that there is not is the time of creation."""
        by = orders(kind).get(self.order, "created").format(now=time.time())
        return f"{by} {'desc' if self.down else 'asc'}, created desc, rowid desc"


def orders(kind: type[Any]) -> dict[str, str]:
    """What lists of a kind of thing can be sorted by, as SQL."""
    return _ORDERS_OF_JOBS if kind is JobRecord else _ORDERS_OF_ASSETS


def columns_of(record: Record) -> dict[str, Any]:
    """The values of a record's columns."""
    own = {"owner": record.owner, "created": record.created, "name": record.name}
    match record:
        case JobRecord():
            return {
                **own,
                "project": record.asked.project,
                "kind": record.listed_kind,
                "state": int(record.state),
                "device": "\n".join(record.asked.devices),
                "started": record.started,
                "finished": record.finished,
            }
        case ModelRecord():
            kind = record.kind.name
        case DatasetRecord():
            kind = "dataset"
    size = record.size if record.blob else None
    return {**own, "project": record.project, "kind": kind, "size": size}


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))
