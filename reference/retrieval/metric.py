"""Recall@10 of the retrieval track, as the organisers compute it, in bounded memory.

Source: 26LPCVC Track 1 sample solution, evaluate_track1.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reference.datasets.items import Item
from reference.errors import SubmissionError
from reference.retrieval.dataset import number_of
from reference.scores import (
    Headline,
    Joined,
    Joint,
    Measure,
    Metric,
    Result,
    Scored,
    at_least_one,
    not_finite,
)

Floats = npt.NDArray[np.floating[Any]]

BEST = 10  # whatever the evaluator is passed as k
CLOSE = 1e-6

_BLOCK = 256  # images a product: with 20,000 texts 20 MB of similarities
_GROUPS = 16


@dataclass(frozen=True)
class RetrievalScore:
    """`recall` is the mean of `per_image` (N,), both fractions.

    `top` (N, 10) holds rows of the texts, best first. `close_calls` counts images whose tenth and
    eleventh text are within 1e-6 in cosine: there rounding, or the sort, decides. `ignored` counts
    the rows of the truth and the ids that no embedding answers to: the evaluator never looks there.
    """

    recall: float
    per_image: npt.NDArray[np.float64]
    top: npt.NDArray[np.int64]
    close_calls: int
    ignored: int = 0


def recall_at_10(
    images: Floats,
    texts: Floats,
    truth: Sequence[Sequence[int]],
    *,
    text_ids: Sequence[int] | None = None,
    block: int = _BLOCK,
) -> RetrievalScore:
    """The score of image embeddings (N, D) against text embeddings (M, D).

    `truth` lists the ids of the texts that belong to each image, one that is listed twice counts
    twice in the denominator. `text_ids` are those of the rows of `texts`, by default 0..M-1; the
    evaluator stores them as int16, and one above 32767 is never found. Rows of `truth` and ids
    beyond the embeddings are ignored. `block` images are compared at a time: the memory is
    `block * M` numbers.

    Raises SubmissionError for shapes that do not fit, an image without texts, and where the
    evaluator dies: for more images than rows of the truth, a text without an id among the ten
    nearest of an image, and an embedding that is zero or not finite.
    """
    ids = np.arange(len(texts)) if text_ids is None else np.asarray(text_ids, np.int64)
    _check(images, texts, truth)
    wrapped = ids.astype(np.int16).tolist()
    top, close_calls = _ten_best(_unit(images, "image"), _unit(texts, "text"), block)
    _check_ids(top, len(texts), len(ids))
    found = [{wrapped[row] for row in rows} for rows in top.tolist()]
    per_image = np.array(
        [len(near & set(wanted)) / len(wanted) for near, wanted in zip(found, truth, strict=False)]
    )
    ignored = len(truth) - len(images) + max(0, len(ids) - len(texts))
    return RetrievalScore(float(np.mean(per_image)), per_image, top, close_calls, ignored)


class RecallMean:
    """Recall@10 of images that were scored in parts, against one set of texts."""

    def __init__(self) -> None:
        self._parts: list[npt.NDArray[np.float64]] = []

    def add(self, part: RetrievalScore) -> None:
        """Counts the images of a part, which may be one."""
        self._parts.append(part.per_image)

    def mean(self) -> float:
        """So far, a fraction. Raises SubmissionError where nothing was added."""
        return float(np.mean(np.concatenate(at_least_one(self._parts))))


def rank(items: Mapping[str, Sequence[Item]], results: Mapping[str, Iterable[Result]]) -> Joined:
    """The recall of each picture; its `array` are the numbers of the ten nearest texts, best first.

    A picture without embedding has an error; a text without one, or an id that no text has, is
    never found, so that recall counts it as missed. Ids are compared as the evaluator compares
    them. Raises SubmissionError where embeddings differ in width.
    """
    images, texts = items["image"], items["text"]
    image_table, pictures, failed = _stacked(images, results["image"])
    text_table, words, _ = _stacked(texts, results["text"])
    if image_table.shape[1] != text_table.shape[1]:
        raise SubmissionError(
            f"pictures embed to {image_table.shape[1]} values, texts to {text_table.shape[1]}",
            "give two models that belong together",
        )
    numbers = _numbers(images, texts)
    truth = [[numbers[id] for id in images[picture].truth] for picture in pictures]
    ids = [numbers[texts[word].group] for word in words]
    scored = recall_at_10(image_table, text_table, truth, text_ids=ids)
    ranked = [
        Result(images[picture].id, {"recall": float(recall)}, np.array([words[n] for n in nearest]))
        for picture, recall, nearest in zip(pictures, scored.per_image, scored.top, strict=True)
    ]
    close = (
        f"{scored.close_calls} pictures whose tenth and eleventh text are within 1e-6: there the"
        " sort decides"
    )
    return Joined([*failed, *ranked], (("close", close),) if scored.close_calls else ())


def _chance(items: Sequence[Item]) -> float:
    """Any ten of the texts: each of a picture's is among them as often as another."""
    return min(1.0, BEST / sum(item.part == "text" for item in items))


def _scored(prediction: npt.NDArray[Any], _: object) -> Scored:
    embedding = prediction.reshape(-1).astype(np.float32)
    if not np.isfinite(embedding).all():
        raise SubmissionError(
            f"the embedding has a NaN or infinity: {not_finite(prediction)}",
            "the official run dies there: look for 0/0 and overflow in the model",
        )
    if not embedding.any():
        raise SubmissionError(
            "the embedding is all zeros", "the official run dies there: it cannot be normalised"
        )
    return Scored(array=embedding)


METRIC = Metric(
    Headline("Recall@10", "recall", 100.0, chance=_chance),
    Measure("embedding 1", _scored),
    Joint("Recall@10 2", rank),
)


def _numbers(images: Sequence[Item], texts: Sequence[Item]) -> dict[str, int]:
    """The numbers of all ids; the official code takes no other words, which get what is free."""
    ids = {text.group for text in texts} | {id for image in images for id in image.truth}
    known = {id: number for id in ids if (number := number_of(id)) is not None}
    cut = ((number + 2**15) % 2**16 - 2**15 for number in known.values())  # as int16
    taken = {*known.values(), *cut}
    free = (number for number in range(-1, -(2**15) - 1, -1) if number not in taken)
    return known | {id: next(free, -1) for id in sorted(ids - known.keys())}


def _stacked(
    items: Sequence[Item], results: Iterable[Result]
) -> tuple[Floats, list[int], list[Result]]:
    """The embeddings there are, in the order of `items`, which items they are of, and the rest."""
    index = {item.id: number for number, item in enumerate(items)}
    table: npt.NDArray[np.float32] | None = None
    found = np.zeros(len(items), bool)
    failed = []
    for result in results:
        if result.array is None:
            failed.append(result)
            continue
        if table is None:
            table = np.zeros((len(items), result.array.size), np.float32)
        if result.array.size != table.shape[1]:
            raise SubmissionError(
                f"the embedding of {result.item} has {result.array.size} values, others have"
                f" {table.shape[1]}",
                "let the model give one width for all",
            )
        number = index[result.item]
        table[number], found[number] = result.array, True
    if table is None:
        raise SubmissionError("no item has an embedding", "see the errors above, or run it again")
    there = np.flatnonzero(found)
    return (table if found.all() else table[found]), there.tolist(), failed


def _check(images: Floats, texts: Floats, truth: Sequence[Sequence[int]]) -> None:
    at_least_one(truth)
    if images.ndim != 2 or texts.ndim != 2 or images.shape[1] != texts.shape[1] or not len(texts):
        raise SubmissionError(
            f"the embeddings are {images.shape} and {texts.shape}",
            "give images (N, D) and texts (M, D) of one D, a row each",
        )
    at_least_one(range(len(images)))
    if len(images) > len(truth):
        raise SubmissionError(
            f"there are {len(images)} images and {len(truth)} rows of truth: the official run dies"
            f" at image {len(truth)}, counted from 0",
            "list the texts of each image, in the order of the images",
        )
    for number, wanted in enumerate(truth):
        if len(wanted) == 0:
            raise SubmissionError(
                f"image {number} has no text that belongs to it",
                "take it out of the data set, or list its texts",
            )


def _check_ids(top: npt.NDArray[np.int64], texts: int, ids: int) -> None:
    """The evaluator looks up the ids of the ten nearest texts, and of no other."""
    for image, rank in np.argwhere(top >= ids):
        raise SubmissionError(
            f"there are {texts} texts and {ids} ids, and text {top[image, rank]} is among the ten"
            f" nearest of image {image}: the official run dies there",
            "give each text its id, in the order of the texts",
        )


def _unit(rows: Floats, name: str) -> Floats:
    """Rows of length 1: normalised by the evaluator, and once more by scikit-learn's cosine."""
    unit = np.empty(rows.shape, np.result_type(rows, np.float32))
    for start in range(0, len(rows), _BLOCK):  # what stays in the processor's cache
        part = rows[start : start + _BLOCK]
        with np.errstate(over="ignore"):
            length = np.linalg.norm(part, axis=1, keepdims=True)
        broken = np.flatnonzero(~(np.isfinite(length) & (length > 0)))
        if len(broken):
            raise SubmissionError(
                f"the {name} embedding in row {start + broken[0]} has no direction: it is zero or "
                "not finite, and the evaluator stops",
                "look for NaN in the model, or for a float16 that overflows",
            )
        once = part / length
        once /= np.sqrt(np.einsum("ij,ij->i", once, once))[:, np.newaxis]
        unit[start : start + _BLOCK] = once
    return unit


def _ten_best(images: Floats, texts: Floats, block: int) -> tuple[npt.NDArray[np.int64], int]:
    """The rows of the best ten texts of each image, best first, and how many are a close call."""
    best = min(BEST, len(texts))
    top = np.empty((len(images), best), np.int64)
    close = 0
    # Whole groups of columns, the last ones never the best.
    stride = -(-len(texts) // _GROUPS)
    dtype = np.result_type(images, texts)
    similar = np.full((min(block, len(images)), stride * _GROUPS), -np.inf, dtype)
    for start in range(0, len(images), block):
        part = images[start : start + block]
        rows = similar[: len(part)]
        np.matmul(part, texts.T, out=rows[:, : len(texts)])
        columns, values = _leading(rows, stride, best + 1)
        top[start : start + block] = columns[:, :best]
        if len(texts) > best:
            gaps = values[:, best - 1] - values[:, best]
            close += int(np.count_nonzero(gaps <= CLOSE))
            for row in np.flatnonzero(gaps == 0):  # the evaluator's sort decides
                top[start + row] = np.argsort(-rows[row, : len(texts)])[:best]
    return top, close


def _leading(rows: Floats, stride: int, count: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """The columns and values of the `count` largest of each row, largest first.

    Column c is in group c % stride. The largest values are in the groups with the largest maxima,
    so that one pass over the row and a sort of few numbers find them.
    """
    maxima = rows.reshape(len(rows), -1, stride).max(axis=1)
    if stride > count:
        groups = np.argpartition(maxima, stride - count, axis=1)[:, stride - count :]
    else:
        groups = np.broadcast_to(np.arange(stride), maxima.shape)
    members = np.arange(_GROUPS) * stride
    columns = (groups[:, :, np.newaxis] + members).reshape(len(rows), -1)
    values = np.take_along_axis(rows, columns, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(values, order, axis=1)
