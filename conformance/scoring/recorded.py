"""Answers that a device gave already, as `download_output_data` of AI Hub's client saves them: HDF5
with `data/<output>/batch_<k>`, the k-th sample that was fed. They are scored by order, as the
organisers' scripts pair them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from conformance.scoring.job import Job
from conformance.submission.model import Model, Submission
from conformance.submission.opening import open_submission, split_spec
from reference.errors import SubmissionError, one_line
from reference.install import install_command
from reference.process import Limits
from reference.tracks import Part, Track

ANSWERS: Final = "answers"  # in the place of a runtime
_REMEDY = "save the inference job's output: job.download_output_data('answers.h5')"

Rows = Callable[[int], np.ndarray]


def open_scored(
    runtime: str, track: Track, specs: Sequence[str], scratch: Path, limits: Limits
) -> Submission:
    """What `specs` name: models, or for `answers` a file (`PATH` or `PART=PATH`) for each part.

    Raises SubmissionError for what is neither.
    """
    if runtime != ANSWERS:
        return open_submission(track, specs, scratch, limits)
    names = [part.name for part in track.parts]
    split = [split_spec(track, spec) for spec in specs]
    files = {part or names[0]: Path(target) for part, target in split}
    if len(split) != len(files) or set(files) != set(names):
        wanted = " ".join(f"--submission {name}=FILE.h5" for name in names)
        raise SubmissionError(f"{track.id} has answers of {' and '.join(names)}", f"give {wanted}")
    for path in files.values():
        if not path.is_file():
            raise SubmissionError(f"there is no file {str(path)!r}", "check the path")
    label = one_line(" ".join(path.name for path in files.values()))
    return Submission(label, {name: Model(name, ANSWERS, str(files[name])) for name in names})


@contextmanager
def recorded(model: Model, job: Job, count: int) -> Iterator[Rows]:
    """The answer to each of `count` items by number; it raises SubmissionError where there is none.

    An answer whose axes of size 1 lie elsewhere than the contract's is brought into its shape.
    Raises SubmissionError for a file without answers, or with more than there are items.
    """
    try:
        import h5py
    except ImportError:
        raise SubmissionError("reading HDF5 needs h5py", install_command("hub")) from None
    with ExitStack() as stack:
        with _reading(model.path):
            file = stack.enter_context(h5py.File(model.path, "r"))
            samples = _samples(file["data"], job.part)
        if len(samples) > count:
            raise SubmissionError(
                f"{model.path.name} has {len(samples)} answers and the data {count} items",
                "score it on the data that was fed",
            )

        def answer(index: int) -> np.ndarray:
            if index >= len(samples):
                raise SubmissionError(f"the file ends after {len(samples)} answers", _REMEDY)
            with _reading(model.path):
                return _shaped(np.asarray(samples[index][...]), job.part)

        yield answer


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Whatever h5py raises says what the file is."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as error:
        raise SubmissionError(
            f"{path.name} has no answers at data/0/batch_0, data/0/batch_1, ...: {error}", _REMEDY
        ) from None


def _samples(groups: Any, part: Part) -> list[Any]:
    """Of the output that has the contract's name, of the first one where none has."""
    named = {str(group.attrs.get("name", key)): group for key, group in groups.items()}
    group = named[str(part.output.name)] if str(part.output.name) in named else groups["0"]
    return [group[name] for name in sorted(group, key=lambda name: int(name.split("_")[1]))]


def _shaped(array: np.ndarray, part: Part) -> np.ndarray:
    wanted = [size for size in part.output.shape if isinstance(size, int)]
    whole = len(wanted) == len(part.output.shape)
    if whole and array.squeeze().shape == tuple(size for size in wanted if size != 1):
        return array.reshape(wanted)
    return array
