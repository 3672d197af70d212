"""The score of a folder of answers, in two readings, neither of which is official code.

The early page has 0.5 x F1 + 0.5 x explanation, and no code says what the explanation is. The
winner's estimator scores each picture: a real one has its detection alone, a generated one 0.5
detection + 0.25 criteria + 0.25 evidence. Its evidence is the cosine of sentence embeddings
(all-MiniLM-L6-v2, clipped to [0, 1]): a language model, which is not run here, so that part is
left out and what it could add is said.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reference.aigc.answer import CRITERIA, Answer, read_answer
from reference.aigc.dataset import Truth
from reference.datasets.items import Item
from reference.errors import SubmissionError
from reference.scores import Joined, Result, at_least_one

ENDINGS = (".json", ".txt")
DETECTION, MATCH, EVIDENCE = 0.5, 0.25, 0.25
_MOST_BYTES = 2**20


@dataclass(frozen=True)
class Judged:
    """One picture: its truth and its answer, None where there is none that can be read."""

    truth: Truth
    answer: Answer | None

    @property
    def right(self) -> bool:
        """Whether the verdict is; where there is none it is not."""
        return self.answer is not None and self.answer.generated == self.truth.generated


def f1(judged: Sequence[Judged]) -> float:
    """Of "AI-Generated"; a picture without an answer counts as a wrong one. 0 where none is hit."""
    hits = sum(each.truth.generated and each.right for each in judged)
    misses = sum(each.truth.generated and not each.right for each in judged)
    alarms = sum(not each.truth.generated and not each.right for each in judged)
    return 2 * hits / (2 * hits + misses + alarms) if hits else 0.0


def criterion_match(truth: Truth, answer: Answer) -> float:
    """The share of criteria with the right score, among those that both have; 0 where none is."""
    both = [name for name in CRITERIA if name in truth.scores and name in answer.scores]
    return sum(truth.scores[n] == answer.scores[n] for n in both) / len(both) if both else 0.0


def image_score(judged: Judged, evidence: float = 0.0) -> float:
    """The winner's estimate for one picture, in [0, 1]; `evidence` is a similarity in [0, 1]."""
    if judged.answer is None:
        return 0.0
    if not judged.truth.generated:
        return float(judged.right)
    match = criterion_match(judged.truth, judged.answer)
    return DETECTION * judged.right + MATCH * match + EVIDENCE * evidence


def evidence_left(judged: Judged) -> float:
    """What the evidence could add to that: something where both sides have some."""
    if judged.answer is None or not judged.truth.generated:
        return 0.0
    theirs, ours = judged.truth.evidence, judged.answer.evidence
    return EVIDENCE * any(theirs.get(name, "").strip() and ours.get(name) for name in CRITERIA)


def score(
    items: Sequence[Item], truth: Callable[[Item], Truth], folder: Path
) -> tuple[Joined, list[str]]:
    """The results of the pictures, both scores in words, and the files that answer to none."""
    files = _files(folder)
    used: set[Path] = set()
    judged, results = [], []
    for item in at_least_one(items):
        known = truth(item)
        try:
            path = _answer_of(item, items, files)
            used.add(path)
            answer = _read(path)
        except SubmissionError as error:
            judged.append(Judged(known, None))
            results.append(Result(item.id, {"score": 0.0}, error=str(error)))
            continue
        judged.append(Judged(known, answer))
        numbers = {"score": image_score(judged[-1]), "detection": float(judged[-1].right)}
        if known.scores:
            numbers["criteria"] = criterion_match(known, answer)
        results.append(Result(item.id, numbers, note="; ".join(answer.problems)))
    surplus = sorted(p.relative_to(folder).as_posix() for p in files.values() if p not in used)
    return Joined(results, _remarks(judged)), surplus


def _remarks(judged: Sequence[Judged]) -> tuple[tuple[str, str], ...]:
    detection, count = f1(judged), len(judged)
    estimate = sum(map(image_score, judged)) / count
    more = sum(map(evidence_left, judged)) / count
    unread = sum(each.answer is None for each in judged)
    remarks = [
        (
            "early page",
            f"{detection / 2:.4f} = 0.5 x F1 {detection:.4f}, without the explanation, of which no"
            " code is known and which is up to 0.5",
        ),
        (
            "winner's estimator",
            f"{estimate:.4f}, without the similarity of the evidence, which is up to {more:.4f}",
        ),
    ]
    if unread and unread < count:
        own = sum(map(image_score, judged)) / (count - unread)
        remarks.append(
            ("its script", f"{own:.4f}: it leaves {unread} without an answer out of the mean")
        )
    return tuple(remarks)


def _files(folder: Path) -> Mapping[str, Path]:
    """The answers by their place without the ending; a .json file before a .txt one."""
    found: dict[str, Path] = {}
    for ending in reversed(ENDINGS):
        for path in sorted(folder.rglob(f"*{ending}")):
            found[path.relative_to(folder).with_suffix("").as_posix()] = path
    return found


def _answer_of(item: Item, items: Sequence[Item], files: Mapping[str, Path]) -> Path:
    """By its place, as the official script writes it, or by its name where no other has it."""
    name = item.id.rpartition("/")[2]
    alone = sum(each.id.rpartition("/")[2] == name for each in items) == 1
    path = files.get(item.id) or (files.get(name) if alone else None)
    if path is None:
        raise SubmissionError("there is no answer", f"write {item.id}.json: it scores 0")
    return path


def _read(path: Path) -> Answer:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise SubmissionError("it has more than 1 MiB", "let the model end")
        return read_answer(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SubmissionError(f"it cannot be read ({error.strerror})", "check it") from None
    except UnicodeDecodeError as error:
        raise SubmissionError(f"it is no UTF-8 ({error.reason})", "write it so") from None
