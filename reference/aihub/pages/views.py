"""What the pages show, as the templates take it: nothing of the store, nothing of HTTP."""

import datetime
from dataclasses import dataclass
from typing import Literal

from reference.aihub.records import ListedKind
from reference.aihub.tasks import Profile, TensorSpec

State = Literal["waiting", "running", "ready", "failed"]

STATES: dict[State, str] = {
    "waiting": "Waiting",
    "running": "Running",
    "ready": "Results ready",
    "failed": "Failed",
}


@dataclass(frozen=True)
class Link:
    """A place to go to; `detail` stands beside it, such as a size."""

    text: str
    href: str
    detail: str = ""


@dataclass(frozen=True)
class Sharing:
    """Who else sees a thing. Only its owner may change it: then `action` is where the form goes."""

    emails: tuple[str, ...] = ()
    action: str = ""


@dataclass(frozen=True)
class JobView:
    """One job. `seconds` is how long it took or has taken, None before it starts."""

    id: str
    kind: ListedKind
    name: str
    state: State
    owner: str
    created: datetime.datetime
    device: str
    seconds: float | None = None
    options: str = ""
    failure: str = ""
    notices: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    sources: tuple[Link, ...] = ()
    downloads: tuple[Link, ...] = ()
    visualize: str = ""
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    profile: Profile | None = None
    sharing: Sharing = Sharing()

    @property
    def finished(self) -> bool:
        """Whether nothing more happens to it."""
        return self.state in ("ready", "failed")

    @property
    def word(self) -> str:
        """Its state in words."""
        return STATES[self.state]


@dataclass(frozen=True)
class AssetView:
    """One model or data set."""

    id: str
    name: str
    kind: str
    owner: str
    created: datetime.datetime
    bytes: int | None
    expires: datetime.datetime | None = None
    producer: Link | None = None
    facts: tuple[tuple[str, str], ...] = ()
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    downloads: tuple[Link, ...] = ()
    visualize: str = ""
    sharing: Sharing = Sharing()


@dataclass(frozen=True)
class Page:
    """What every page has. `user` is empty before signing in; `csrf` goes into each form."""

    user: str = ""
    csrf: str = ""
    message: str = ""
    problem: str = ""
    here: str = ""
