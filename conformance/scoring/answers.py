"""`lpcvc score` of a track whose answers are files: nothing is run for it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conformance.scoring.datasets import open_dataset
from reference.errors import SubmissionError, one_line
from reference.tracks import Track

_SHOWN = 100


def score_answers(
    track: Track, data: Path, specs: Sequence[str]
) -> tuple[str, int, dict[str, Any]]:
    """The scores of the folder of answers that `specs` names, as text, 1 where a picture has none
    that can be read, and the same as values. Raises SubmissionError for what is no such folder or
    data set.
    """
    folder = Path(specs[0])
    if len(specs) > 1 or not folder.is_dir():
        raise SubmissionError(
            f"{' '.join(specs)} is not one folder of answers",
            "give the folder, with a .json or .txt file for each picture",
        )
    dataset = open_dataset(track, data)
    joined, surplus = track.room("answers").score(dataset.items, dataset.truth, folder)
    lost = [result for result in joined.results if result.error]
    count = len(joined.results)
    lines = [f"{track.id}, {one_line(folder.name)}: {count - len(lost)} of {count} answers"]
    width = max(len(name) for name, _ in joined.remarks)
    lines += [f"  {name:<{width}}  {text}" for name, text in joined.remarks]
    told = [(result.item, result.error or result.note) for result in joined.results]
    told += [(name, "answers to no picture") for name in surplus]
    told = [(name, text) for name, text in told if text]
    lines += [f"  {one_line(name)}: {one_line(text)}" for name, text in told[:_SHOWN]]
    if len(told) > _SHOWN:
        lines.append(f"  and {len(told) - _SHOWN} more")
    document = {
        "track": track.id,
        "answers": folder,
        "items": count,
        "remarks": dict(joined.remarks),
        "numbers": {result.item: result.numbers for result in joined.results},
        "no_answer": {result.item: result.error for result in lost},
        "odd_answers": {result.item: result.note for result in joined.results if result.note},
        "of_no_picture": surplus,
    }
    return "\n".join(lines), int(bool(lost)), document
