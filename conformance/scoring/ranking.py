"""Retrieval: from the embeddings of both parts to the recall of each picture."""

from collections.abc import Iterable, Sequence

import numpy as np

from conformance.scoring.job import Result
from reference.datasets.items import Item
from reference.errors import SubmissionError
from reference.retrieval.dataset import number_of

VERSION = "Recall@10 2"
_BLOCK = 256  # pictures ranked at once


def rank(
    images: Sequence[Item],
    texts: Sequence[Item],
    image_results: Iterable[Result],
    text_results: Iterable[Result],
) -> tuple[list[Result], int]:
    """The recall of each picture; its `array` are the numbers of the ten nearest texts, best first.

    The second is for how many of them rounding decides between the tenth and eleventh text. A
    picture without embedding has an error; a text without one, or an id that no text has, is never
    found, so that recall counts it as missed. Ids are compared as the evaluator compares them.
    Raises SubmissionError where embeddings differ in width.
    """
    from reference.retrieval.metric import recall_at_10

    image_table, pictures, failed = _stacked(images, image_results)
    text_table, words, _ = _stacked(texts, text_results)
    if image_table.shape[1] != text_table.shape[1]:
        raise SubmissionError(
            f"pictures embed to {image_table.shape[1]} values, texts to {text_table.shape[1]}",
            "give two models that belong together",
        )
    numbers = _numbers(images, texts)
    truth = [[numbers[id] for id in images[picture].truth] for picture in pictures]
    ids = [numbers[texts[word].group] for word in words]
    scored = recall_at_10(image_table, text_table, truth, text_ids=ids, block=_BLOCK)
    results = failed
    for picture, recall, nearest in zip(pictures, scored.per_image, scored.top, strict=True):
        top = np.array([words[number] for number in nearest])
        results.append(Result(images[picture].id, {"recall": float(recall)}, top))
    return results, scored.close_calls


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
) -> tuple[np.ndarray, list[int], list[Result]]:
    """The embeddings there are, in the order of `items`, which items they are of, and the rest."""
    index = {item.id: number for number, item in enumerate(items)}
    table: np.ndarray | None = None
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
