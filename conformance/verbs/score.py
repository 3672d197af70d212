"""`lpcvc data` and `lpcvc score`: a data set checked, and a submission scored on it."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.verbs import Answer, add_limits, limits_of
from reference.errors import SubmissionError
from reference.registry import find_track

if TYPE_CHECKING:
    from conformance.verbs import Verbs


def add_to(verbs: "Verbs") -> None:
    """Adds the two parsers."""
    data = verbs.add_parser("data", help="what there is to score on")
    actions = data.add_subparsers(required=True, metavar="ACTION")
    check = actions.add_parser("check", help="say what is wrong with a data set")
    check.add_argument("folder", type=Path, metavar="DIR")
    check.add_argument("--track", required=True)
    check.set_defaults(verb=_check)

    score = verbs.add_parser("score", help="score a submission on a data set, on this machine")
    score.add_argument("--track", required=True)
    score.add_argument("--data", required=True, type=Path, metavar="DIR")
    score.add_argument(
        "--submission",
        action="append",
        required=True,
        metavar="[PART=]MODEL",
        help="as for pytest; once for each part",
    )
    score.add_argument(
        "--runtime",
        default="ort",
        metavar="NAME",
        help="what computes: ort, torch, npu or aihub; default: %(default)s",
    )
    score.add_argument("--device", metavar="NAME", help="for npu and aihub; default: the track's")
    score.add_argument("--engine", choices=("local", "ray"), default="local")
    score.add_argument("--address", help="of a Ray cluster; default: one made on this machine")
    score.add_argument("--workers", type=int, default=1, metavar="N", help="default: %(default)s")
    score.add_argument(
        "--results",
        type=Path,
        default=Path("lpcvc-scores.sqlite"),
        metavar="FILE",
        help="results by item, continued where they are there; default: %(default)s",
    )
    score.add_argument("--table", type=Path, metavar="FILE.csv", help="write a row for each item")
    score.add_argument(
        "--keep", type=Path, metavar="FILE.json", help="keep the score for baselines and reports"
    )
    score.add_argument("--pictures", type=Path, metavar="DIR", help="draw the worst items")
    score.add_argument(
        "--compare", type=Path, metavar="FILE", help="compare with the runs of a file of results"
    )
    add_limits(score, "loading the model or one forward pass")
    score.set_defaults(verb=_score)


def _check(options: argparse.Namespace) -> Answer:
    from conformance.verbs.data import check_dataset

    return check_dataset(find_track(options.track), options.folder)


def _score(options: argparse.Namespace) -> Answer:
    from conformance.scoring.cluster import RayEngine
    from conformance.scoring.engines import local
    from conformance.scoring.score import Options, score_submission

    track = find_track(options.track)
    if options.workers < 1:
        raise SubmissionError("--workers is below 1", "give 1 or more")
    if options.address and options.engine != "ray":
        raise SubmissionError("--address is of a Ray cluster", "add --engine ray")
    return score_submission(
        track,
        options.data,
        options.submission,
        Options(
            runtime=options.runtime,
            device=options.device or track.device,
            engine=RayEngine(options.address) if options.engine == "ray" else local,
            workers=options.workers,
            limits=limits_of(options),
            results=options.results,
            pictures=options.pictures,
            table=options.table,
            compare=options.compare,
            keep=options.keep,
        ),
    )
