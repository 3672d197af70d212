"""Recall@10 against the evaluator's own lines, and what its list handling does to a score."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.errors import SubmissionError
from reference.retrieval.metric import RecallMean, recall_at_10
from reference.tests import plain_metrics as plain

REPEATABLE = settings(derandomize=True, deadline=None, database=None, max_examples=100)


def embeddings(n, m, d=16, seed=0):
    random = np.random.default_rng(seed)
    return [random.standard_normal((rows, d)).astype(np.float32) for rows in (n, m)]


def towards(order, d=64):
    """One image and texts, of which text `order[0]` is nearest, then `order[1]`, and so on."""
    texts = np.zeros((len(order), d), np.float32)
    texts[:, 1] = 1
    for rank, row in enumerate(order):
        texts[row, 0] = len(order) - rank
    return np.eye(1, d, dtype=np.float32), texts


@st.composite
def sets(draw):
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    n, m = draw(st.integers(1, 30)), draw(st.integers(1, 500))
    images, texts = embeddings(n, m, draw(st.sampled_from([2, 16, 65])), draw(st.integers(0, 99)))
    ids = random.integers(-5, draw(st.sampled_from([20, 70_000])), m)
    truth = [random.choice(ids, random.integers(1, 6)).tolist() for _ in range(n)]
    return images, texts, truth, ids


@REPEATABLE
@given(sets(), st.integers(1, 40))
def test_the_score_is_the_evaluators(data, block):
    images, texts, truth, ids = data
    expected, each = plain.recall_at_10(*data)
    found = recall_at_10(images, texts, truth, text_ids=ids, block=block)
    if found.close_calls == 0:
        assert found.per_image.tolist() == each
        assert found.recall == expected


@REPEATABLE
@given(sets())
def test_in_one_block_ties_fall_as_in_the_evaluators_sort(data):
    """Texts repeated until every image has a tie across ranks 10 and 11."""
    images, texts, truth, ids = data
    texts, ids = np.repeat(texts, 11, axis=0), np.arange(len(ids) * 11) % 97
    truth = [[wanted % 97 for wanted in row] for row in truth]
    found = recall_at_10(images, texts, truth, text_ids=ids, block=len(images))
    assert found.close_calls == len(images)
    assert found.per_image.tolist() == plain.recall_at_10(images, texts, truth, ids)[1]


def test_against_torchmetrics():
    torch = pytest.importorskip("torch")
    torchmetrics = pytest.importorskip("torchmetrics")
    images, texts = embeddings(20, 300)
    truth = np.random.default_rng(1).random((20, 300)) < 0.05
    truth[:, 0] = True
    similar = torch.from_numpy(plain.similarities(images, texts))
    peer = torchmetrics.retrieval.RetrievalRecall(top_k=10)
    query = torch.arange(20)[:, None].expand(-1, 300)
    expected = peer(similar.ravel(), torch.from_numpy(truth).ravel(), indexes=query.ravel())
    lists = [np.flatnonzero(row).tolist() for row in truth]
    assert recall_at_10(images, texts, lists).recall == pytest.approx(float(expected), abs=1e-6)


def test_the_best_ten_come_best_first():
    order = np.random.default_rng(2).permutation(50)
    assert recall_at_10(*towards(order), [[0]]).top.tolist() == [order[:10].tolist()]


def test_fewer_than_ten_texts():
    found = recall_at_10(*towards([2, 0, 1]), [[1, 7]])
    assert found.top.tolist() == [[2, 0, 1]]
    assert (found.recall, found.close_calls) == (0.5, 0)


def test_a_text_listed_twice_caps_the_score_at_a_half():
    assert recall_at_10(*towards(range(20)), [[3, 3]]).recall == 0.5


def test_an_id_above_int16_is_never_found():
    images, texts = towards(range(20))
    ids = [40000, *range(1, 20)]
    assert recall_at_10(images, texts, [[40000]], text_ids=ids).recall == 0
    assert recall_at_10(images, texts, [[-25536]], text_ids=ids).recall == 1


def test_texts_of_one_id_are_found_once():
    assert recall_at_10(*towards(range(20)), [[5, 6]], text_ids=[5] * 20).recall == 0.5


def test_a_row_that_was_dropped_shifts_every_text_after_it():
    """What blank rows of the list do: the ids end early and belong to other embeddings."""
    images, texts = towards(range(20))
    assert recall_at_10(images, texts, [[9]]).recall == 1
    assert recall_at_10(images, texts, [[10]]).recall == 0
    assert recall_at_10(images, texts, [[10]], text_ids=[*range(5), *range(6, 20)]).recall == 1


def test_rows_of_the_lists_beyond_the_embeddings_are_ignored():
    images, texts = embeddings(3, 50)
    truth = [[1], [2], [3]]
    alone = recall_at_10(images, texts, truth)
    more = recall_at_10(images, texts, [*truth, [4], [5]], text_ids=range(60))
    assert (more.recall, more.top.tolist()) == (alone.recall, alone.top.tolist())
    assert (alone.ignored, more.ignored) == (0, 2 + 10)


@REPEATABLE
@given(sets(), st.integers(0, 40), st.integers(0, 600))
def test_lists_of_any_length_score_or_die_as_the_evaluator(data, rows, count):
    """Truth and ids cut or lengthened: the same number, or an error where the evaluator has one."""
    images, texts, truth, ids = data
    truth = [truth[n % len(truth)] for n in range(rows)]
    ids = [int(ids[n % len(ids)]) for n in range(count)]
    try:
        expected = plain.official_recall(images, texts, truth, ids)
    except IndexError:
        with pytest.raises(SubmissionError, match=r"the official run dies|nothing was scored"):
            recall_at_10(images, texts, truth, text_ids=ids)
        return
    found = recall_at_10(images, texts, truth, text_ids=ids)
    if found.close_calls == 0:
        assert found.recall == expected


def test_length_does_not_count():
    images, texts = embeddings(5, 100)
    longer = texts * np.random.default_rng(0).integers(1, 9, (100, 1)).astype(np.float32)
    truth = [[i] for i in range(5)]
    assert (recall_at_10(images, texts, truth).top == recall_at_10(images, longer, truth).top).all()


@pytest.mark.parametrize(("gap", "expected"), [(0.0, 1), (4e-7, 1), (1e-4, 0)])
def test_a_close_call_is_counted(gap, expected):
    cosines = np.array([*np.linspace(0.9, 0.5, 10), 0.5 - gap, *np.linspace(0.4, 0, 20)])
    texts = np.stack((cosines, np.sqrt(1 - cosines**2)), axis=1)
    found = recall_at_10(np.array([[1.0, 0.0]]), texts, [[0]])
    assert found.close_calls == expected


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda i, t, g: (0 * i, t, g), "image embedding in row 0 has no direction"),
        (lambda i, t, g: (i, np.where(t == t[7, 2], np.nan, t), g), "text embedding in row 7"),
        (lambda i, t, g: (i, t, g[:2]), "3 images and 2 rows of truth: the official run dies at"),
        (lambda i, t, g: (i[:0], t, g), "nothing was scored"),
        (lambda i, t, g: (i, t[:, 1:], g), "of one D"),
        (lambda i, t, g: (i[0], t, g), "of one D"),
        (lambda i, t, g: (i, t[:0], g), "of one D"),
        (lambda i, t, g: (i, t, [[1], [], [2]]), "image 1 has no text"),
        (lambda i, t, g: (i, t, []), "nothing was scored"),
    ],
)
def test_what_stops_the_evaluator_is_an_error(change, words):
    with pytest.raises(SubmissionError, match=words):
        recall_at_10(*change(*embeddings(3, 40), [[1], [2], [3]]))


def test_fewer_ids_than_texts_count_only_where_they_are_looked_up():
    """Text 12 is the farthest of one image and the nearest of another."""
    images, texts = towards([*range(13)])
    assert recall_at_10(images, texts, [[3]], text_ids=range(12)).recall == 1
    images, texts = towards([12, *range(12)])
    with pytest.raises(
        SubmissionError, match=r"13 texts and 12 ids, and text 12 is .* the official run dies"
    ):
        recall_at_10(images, texts, [[3]], text_ids=range(12))


def test_memory_is_bounded_by_the_block():
    images, texts = embeddings(1000, 4000, 8)
    peaks = []
    for block in (20, 1000):
        tracemalloc.start()
        recall_at_10(images, texts, [[0]] * 1000, block=block)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[0] < 2e6 < 16e6 < peaks[1]


def test_the_mean_of_parts_is_the_mean_of_all():
    images, texts = embeddings(9, 100)
    truth = [[i, i + 1] for i in range(9)]
    mean = RecallMean()
    for i in range(0, 9, 3):
        mean.add(recall_at_10(images[i : i + 3], texts, truth[i : i + 3]))
    assert mean.mean() == recall_at_10(images, texts, truth).recall
    with pytest.raises(SubmissionError, match="nothing was scored"):
        RecallMean().mean()
