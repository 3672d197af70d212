"""The score of a run as a small JSON file, which baselines and reports take in."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from conformance.scoring.datasets import Dataset
from conformance.scoring.store import Run
from conformance.scoring.summary import Summary
from reference.errors import SubmissionError
from reference.tracks import Track

_SCHEMA = 1
_NOTES = 20


@dataclass(frozen=True)
class Score:
    """The score of one submission as it is reported; `interval` is the bootstrap's.

    `data` names the data set and `digest` tells those of one name apart. `runtime` is what
    `--runtime` had, `computed_by` the same with its versions. `notes` are errors of the data that
    the official code scores too, the first few.
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
    notes: tuple[str, ...] = ()


def score_of(track: Track, data: Dataset, runtime: str, run: Run, summary: Summary) -> Score:
    """The score of a run. Raises SubmissionError where no item has an answer."""
    if summary.value is None:
        raise SubmissionError("no item has an answer, so there is no score to keep", "see above")
    wrong = [f"{Path(f.file).name}: {f.problem}" for f in data.findings if f.fatal]
    bounds, scale = summary.interval, summary.headline.scale
    return Score(
        track.id,
        run.label,
        data.folder.name,
        run.data,
        runtime,
        run.runtime,
        summary.headline.name,
        summary.value * scale,
        (bounds.low * scale, bounds.high * scale) if bounds else None,
        len(summary.results),
        len(summary.failed),
        (*wrong[:_NOTES], *([f"and {len(wrong) - _NOTES} more"] if wrong[_NOTES:] else [])),
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
        replace(score, interval=(own[0], own[1]) if own else None, notes=tuple(score.notes))
        for score, own in zip(scores, bounds, strict=True)
    ]


def _key(score: Score) -> tuple[str, ...]:
    return score.track, score.submission, score.digest, score.runtime
