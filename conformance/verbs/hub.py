"""Run a local AI Hub that the official client talks to."""

import math
import sys
from pathlib import Path

import click

from conformance.verbs import PATH, Answer, Found, in_json, limited
from reference.errors import SubmissionError
from reference.process import Limits

_STATE = click.option(
    "--state",
    type=PATH,
    default=Path("lpcvc-hub"),
    metavar="DIR",
    help="Where models, data and jobs are kept.",
)


@click.group()
def command() -> None:
    """Run a local AI Hub that the official client talks to."""


@command.command()
@_STATE
@click.option("--host", default="127.0.0.1", metavar="HOST")
@click.option("--port", default=8010, metavar="PORT", help="0 is any.")
@click.option("--allow-remote", is_flag=True, help="Let other machines in, if --host does.")
@click.option("--workers", default=1, metavar="N", help="Jobs at once.")
@click.option(
    "--max-upload",
    default=4.0,
    metavar="GIB",
    help="Of one file, and of what an archive holds.",
)
@click.option(
    "--quota",
    type=float,
    metavar="GIB",
    help="Of all models and data sets of one user; default: what the disk has.",
)
@limited("one step of a job")
@click.option("--deadline", default=4.0, metavar="HOURS", help="For a whole job.")
def serve(
    state: Path,
    host: str,
    port: int,
    allow_remote: bool,
    workers: int,
    max_upload: float,
    quota: float | None,
    limits: Limits,
    deadline: float,
) -> Answer:
    """Run it until Ctrl-C."""
    from reference.aihub.execute import Place
    from reference.aihub.local import OWNER
    from reference.aihub.server import Settings, add_user, warnings
    from reference.aihub.server import serve as run

    place = Place(
        state,
        limits=limits,
        deadline=_above_zero("--deadline", deadline) * 3600,
        max_upload=int(_above_zero("--max-upload", max_upload) * 2**30),
        quota=int(_above_zero("--quota", quota) * 2**30),
    )

    def ready(url: str) -> None:
        for warning in warnings(url):
            print(f"lpcvc: {warning}", file=sys.stderr)
        if allow_remote:
            print("lpcvc: other machines can reach this hub, unencrypted", file=sys.stderr)
        first = "" if place.store().users() else add_user(place, OWNER)
        token = first or "TOKEN"
        print(f"{url}  (Ctrl-C ends it; everything stays in {state})")
        print(f"qai-hub configure --api_url {url} --web_url {url} --api_token {token}")
        if not first:
            print("the token is the one that was shown first; `lpcvc hub add-user` gives another")
        sys.stdout.flush()

    run(Settings(place, host, port, allow_remote, workers), ready)
    return "stopped", 0


def _above_zero(option: str, amount: float | None) -> float:
    if amount is None:
        return 0.0
    if not 0 < amount < math.inf:
        raise SubmissionError(f"{option} {amount:g} allows nothing", "give a number above 0")
    return amount


@command.command("add-user")
@click.argument("email")
@_STATE
@in_json
def add_user(email: str, state: Path) -> Found:
    """Let somebody in, or give them a new token."""
    from reference.aihub.execute import Place
    from reference.aihub.server import add_user

    token = add_user(Place(state), email)
    text = f"{email}: {token}\nThe token is not shown again."
    return text, 0, {"email": email, "token": token}


@command.command()
@_STATE
@click.option(
    "--older-than",
    type=float,
    metavar="DAYS",
    help="Also jobs that ended so long ago, and models and data sets that no job names.",
)
@in_json
def prune(state: Path, older_than: float | None) -> Found:
    """Delete what nobody can use any more.

    With --older-than what is old too.
    """
    from reference.aihub.disposal import prune
    from reference.aihub.execute import Place
    from reference.aihub.server import existing

    if older_than is not None and not 0 <= older_than < math.inf:
        raise SubmissionError(f"--older-than {older_than:g} is no time", "give days, 0 or more")
    place = Place(state)
    freed = prune(existing(place), place.blobs(), older_than)
    return (
        f"deleted {freed.things} jobs, models and data sets, and {freed.files} files that nothing"
        f" names: {freed.bytes / 1e6:.1f} MB",
        0,
        freed,
    )


@command.command()
@_STATE
@in_json
def users(state: Path) -> Found:
    """List who is let in."""
    from reference.aihub.execute import Place
    from reference.aihub.server import users

    found = users(Place(state))
    return "\n".join(found), 0, found
