"""One answer: JSON with a verdict and eight criteria, as stage 2 of the sample is asked for it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reference.errors import SubmissionError

LIKELIHOODS = ("Real", "Uncertain", "AI-Generated")
GENERATED = LIKELIHOODS[-1]
CRITERIA = (
    "Lighting & Shadows Consistency",
    "Edges & Boundaries",
    "Texture & Resolution",
    "Perspective & Spatial Relationships",
    "Physical & Common-Sense Logic",
    "Text & Symbols",
    "Human & Biological Structure Integrity",
    "Material & Object Details",
)
# Spellings that the winner's scripts take for the ones above; the first is sample_output.json's.
_ALSO = {
    "Physical & Common Sense Logic": CRITERIA[4],
    "Lighting & Shadow Consistency": CRITERIA[0],
}
# What genie-t2t-run prints around an answer; inference_script.py takes both out of stage 1's.
_AROUND = ("[BEGIN]:", "[END]")
# What the prompt calls the score of a criterion, and what sample_output.json does.
SCORE, SAMPLE_SCORE = "aigc score", "score"


@dataclass(frozen=True)
class Answer:
    """What an answer says: a verdict, and the scores and the evidence by criterion.

    `problems` are where it is not as the prompt asks for it, and scored all the same.
    """

    likelihood: str
    scores: Mapping[str, int]
    evidence: Mapping[str, str]
    problems: tuple[str, ...] = ()

    @property
    def generated(self) -> bool:
        """Whether it takes the picture for a generated one; "Uncertain" does not."""
        return self.likelihood == GENERATED


def read_answer(text: str) -> Answer:
    """The answer in the text of a file; raises SubmissionError for one that scores 0.

    Scores and evidence are read as the winner's `evaluate_server_score.py` does: the last entry of
    a criterion counts, and a score that is no number does not.
    """
    for mark in _AROUND:
        text = text.replace(mark, "")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        fenced = text.lstrip().startswith("```")
        remedy = "leave out the fence of Markdown" if fenced else "let the model answer JSON alone"
        raise SubmissionError(f"it is no JSON ({error})", f"{remedy}: it scores 0") from None
    if not isinstance(found, dict) or not found:
        raise SubmissionError("it is no JSON object", "answer as the prompt of stage 2 asks")
    entries = found.get("per_criterion", [])
    entries = [e for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []
    scores, evidence = {}, {}
    for entry in entries:
        name = _criterion(entry)
        score = _whole(entry.get(SCORE, entry.get(SAMPLE_SCORE)))
        if score is not None:
            scores[name] = score
        if isinstance(entry.get("evidence"), str):
            evidence[name] = entry["evidence"].strip().rstrip('"').strip()
    likelihood = found.get("overall_likelihood")
    said = likelihood.strip() if isinstance(likelihood, str) else ""
    return Answer(said, scores, evidence, tuple(_problems(found, entries)))


def _criterion(entry: Mapping[str, Any]) -> str:
    name = entry.get("criterion")
    name = name.strip() if isinstance(name, str) else ""
    return _ALSO.get(name, name)


def _whole(score: object) -> int | None:
    try:
        return int(score) if score is not None else None  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        return None


def _problems(found: Mapping[str, Any], entries: list[dict[str, Any]]) -> Iterator[str]:
    if found.get("overall_likelihood") not in LIKELIHOODS:
        yield (
            f"overall_likelihood is {found.get('overall_likelihood')!r} and not one of"
            f" {', '.join(LIKELIHOODS)}"
        )
    if len(entries) != len(CRITERIA):
        yield f"per_criterion has {len(entries)} entries and not {len(CRITERIA)}"
    names = [_criterion(entry) for entry in entries]
    odd = [name for name in names if name not in CRITERIA]
    missing = [name for name in CRITERIA if name not in names]
    if odd:
        yield f"{odd[0]!r} is no criterion"
    elif missing and len(entries) == len(CRITERIA):
        yield f"{missing[0]!r} is missing"
    if any(SCORE not in entry and SAMPLE_SCORE in entry for entry in entries):
        yield f"the key is {SAMPLE_SCORE!r}, and the prompt asks for {SCORE!r} (erratum E50)"
    scores = [entry.get(SCORE, entry.get(SAMPLE_SCORE)) for entry in entries]
    if wrong := [s for s in scores if isinstance(s, bool) or s not in (0, 1)]:
        yield f"a score is {wrong[0]!r} and not 0 or 1"
    if any(not isinstance(e.get("evidence"), str) or not e["evidence"].strip() for e in entries):
        yield "a criterion has no evidence"
