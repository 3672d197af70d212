"""What the scores share, and what they cost before they are used."""

import subprocess
import sys

import pytest

from reference.errors import SubmissionError
from reference.install import install_command
from reference.scores import at_least_one, pairs

METRICS = "".join(
    f"import reference.{track}.metric\n"
    for track in ("depth", "pidnet", "retrieval", "segmentation")
)


@pytest.mark.parametrize(
    ("left", "right", "words"),
    [([1, 2], [1], "1 truths and more predictions"), ([], [1], "0 predictions and more truths")],
)
def test_different_counts_are_an_error(left, right, words):
    with pytest.raises(SubmissionError, match=words):
        list(pairs(left, right))
    assert list(pairs(left, left)) == list(zip(left, left, strict=True))


def test_nothing_has_no_mean():
    with pytest.raises(SubmissionError, match="nothing was scored"):
        at_least_one([])


def python(code):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_numba_and_torch_are_not_loaded_before_they_are_needed():
    done = python(f"import sys\n{METRICS}print({{'numba', 'torch'}} & set(sys.modules))")
    assert done.stdout == "set()\n", done.stderr


def test_without_numba_the_remedy_is_the_extra():
    done = python(f"""import sys
sys.modules["numba"] = None
{METRICS}import numpy as np
ones = np.ones((2, 2), np.uint8)
try:
    reference.segmentation.metric.score(ones, ones)
except reference.errors.SubmissionError as error:
    print(error.remedy)
""")
    assert done.stdout == f"{install_command('score')}\n", done.stderr
