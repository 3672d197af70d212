"""Say what is kept on disk for the next time, and remove it."""

from collections.abc import Sequence

import click

from conformance.submission.graph import megabytes
from conformance.verbs import Found, in_json
from reference.cache import Cache, Entry, default_limit, parse_size


@click.group(invoke_without_command=True)
@in_json
def command() -> Found:
    """Say what is kept, such as compiled models and exported references, where and how much.

    LPCVC_CACHE names the folder, and LPCVC_CACHE_LIMIT, such as 10GB, what it may hold: what has
    been unused for longest goes first. All of it is made again when it is needed.
    """
    cache, limit = Cache(), default_limit()
    entries = cache.entries()
    first = f"{cache.folder}: {_size(entries)}, of {limit / 1e9:g} GB that it may be"
    found = {"folder": cache.folder, "limit_bytes": limit, "entries": [*map(_fields, entries)]}
    return "\n".join([first, *_by_kind(entries)]), 0, found


@command.command()
@click.option("--to", default="0", metavar="SIZE", help="What may stay, such as 2GB.")
@in_json
def prune(to: str) -> Found:
    """Remove what has been unused for longest, until SIZE is left."""
    removed = Cache().prune(parse_size(to, "--to"))
    text = "\n".join([f"removed: {_size(removed)}", *_by_kind(removed)])
    return text, 0, {"removed": [*map(_fields, removed)]}


def _fields(entry: Entry) -> dict[str, object]:
    name, kind = entry.folder.name, entry.kind
    return {"name": name, "kind": kind, "size_bytes": entry.size, "used_epoch_seconds": entry.used}


def _by_kind(entries: Sequence[Entry]) -> list[str]:
    kinds = {
        kind: [e for e in entries if e.kind == kind] for kind in sorted(e.kind for e in entries)
    }
    return [f"  {kind}: {len(own)}, {_size(own)}" for kind, own in kinds.items()]


def _size(entries: Sequence[Entry]) -> str:
    return megabytes(sum(entry.size for entry in entries))
