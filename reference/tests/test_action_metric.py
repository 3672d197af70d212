"""Top-1 and Top-5 against plain Python and torch, and the evaluator's quirks by name."""

import math

import numpy as np
import pytest
import torch

from reference.action.contract import CLASSES
from reference.action.dataset import Truth
from reference.action.metric import METRIC, accuracy, places, softmax
from reference.errors import SubmissionError

COUNT = len(CLASSES)


def answers(rows: int, seed: int = 0) -> tuple[np.ndarray, list[int]]:
    """Logits, and labels of which about a half are among the likeliest."""
    generator = np.random.default_rng(seed)
    logits = generator.standard_normal((rows, COUNT)).astype(np.float32)
    labels = generator.integers(0, COUNT, rows)
    logits[np.arange(rows), labels] += generator.uniform(0, 4, rows).astype(np.float32)
    return logits, labels.tolist()


def plain(logits: np.ndarray, labels: list[int]) -> tuple[float, float]:
    """The two scores, one row at a time."""
    right = [0, 0]
    for row, label in zip(logits.tolist(), labels, strict=True):
        total = math.fsum(math.exp(x) for x in row)
        ranking = sorted(range(len(row)), key=lambda c: -math.exp(row[c]) / total)
        right[0] += ranking[0] == label
        right[1] += label in ranking[:5]
    return 100 * right[0] / len(labels), 100 * right[1] / len(labels)


def official(logits: np.ndarray, labels: list[int]) -> tuple[float, float]:
    """As evaluate.py asks torch."""
    chances = torch.softmax(torch.from_numpy(logits), dim=1)
    best = chances.topk(5, dim=1).indices
    hits = best == torch.tensor(labels)[:, None]
    return tuple(float(hits[:, :k].any(1).float().mean() * 100) for k in (1, 5))


@pytest.mark.parametrize("seed", range(5))
def test_both_scores(seed: int) -> None:
    logits, labels = answers(300, seed)
    found = accuracy(logits, labels)
    assert (found.top1, found.top5) == pytest.approx(plain(logits, labels))
    assert (found.top1, found.top5) == pytest.approx(official(logits, labels))
    assert 10 < found.top1 < found.top5 < 100


def test_an_item_has_both_numbers() -> None:
    row = np.zeros((1, COUNT), np.float32)
    row[0, [3, 7, 9, 11, 13, 15]] = [6, 5, 4, 3, 2, 1]
    scored = {c: METRIC.measure.score(row, Truth(c, None)).numbers for c in (3, 13, 15)}
    assert scored[3] == {"top1": 1.0, "top5": 1.0}
    assert scored[13] == {"top1": 0.0, "top5": 1.0}
    assert scored[15] == {"top1": 0.0, "top5": 0.0}


def test_an_answer_in_the_order_of_class_labels_is_seen() -> None:
    row = np.zeros((1, COUNT), np.float32)
    row[0, 50] = 9
    scored = METRIC.measure.score(row, Truth(18, 50))
    assert scored.numbers == {"top1": 0.0, "top5": 0.0, "top1_by_class_labels": 1.0}


def test_surplus_labels_are_cut() -> None:
    logits, labels = answers(20)
    assert accuracy(logits[:7], labels) == accuracy(logits[:7], labels[:7])


def test_surplus_answers_end_the_run() -> None:
    logits, labels = answers(20)
    with pytest.raises(SubmissionError, match="there are 20 answers and 19 rows"):
        accuracy(logits, labels[:-1])


def test_nothing_has_no_score() -> None:
    with pytest.raises(SubmissionError, match="nothing was scored"):
        accuracy(np.zeros((0, COUNT), np.float32), [])


def test_rows_pair_by_order_alone() -> None:
    logits, labels = answers(50)
    assert accuracy(logits[::-1], labels).top1 < 10 < accuracy(logits, labels).top1


def test_probabilities_score_as_their_logits_do() -> None:
    """The second softmax keeps the order while float32 tells them apart."""
    logits, labels = answers(200)
    assert accuracy(softmax(logits), labels) == accuracy(logits, labels)


def test_a_row_without_a_number_is_wrong() -> None:
    """torch calls NaN the largest and gives five classes of its own choice."""
    row = np.zeros((1, COUNT), np.float32)
    row[0, 4] = np.nan
    scored = METRIC.measure.score(row, Truth(4, None))
    assert scored.numbers == {"top1": 0.0, "top5": 0.0}
    assert scored.note == "1 of 92 values are not finite"


def test_a_softmax_that_saturates_loses_the_top_five() -> None:
    """All but the first are 0 then: their order is torch's affair, and the item is noted."""
    row = np.arange(COUNT, dtype=np.float32)[None] * 200
    assert places(row, [91]).tolist() == [0]
    scored = METRIC.measure.score(row, Truth(90, None))
    assert scored.note == f"91 classes are equally likely, {CLASSES[90]} among them"
    assert METRIC.measure.score(row, Truth(91, None)).note == ""


def test_of_equal_classes_the_first_is_taken() -> None:
    row = np.zeros((1, COUNT), np.float32)
    assert [places(row, [c]).item() for c in (0, 4, 91)] == [0, 4, 91]
