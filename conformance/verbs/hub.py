"""`lpcvc hub`: a local AI Hub for the official client."""

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.verbs import Answer, add_limits, limits_of
from reference.errors import SubmissionError

if TYPE_CHECKING:
    from conformance.verbs import Verbs


def add_to(verbs: "Verbs") -> None:
    """Adds the parser, with its own verbs."""
    hub = verbs.add_parser("hub", help="a local AI Hub that the official client talks to")
    own = hub.add_subparsers(required=True, metavar="VERB")

    serve = own.add_parser("serve", help="run it until Ctrl-C")
    _add_state(serve)
    serve.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    serve.add_argument("--port", type=int, default=8010, help="0 is any; default: %(default)s")
    serve.add_argument(
        "--allow-remote", action="store_true", help="let other machines in, if --host does"
    )
    serve.add_argument(
        "--workers", type=int, default=1, metavar="N", help="jobs at once; default: %(default)s"
    )
    serve.add_argument(
        "--max-upload",
        type=float,
        default=4.0,
        metavar="GIB",
        help="of one file, and of what an archive holds; default: %(default)s",
    )
    serve.add_argument(
        "--quota",
        type=float,
        metavar="GIB",
        help="of all models and data sets of one user; default: what the disk has",
    )
    add_limits(serve, "one step of a job")
    serve.add_argument(
        "--deadline",
        type=float,
        default=4.0,
        metavar="HOURS",
        help="for a whole job; default: %(default)s",
    )
    serve.set_defaults(verb=_serve)

    user = own.add_parser("add-user", help="let somebody in, or give them a new token")
    _add_state(user)
    user.add_argument("email")
    user.set_defaults(verb=_add_user)

    prune = own.add_parser(
        "prune", help="delete what nobody can use any more, and with --older-than what is old"
    )
    _add_state(prune)
    prune.add_argument(
        "--older-than",
        type=float,
        metavar="DAYS",
        help="also jobs that ended so long ago, and models and data sets that no job names",
    )
    prune.set_defaults(verb=_prune)

    users = own.add_parser("users", help="list who is let in")
    _add_state(users)
    users.set_defaults(verb=_users)


def _add_state(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--state",
        type=Path,
        default=Path("lpcvc-hub"),
        metavar="DIR",
        help="where models, data and jobs are kept; default: %(default)s",
    )


def _serve(options: argparse.Namespace) -> Answer:
    from reference.aihub.execute import Place
    from reference.aihub.local import OWNER
    from reference.aihub.server import Settings, add_user, serve, warnings

    place = Place(
        options.state,
        limits=limits_of(options),
        deadline=_above_zero("--deadline", options.deadline) * 3600,
        max_upload=int(_above_zero("--max-upload", options.max_upload) * 2**30),
        quota=int(_above_zero("--quota", options.quota) * 2**30),
    )
    settings = Settings(place, options.host, options.port, options.allow_remote, options.workers)

    def ready(url: str) -> None:
        for warning in warnings(url):
            print(f"lpcvc: {warning}", file=sys.stderr)
        if options.allow_remote:
            print("lpcvc: other machines can reach this hub, unencrypted", file=sys.stderr)
        first = "" if place.store().users() else add_user(place, OWNER)
        token = first or "TOKEN"
        print(f"{url}  (Ctrl-C ends it; everything stays in {options.state})")
        print(f"qai-hub configure --api_url {url} --web_url {url} --api_token {token}")
        if not first:
            print("the token is the one that was shown first; `lpcvc hub add-user` gives another")
        sys.stdout.flush()

    serve(settings, ready)
    return "stopped", 0


def _above_zero(option: str, amount: float | None) -> float:
    if amount is None:
        return 0.0
    if not 0 < amount < math.inf:
        raise SubmissionError(f"{option} {amount:g} allows nothing", "give a number above 0")
    return amount


def _prune(options: argparse.Namespace) -> Answer:
    from reference.aihub.disposal import prune
    from reference.aihub.execute import Place
    from reference.aihub.server import existing

    days = options.older_than
    if days is not None and not 0 <= days < math.inf:
        raise SubmissionError(f"--older-than {days:g} is no time", "give days, 0 or more")
    place = Place(options.state)
    freed = prune(existing(place), place.blobs(), days)
    return (
        f"deleted {freed.things} jobs, models and data sets, and {freed.files} files that nothing"
        f" names: {freed.bytes / 1e6:.1f} MB",
        0,
    )


def _add_user(options: argparse.Namespace) -> Answer:
    from reference.aihub.execute import Place
    from reference.aihub.server import add_user

    token = add_user(Place(options.state), options.email)
    return f"{options.email}: {token}\nThe token is not shown again.", 0


def _users(options: argparse.Namespace) -> Answer:
    from reference.aihub.execute import Place
    from reference.aihub.server import users

    return "\n".join(users(Place(options.state))), 0
