"""The tracks that there are: those of this package, those that others bring through the entry point
group `lpcvc.tracks`, and contracts in TOML files.
"""

import importlib
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from reference.closest import unknown
from reference.errors import SubmissionError, one_line
from reference.tracks import SHARED_PREFIXES, Track

GROUP = "lpcvc.tracks"

_from_files: dict[str, Track] = {}


@cache
def packages() -> dict[str, str]:
    """The package of each track by its name, the built-in ones first; none is imported."""
    here = Path(__file__).parent
    found = {
        path.parent.name: f"{__package__}.{path.parent.name}"
        for path in sorted(here.glob("*/contract.py"))
    }
    for point in sorted(entry_points(group=GROUP)):
        if found.setdefault(point.name, point.value) != point.value:
            raise SubmissionError(
                f"two tracks are called {point.name}: {found[point.name]} and {point.value}",
                f"rename the entry point of {GROUP}, or uninstall one of them",
            )
    return found


@cache
def editions(name: str) -> tuple[Track, ...]:
    """The editions of a track, its default one first.

    Raises SubmissionError where its package has no contract that can be imported.
    """
    package = packages()[name]
    try:
        found: tuple[Track, ...] = tuple(importlib.import_module(f"{package}.contract").TRACKS)
    except Exception as error:
        raise SubmissionError(
            f"the track {name} cannot be read from {package}.contract:"
            f" {one_line(f'{type(error).__name__}: {error}')}",
            "mend that package, or uninstall it",
        ) from error
    if strange := {edition.name for edition in found} - {name}:
        raise SubmissionError(
            f"{package}.contract has the track {strange.pop()!r}",
            f"call its entry point of {GROUP} so too",
        )
    return found


def all_tracks() -> dict[str, Track]:
    """Every edition of every track that is installed, by id.

    Raises SubmissionError where two tracks number their rules alike.
    """
    owners = dict.fromkeys(SHARED_PREFIXES, "the rules of all tracks")
    for name in packages():
        for prefix in dict.fromkeys(track.prefix for track in editions(name)):
            if owners.setdefault(prefix, name) != name:
                raise SubmissionError(
                    f"the rules of {name} begin with {prefix} like {owners[prefix]}'s",
                    f"give {packages()[name]}.contract another prefix",
                )
    return {track.id: track for name in packages() for track in editions(name)}


def known_track(id: str) -> Track | None:
    """The edition of that id, None where there is none. Of a file's it is the one read last."""
    return _from_files.get(id) or all_tracks().get(id)


def default_tracks() -> dict[str, Track]:
    """The default edition of each, by name."""
    return {name: editions(name)[0] for name in packages()}


def find_track(name: str) -> Track:
    """The track called `name`: an id (`depth-2025`), a bare name for its default edition, or the
    path of a contract, `FILE.toml`.

    Raises SubmissionError for a track or an edition that does not exist, or a file that is none.
    """
    if name.endswith(".toml"):
        from reference.contract_file import read_contract

        track = read_contract(Path(name), find_track)
        if track.id in packages():
            raise SubmissionError(
                f"{name} calls itself {track.id}, as an installed track does", "rename it"
            )
        _from_files[track.id] = track
        return track
    if name in packages():
        return editions(name)[0]
    for base in packages():
        if name.startswith(f"{base}-"):
            for track in editions(base):
                if track.id == name:
                    return track
    known = sorted({*packages(), *all_tracks()})
    raise unknown(f"unknown track or edition {name!r}", name, known)
