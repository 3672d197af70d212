"""What the scores share, and what they cost before they are used."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numba.core.event import trigger_event

from reference.depth.dataset import Truth
from reference.errors import SubmissionError
from reference.install import install_command
from reference.kernels import kernel
from reference.registry import find_track
from reference.scores import COMPILING, at_least_one, pairs

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


@kernel
def until_set(flags):
    """How many looks it takes to see a flag that another thread sets, -1 for too many."""
    for i in range(1 << 31):
        if flags[i & 1023]:
            return i
    return -1


def test_a_kernel_holds_up_no_other_thread():
    flags = np.zeros(1024, np.uint8)
    until_set(flags + np.uint8(1))  # compiles
    threading.Timer(0.05, flags.fill, (1,)).start()
    assert until_set(flags) > 0, "the timer's thread had no turn while the kernel ran"


def test_what_numba_compiles_is_told():
    assert COMPILING == []
    with trigger_event("numba:compile", data={"dispatcher": until_set}):
        assert COMPILING == ["until_set"]
    assert COMPILING == []


def examples(track):
    """Predictions and truths, by number."""
    for number in range(6):
        random = np.random.default_rng(number)
        if track == "depth":
            truth = random.integers(500, 3000, (60, 80)).astype(np.uint16)
            guess = (truth / 1000 + random.normal(0, 0.1, truth.shape)).astype(np.float32)
            yield guess[None, None], Truth(truth, random.integers(0, 3, truth.shape, np.uint8))
        elif track == "segmentation":
            yield random.random((300, 200), np.float32), random.integers(0, 2, (300, 200), np.uint8)
        else:
            logits = random.standard_normal((1, 19, 16, 32), np.float32)
            yield logits, random.integers(0, 19, (128, 256), np.uint8)


@pytest.mark.parametrize("track", ["depth", "segmentation", "pidnet"])
def test_threads_score_to_the_bit_as_one_does(track):
    measure = find_track(track).room("metric").METRIC.measure
    pairs = list(examples(track)) * 4
    alone = [measure.score(*pair) for pair in pairs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda pair: measure.score(*pair), pairs))
    assert [found.numbers for found in together] == [found.numbers for found in alone]
    for one, other in zip(together, alone, strict=True):
        assert np.array_equal(one.array, other.array)
