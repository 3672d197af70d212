"""The same results from Ray's workers, one of them killed on the way."""

import os
import signal
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from conformance.scoring import cluster
from conformance.scoring.cluster import RayEngine
from conformance.scoring.engines import local
from conformance.scoring.job import Job
from conformance.selftest import models
from conformance.selftest.samples import many_texts
from reference.install import install_command
from reference.process import Limits
from reference.registry import find_track
from reference.scores import Result

pytest.importorskip("ray", reason=f"Ray is not installed: {install_command('ray')}")
if not Path("/proc/self/stat").exists():
    pytest.skip("finds the worker to kill in /proc, which Linux has", allow_module_level=True)


def descendants(of: int) -> Iterator[int]:
    """The processes that a process has started, and those that they have."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # it has just ended
                continue
            if parent == of:
                yield int(entry.name)
                yield from descendants(int(entry.name))


def actors() -> list[int]:
    """Ray's workers that were started from this process."""
    return [
        pid
        for pid in descendants(os.getpid())
        if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::_Actor")
    ]


def comparable(results: list[Result]) -> dict[str, tuple[bytes, str]]:
    return {
        result.item: (b"" if result.array is None else result.array.tobytes(), result.error)
        for result in results
    }


def test_a_worker_that_is_killed_loses_nothing_and_the_others_take_the_next_job(
    tmp_path: Path,
) -> None:
    track = find_track("retrieval")
    files = models.write(track, tmp_path)
    specs = tuple(f"{part}={path}" for part, path in files.items())
    data = many_texts(tmp_path / "data", texts=200)
    job = Job(track.id, "text", data, specs, "ort", track.device, Limits(), threads=1)
    items = {number: str(number) for number in range(200)}
    image, one = replace(job, part_name="image"), {0: "0"}
    with RayEngine(None) as score:
        engine = score(job, items, 2, lambda seconds: None)
        results = [next(engine) for _ in range(10)]
        deadline = time.monotonic() + 60
        while len(before := actors()) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)  # the first has begun without the second
        assert len(before) == 2
        os.kill(before[0], signal.SIGKILL)
        results += engine
        after = set(actors())
        assert before[1] in after
        pictures = list(score(image, one, 2, lambda seconds: None))
        assert after <= set(actors()), "nobody was started or ended for it"
    assert len(results) == 200, "each item once"
    alone = list(local(job, items, 1, lambda seconds: None))
    assert comparable(results) == comparable(alone)
    assert not any(result.error for result in results)
    assert comparable(pictures) == comparable(list(local(image, one, 1, lambda seconds: None)))


@pytest.mark.parametrize(
    ("deaths", "most", "wanted"),
    [
        ({}, 3, [0, 1, 2]),
        ({}, 0, [0]),
        ({}, 9, [0, 1, 2, 3]),
        ({0: 1}, 3, [0]),
        ({2: 2}, 3, [0, 1]),
    ],
)
def test_an_item_with_which_a_worker_died_goes_alone(
    deaths: dict[int, int], most: int, wanted: list[int]
) -> None:
    todo = deque(range(4))
    assert cluster._batch(todo, Counter(deaths), most) == wanted
    assert [*wanted, *todo] == [0, 1, 2, 3]
