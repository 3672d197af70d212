"""The score of a run as a small JSON file, which baselines and reports take in."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from conformance.scoring.store import Run
from conformance.scoring.summary import Summary
from reference.errors import SubmissionError
from reference.tracks import Track

_SCHEMA = 1


@dataclass(frozen=True)
class Score:
    """The score of one submission as it is reported; `interval` is the bootstrap's.

    `data` names the data set and `digest` tells those of one name apart. `runtime` is what
    `--runtime` had, `computed_by` the same with its versions.
    """

    track: str
    submission: str
    data: str
    digest: str
    runtime: str
    computed_by: str
    metric: str
    value: float
    interval: tuple[float, float] | None
    items: int
    failed: int


def score_of(track: Track, data: Path, runtime: str, run: Run, summary: Summary) -> Score:
    """The score of a run. Raises SubmissionError where no item has an answer."""
    if summary.value is None:
        raise SubmissionError("no item has an answer, so there is no score to keep", "see above")
    bounds, scale = summary.interval, summary.headline.scale
    return Score(
        track.id,
        run.label,
        data.name,
        run.data,
        runtime,
        run.runtime,
        summary.headline.name,
        summary.value * scale,
        (bounds.low * scale, bounds.high * scale) if bounds else None,
        len(summary.results),
        len(summary.failed),
    )


def keep_score(path: Path, score: Score) -> None:
    """Adds a score to a file; one of the same submission, data and runtime is replaced."""
    others = [s for s in (read_scores(path) if path.exists() else []) if _key(s) != _key(score)]
    document = {"schema": _SCHEMA, "scores": [asdict(each) for each in [*others, score]]}
    partial = path.with_name(f"{path.name}.part")
    partial.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def read_scores(path: Path) -> list[Score]:
    """The scores in a file. Raises SubmissionError for one that is not ours."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["schema"] != _SCHEMA:
            raise ValueError(f"schema {document['schema']}, not {_SCHEMA}")
        scores = [Score(**entry) for entry in document["scores"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SubmissionError(
            f"{path.name} does not hold scores: {error}",
            "give a file that `lpcvc score --keep FILE` has written",
        ) from None
    bounds = [score.interval for score in scores]
    return [
        Score(**{**vars(score), "interval": (own[0], own[1]) if own else None})
        for score, own in zip(scores, bounds, strict=True)
    ]


def _key(score: Score) -> tuple[str, ...]:
    return score.track, score.submission, score.digest, score.runtime
