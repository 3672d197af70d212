"""Data sets as people have them, read lazily by the room `dataset` of their track.

The room has `index(folder)`, which lists the items and what is wrong with their files' names,
numbers and lists, and `truth(item)`, which reads and checks what an item is held against. Where the
track's pictures have one size it is `PICTURE_SIZE`, (width, height); where a file that can be
prepared may be odd all the same, `doubts(path)` are findings; and where the documents tell of the
test data there is `expected(items, sizes)` (`reference/datasets/expected.py`), and `size_of(truth)`
for those sizes.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from reference.datasets.expected import Figure
from reference.datasets.items import Finding, Index, Item
from reference.errors import SubmissionError
from reference.images import open_opencv, open_pillow
from reference.tracks import Part, Track

_BLOCK_BYTES = 2**20


class Dataset:
    """The items of the folder `folder`, as `track` prepares them; one item in memory at a time.

    Raises SubmissionError where there is no such folder. What is wrong with its files is in
    `findings`; an item whose own file cannot be read raises when that is read.
    """

    def __init__(self, track: Track, folder: Path) -> None:
        if not folder.is_dir():
            raise SubmissionError(f"no such folder: {folder}", "give the folder of the data set")
        self.track = track
        self.folder = folder
        self._room: Any = track.room("dataset")
        self._inputs: Any = track.room("inputs")
        self._index: Index = self._room.index(folder)
        # Texts of one picture follow each other: it is prepared once for all of them.
        self._sizes: list[float] = []
        self._prepared = lru_cache(maxsize=1)(self._inputs.prepare_image)

    @property
    def items(self) -> tuple[Item, ...]:
        """All items, those of each part together and those of a picture one after the other."""
        return self._index.items

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong with names, numbers and lists; the files' content is not read for it."""
        return self._index.findings

    @property
    def files(self) -> frozenset[Path]:
        """Every file that the data set is made of."""
        return self._index.files

    def of(self, part: str) -> list[Item]:
        """The items that the part takes."""
        return [item for item in self.items if item.part == part]

    def feeds(self, part: Part, item: Item) -> dict[str, np.ndarray]:
        """The inputs of one forward pass by name, in the contract's first dtype.

        Raises SubmissionError for a picture that cannot be read.
        """
        return {
            str(tensor.name): self._prepared(item.image)
            if tensor is part.image
            else self._inputs.prepare_text(item.text)
            for tensor in part.inputs
        }

    def content(self, item: Item) -> tuple[int, int] | None:
        """The height and width that a picture takes of a letterboxed input, None without one."""
        return None if item.image is None else content_of(self.track, item.image)

    def truth(self, item: Item) -> Any:
        """What the item is held against; raises SubmissionError where that cannot be."""
        return self._room.truth(item)

    def digest(self, tick: Callable[[int, int], None]) -> str:
        """SHA-256 of the names and the content of every file that the data set is made of.

        `tick` is called with the files read and their number. Raises SubmissionError for a file
        that cannot be read.
        """
        sha = hashlib.sha256()
        files = sorted(self.files)
        for count, path in enumerate(files):
            tick(count, len(files))
            name = Path(os.path.relpath(path, self.folder)).as_posix()
            sha.update(f"\n{name}\n".encode())
            try:
                with path.open("rb") as file:
                    while block := file.read(_BLOCK_BYTES):
                        sha.update(block)
            except OSError as error:
                raise SubmissionError(
                    f"{path} cannot be read ({error.strerror})", "check its permissions"
                ) from None
        return sha.hexdigest()

    def faults(self, tick: Callable[[int, int], None]) -> Iterator[Finding]:
        """What is wrong inside the files: each picture and each truth is read once."""
        image: Path | None = None
        truth: object = None
        for count, item in enumerate(self.items):
            tick(count, len(self.items))
            if item.image is not None and item.image != image:
                image = item.image
                yield from self._picture_faults(image)
            if item.truth is not None and item.truth is not truth:
                truth = item.truth
                try:
                    read = self.truth(item)
                except SubmissionError as error:
                    yield Finding(item.where, error.problem, error.remedy)
                    continue
                if hasattr(self._room, "size_of"):
                    self._sizes.append(self._room.size_of(read))

    def figures(self) -> list[Figure]:
        """Its numbers beside those that the documents give of the test data, none where they give
        none; the sizes of what `faults` has read so far.
        """
        compare = getattr(self._room, "expected", None)
        return compare(self.items, self._sizes) if compare else []

    def _picture_faults(self, path: Path) -> Iterator[Finding]:
        wanted = getattr(self._room, "PICTURE_SIZE", None)
        try:
            size = open_pillow(path).size if wanted else None
            self._inputs.prepare_image(path)
        except SubmissionError as error:
            yield Finding(str(path), error.problem, error.remedy)
            return
        if doubts := getattr(self._room, "doubts", None):
            yield from doubts(path)
        if wanted and size and wanted != size:
            seen, usual = ("{}x{}".format(*pair) for pair in (size, wanted))
            problem = f"the picture is {seen}, those of the track are {usual}"
            yield Finding(str(path), problem, "its score compares with no other's", fatal=False)


def content_of(track: Track, picture: Path) -> tuple[int, int] | None:
    """The height and width that a picture takes of a letterboxed input, None without one."""
    inputs = track.room("inputs")
    if not hasattr(inputs, "letterbox"):
        return None
    content: tuple[int, int] = inputs.letterbox(open_opencv(picture).shape[:2])
    return content


def open_dataset(track: Track, folder: Path) -> Dataset:
    """The data set, where nothing stands against scoring it; raises SubmissionError otherwise."""
    dataset = Dataset(track, folder)
    fatal = [finding for finding in dataset.findings if finding.fatal and not finding.scored]
    if fatal:
        more = f" (and {len(fatal) - 1} more)" if fatal[1:] else ""
        first = fatal[0]
        raise SubmissionError(
            f"{first.file}: {first.problem}{more}",
            f"{first.remedy}; lpcvc data check lists everything",
        )
    if not track.parts and not dataset.items:
        raise SubmissionError(f"{folder} holds no items", "see the layout in docs/scoring.md")
    for part in track.parts:
        if not dataset.of(part.name):
            what = "items" if part.name == "model" else f"items for {part.name}"
            raise SubmissionError(f"{folder} holds no {what}", "see the layout in docs/scoring.md")
    return dataset
