"""Say what is kept on disk for the next time, and remove it."""

import dataclasses
import json
from collections.abc import Sequence

import click

from conformance.submission.graph import megabytes
from conformance.verbs import Answer
from reference.cache import Cache, Entry, default_limit, parse_size


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def command(context: click.Context, as_json: bool) -> Answer | None:
    """Say what is kept of compiled models and exported references, where, and how much it may be.

    LPCVC_CACHE names the folder, and LPCVC_CACHE_LIMIT, such as 10GB, what it may hold: what has
    been unused for longest goes first. All of it is made again when it is needed.
    """
    if context.invoked_subcommand:
        return None
    cache, limit = Cache(), default_limit()
    entries = cache.entries()
    if as_json:
        kept = [
            {**dataclasses.asdict(entry), "folder": str(entry.folder)}
            for entry in reversed(entries)
        ]
        told = {"folder": str(cache.folder), "limit": limit, "entries": kept}
        return json.dumps(told, indent=1), 0
    size = megabytes(sum(entry.size for entry in entries))
    lines = [f"{cache.folder}: {size}, of {limit / 1e9:g} GB that it may be"]
    return "\n".join([*lines, *_by_kind(entries)]), 0


@command.command()
@click.option("--to", default="0", metavar="SIZE", help="What may stay, such as 2GB.")
def prune(to: str) -> Answer:
    """Remove what has been unused for longest, until SIZE is left."""
    removed = Cache().prune(parse_size(to, "--to"))
    size = megabytes(sum(entry.size for entry in removed))
    return "\n".join([f"removed: {size}", *_by_kind(removed)]), 0


def _by_kind(entries: Sequence[Entry]) -> list[str]:
    kinds = sorted({entry.kind for entry in entries})
    sizes = {kind: [entry.size for entry in entries if entry.kind == kind] for kind in kinds}
    return [f"  {kind}: {len(own)}, {megabytes(sum(own))}" for kind, own in sizes.items()]
