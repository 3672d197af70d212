"""A child process within limits: each limit holds, and whatever the child does ends in a line."""

import errno
import importlib
import math
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from reference import child
from reference.child import LARGEST_FILE, OUT_OF_MEMORY, failure, one_line
from reference.errors import SubmissionError, ToolError
from reference.process import (
    ChildError,
    ChildProcess,
    Limits,
    Stage,
    available_memory,
    end_tree,
)

GIB = 2**30


@pytest.fixture(autouse=True)
def _short_farewells(monkeypatch: pytest.MonkeyPatch) -> None:
    """What hangs instead of ending is waited for no longer than these tests need."""
    monkeypatch.setattr("reference.process._LAST_SECONDS", 1)


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., ChildProcess]:
    def made(timeout: float = 60, memory: int | None = GIB) -> ChildProcess:
        limits = Limits(timeout, memory)
        return ChildProcess(
            "reference.tests.odd_child", "it", tmp_path, lambda seconds: None, limits
        )

    return made


def problem(child: ChildProcess, do: str, **arguments: object) -> str:
    with pytest.raises(SubmissionError) as caught, child:
        child.ask(do, **arguments)
    return caught.value.problem


def test_limits_are_those_asked_for(start: Callable[..., ChildProcess]) -> None:
    with start(memory=3 * GIB) as child:
        assert child.ask("limits")["soft"] == [3 * GIB, 8 * GIB, 0]
        assert child.ask("answer", what="still here") == {"what": "still here"}
        assert child.alive
    assert not child.alive


def test_a_child_says_how_far_it_is(start: Callable[..., ChildProcess]) -> None:
    """What is no answer neither ends a request nor lengthens its time."""
    with start(timeout=3) as child:
        child.ask("step", forever=False)
        assert child.stage is not None
        assert (child.stage.name, child.stage.share) == ("the second half", 0.5)
    assert "gave no answer for 2 s" in problem(start(timeout=2), "step", forever=True)


def test_the_time_that_is_left() -> None:
    assert Stage("building", 0.0, 1.0).told(4.0) == "building, 0 %"
    assert Stage("exporting text", 2 / 3, 20.0).told(21.0) == "exporting text, 67 %, about 9 s left"
    assert Stage("exporting text", 0.5, 4.0).told(30.0).endswith("about 1 s left")


def test_a_pass_comes_back_as_arrays(start: Callable[..., ChildProcess], tmp_path: Path) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    with start() as child:
        child.ask("load")
        done = child.run({"x": x}, tmp_path / "pass")
        assert np.array_equal(done.outputs[0], x * 2)
        assert done.outputs[1] == "<class 'list'>", "what is no array is named"
        assert 0 <= done.seconds < 60
        assert sorted(f.name for f in (tmp_path / "pass").iterdir()) == [
            "output_0.npy",
            "output_1.npy",
        ]
        peak = child.ask("memory")["peak"]
        child.ask("take", size=GIB // 4)
        grown = child.ask("memory")["peak"] - peak
    assert 10 * 2**20 < peak < GIB
    assert GIB // 8 < grown < GIB // 2


@pytest.mark.parametrize(
    "forged",
    [
        "{",
        "[]",
        "[" * 100_000,
        "{}",
        '{"outputs": 1}',
        '{"outputs": 1e12, "seconds": 0}',
        '{"outputs": Infinity, "seconds": 0}',
        '{"outputs": 0, "seconds": "long"}',
        '{"outputs": 0, "seconds": 1' + "0" * 400 + "}",
        '{"error": "no"}',
        '{"error": {"kind": "model"}}',
    ],
)
def test_a_forged_answer_is_named(
    forged: str, start: Callable[..., ChildProcess], tmp_path: Path
) -> None:
    with start() as child:
        child.ask("load", forged=forged)
        with pytest.raises(SubmissionError, match="it gave an answer that cannot be read"):
            child.run({"x": np.zeros(3, np.float32)}, tmp_path / "pass")


@pytest.mark.parametrize("free", [2**30, 2**30 - 1])
def test_a_full_disk_is_not_the_model_s(
    free: int, start: Callable[..., ChildProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """But a model that only says so is no reason to end."""
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=free))
    kind = ChildError if free == 2**30 else OSError
    with start() as child:
        with pytest.raises(kind, match="No space left on device"):
            child.ask("refuse", number=errno.ENOSPC, path="there")
        with pytest.raises(ChildError, match="PermissionError"):
            child.ask("refuse", number=errno.EACCES, path="there")
        assert child.alive


def test_too_many_open_files_are_not_the_model_s(
    start: Callable[..., ChildProcess], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> np.ndarray:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))

    monkeypatch.setattr("reference.process.read_npy", refuse)
    with start() as child:
        child.ask("load")
        with pytest.raises(OSError, match="Too many open files"):
            child.run({"x": np.zeros(3, np.float32)}, tmp_path / "pass")


def test_a_file_of_more_than_8_gib_cannot_be_written(
    start: Callable[..., ChildProcess], tmp_path: Path
) -> None:
    """Files of holes: nothing of that size is on the disk."""
    path = tmp_path / "large"
    with start() as child:
        child.ask("write", path=str(path), size=LARGEST_FILE)
        assert path.stat().st_size == 8 * GIB
        with pytest.raises(ChildError, match="File too large"):
            child.ask("write", path=str(path), size=LARGEST_FILE + 1)
    path.unlink()


def test_memory_beyond_the_limit_is_named(start: Callable[..., ChildProcess]) -> None:
    with start() as child:
        assert child.ask("take", size=GIB // 2) == {"taken": GIB // 2}
    assert problem(start(), "take", size=GIB) == (
        "it needs more memory than its limit of 1.0 GiB (MemoryError)"
    )


@pytest.mark.parametrize("memory", [1, 10 * 2**20, 60 * 2**20])
def test_a_limit_in_which_nothing_starts(memory: int, start: Callable[..., ChildProcess]) -> None:
    said = problem(start(memory=memory), "answer", what="")
    assert said.startswith(f"a memory limit of {memory / GIB:.2g} GiB is less than the 0.")
    assert said.endswith("that a process takes before it loads a model")


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_flood_is_not_collected(end: str, start: Callable[..., ChildProcess]) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "gave an answer that cannot be read" in problem(start(timeout=20), "flood", end=end)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**19, "KiB"


def test_a_closed_pipe_is_not_waited_for(start: Callable[..., ChildProcess]) -> None:
    assert problem(start(), "close") == (
        "it gave an answer that cannot be read (none, and its pipe is closed)"
    )


def test_a_tool_that_ends_is_named(tmp_path: Path) -> None:
    """Whatever it was at: what ends it is no SubmissionError of the model's."""
    for do, told in [
        ("die", "TOOL crashed while working (exit code 3): bye"),
        (
            "close",
            "TOOL gave no readable answer while working (none, and its pipe is closed)",
        ),
    ]:
        given = {"text": "bye", "code": 3} if do == "die" else {}
        with (
            pytest.raises(ToolError) as raised,
            ChildProcess(
                "reference.tests.odd_child",
                "working",
                tmp_path,
                lambda seconds: None,
                Limits(60, GIB),
                tool="TOOL",
            ) as child,
        ):
            child.ask(do, **given)
        assert raised.value.problem == told


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("bye", 3, "it crashed its runtime (exit code 3): bye"),
        ("", 0, "it crashed its runtime (exit code 0): nothing was printed"),
        (
            "cannot allocate memory for thread-local data: ABORT",
            127,
            "it needs more memory than its limit of 1.0 GiB"
            " (cannot allocate memory for thread-local data: ABORT)",
        ),
    ],
)
def test_ends_are_told_apart(
    text: str, code: int, told: str, start: Callable[..., ChildProcess]
) -> None:
    assert problem(start(), "die", text=text, code=code) == told


def test_an_error_leaves_the_child_to_the_next_request(start: Callable[..., ChildProcess]) -> None:
    with start() as child:
        with pytest.raises(ChildError, match=r"RuntimeError: out of\s+luck"):
            child.ask("fail", text="out of\nluck")
        assert child.ask("answer", what="x") == {"what": "x"}


@pytest.mark.parametrize("groups", [True, False])
def test_a_tree_ends_with_its_branches(groups: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One in a session of its own too, and where there are groups one that has lost its parent."""
    source = "setsid sleep 600 & echo $!; sleep 600"
    if groups:
        source = "(sleep 600 & echo $!); " + source
    else:
        monkeypatch.delattr(os, "killpg")
    process = subprocess.Popen(
        ["sh", "-c", source], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    with process, process.stdout as said:  # type: ignore[union-attr]
        branches = [psutil.Process(int(said.readline())) for _ in range(1 + groups)]
        end_tree(process)
    assert process.returncode == -signal.SIGKILL
    assert psutil.wait_procs(branches, timeout=10)[1] == []


def test_memory_is_that_of_the_machine_or_less() -> None:
    assert 0 < available_memory() < psutil.virtual_memory().total


@pytest.mark.parametrize("amount", [0, -1, -2.5, math.nan, math.inf])
def test_limits_that_allow_nothing(amount: float) -> None:
    with pytest.raises(SubmissionError, match=r"--timeout .* allows nothing"):
        Limits.of(amount, None)
    with pytest.raises(SubmissionError, match=r"--memory .* allows nothing"):
        Limits.of(None, amount)


def test_limits_as_options_give_them() -> None:
    assert Limits.of(None, None) == Limits(600, None)
    assert Limits.of(5, 0.5) == Limits(5, GIB // 2)


@pytest.mark.parametrize(
    "text",
    [
        "std::bad_alloc",
        "Failed to allocate memory for requested buffer of size 17179869184",
        "can't start new thread",
        "libtorch.so: failed to map segment from shared object",
        "Error parsing message: Arena alloc failed",
    ],
)
def test_words_for_memory(text: str) -> None:
    assert failure(RuntimeError(f"RuntimeError: {text}\nat line 3"))["kind"] == "memory"
    assert OUT_OF_MEMORY.search(text)
    assert failure(RuntimeError("out of luck"))["kind"] == "model"
    assert one_line(text) == text


def test_the_place_is_in_the_user_s_own_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in a library that lies below the folder, nor in the child's."""
    library = tmp_path / "env" / "site-packages" / "library.py"
    library.parent.mkdir(parents=True)
    library.write_text("def stumble():\n    raise ValueError('no')\n")
    (tmp_path / "mine.py").write_text("import library\n\n\nlibrary.stumble()\n")
    monkeypatch.syspath_prepend(str(library.parent))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="no") as caught:
        importlib.import_module("mine")
    told = {"kind": "model", "problem": "ValueError: no", "remedy": "mine.py:4"}
    assert failure(caught.value) == told
    assert failure(caught.value, str(tmp_path))["remedy"] == ""


def test_what_npy_cannot_hold_travels_as_words() -> None:
    assert child._plain({"a": 1}).item() == "<class 'dict'>"
    assert child._plain(np.array(["a", 2], object)).tolist() == ["a", "2"]
    assert child._plain(np.float32([1, 2])).tolist() == [1, 2]


def test_a_limit_in_which_nothing_loads_is_told_with_what_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(child, "_status", lambda field: {"VmData": 3 * GIB}[field])
    assert child.too_small(3 * GIB + 64 * 2**20) is None
    refusal = child.too_small(3 * GIB + 64 * 2**20 - 1)
    assert refusal is not None
    assert "is less than the 3.1 GiB that a process takes" in refusal.problem
