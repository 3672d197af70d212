"""What a data set is made of: items, and what is wrong with it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Item:
    """One forward pass. Nothing of it is read yet.

    `part` is the model that takes it. Items of one `group`, the texts of a picture, are not
    independent of each other. `truth` says where the truth is, in the words of the track's module;
    None where there is none. `where` is the file to look at.
    """

    id: str
    part: str
    group: str
    image: Path | None = None
    text: str = ""
    truth: Any = None
    where: str = ""


@dataclass(frozen=True)
class Finding:
    """Something wrong with a file. One that is not `fatal` stands against no score here, and one
    that is `scored` neither: the official code scores such data too, or could.
    """

    file: str
    problem: str
    remedy: str
    fatal: bool = True
    scored: bool = False


@dataclass(frozen=True)
class Index:
    """What a folder holds: the items, the files that they are made of, and what is wrong."""

    items: tuple[Item, ...]
    files: frozenset[Path]
    findings: tuple[Finding, ...]
