"""What the address of a list asks for, and what stands around the list."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from reference.aihub.pages.present import state_of
from reference.aihub.pages.views import STATES, Link
from reference.aihub.records import JobRecord, JobState
from reference.aihub.search import Search, orders

PER_PAGE = 50
TABS = ("compile", "profile", "inference", "quantize", "link")
_LONGEST = 200  # characters of what is looked for
_NEWEST = "-created"


@dataclass(frozen=True)
class Column:
    """The heading of a column, `href` to sort by it, and how it is sorted (empty if it is not)."""

    heading: str
    href: str
    order: str


@dataclass(frozen=True)
class Listing:
    """One page of a list: its things `first` to `last` of the `found` ones, among `all` there are.

    `form` are the fields of its form that are not seen, `reset` is where nothing is left out, and
    `words` is what the address asks for.
    """

    found: int
    all: int
    first: int
    last: int
    columns: tuple[Column, ...]
    pages: tuple[Link, ...]
    kind: str
    text: str
    status: str
    device: str
    filtered: bool
    form: tuple[tuple[str, str], ...]
    reset: str
    words: str


@dataclass(frozen=True)
class Query:
    """What the address of a list asks for; what makes no sense there is left out.

    `sort` is a column, with a minus for the last first. `page` counts from 0.
    """

    path: str
    kind: str = ""
    text: str = ""
    status: str = ""
    device: str = ""
    sort: str = _NEWEST
    page: int = 0

    @classmethod
    def read(cls, path: str, asked: Mapping[str, str], kind: type[Any]) -> "Query":
        """The query of an address."""
        jobs, sort, page = kind is JobRecord, asked.get("sort", ""), asked.get("page", "")
        return cls(
            path,
            asked["kind"] if jobs and asked.get("kind") in TABS else "",
            asked.get("q", "").strip()[:_LONGEST],
            asked["status"] if jobs and asked.get("status") in STATES else "",
            asked.get("device", "")[:_LONGEST] if jobs else "",
            sort if sort.removeprefix("-") in orders(kind) else _NEWEST,
            int(page) if re.fullmatch("[0-9]{1,9}", page) else 0,
        )

    @property
    def search(self) -> Search:
        """The same for the store."""
        return Search(
            text=self.text,
            kinds=(self.kind,) if self.kind else (),
            states=tuple(int(state) for state in JobState if state_of(state) == self.status),
            device=self.device,
            order=self.sort.removeprefix("-"),
            down=self.sort.startswith("-"),
        )

    @property
    def filtered(self) -> bool:
        """Whether something is left out, beside other kinds."""
        return bool(self.text or self.status or self.device)

    @property
    def unfiltered(self) -> "Query":
        """The same with nothing left out, beside other kinds."""
        return replace(self, text="", status="", device="", page=0)

    @property
    def words(self) -> str:
        """As the part of an address behind its question mark."""
        asked = {
            "kind": self.kind,
            "q": self.text,
            "status": self.status,
            "device": self.device,
            "sort": self.sort if self.sort != _NEWEST else "",
            "page": str(self.page) if self.page else "",
        }
        return urlencode({name: value for name, value in asked.items() if value})

    def href(self, **changes: Any) -> str:
        """The address of the list with `changes`; another order or filter begins at its start."""
        other = replace(self, **{"page": 0, **changes})
        return f"{self.path}?{other.words}" if other.words else self.path

    def column(self, name: str, heading: str) -> Column:
        """A heading that sorts by its column; what it is sorted by is turned round."""
        order = {name: "ascending", f"-{name}": "descending"}.get(self.sort, "")
        sort = f"-{name}" if order == "ascending" else name
        return Column(heading, self.href(sort=sort), order)
