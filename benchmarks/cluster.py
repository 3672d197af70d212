"""Many submissions on a cluster of three nodes, one of which dies: `python -m benchmarks.cluster`.

Linux, as root. Classification, with models whose sums are whole numbers below 2^24, so that numpy
knows every answer to the bit. The nodes are of Ray's test cluster, on this machine; two do not see
the pictures and the models, and get them through the object store. One of these is killed in the
middle of a submission, after a third of them. `PICTURES` and `SUBMISSIONS` say how many, 1,000 and
300 where they are not given. Prints what it took; ends with an error where an answer is missing or
is another.
"""

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from PIL import Image

from conformance.scoring.cluster import RayEngine
from conformance.scoring.datasets import Dataset
from conformance.scoring.score import Options, scoring_of
from conformance.scoring.store import Store
from conformance.selftest.models import Builder
from conformance.selftest.nodes import cluster_of_nodes
from conformance.selftest.test_scoring_ray import descendants
from reference.process import Limits
from reference.registry import find_track

PICTURES = int(os.environ.get("PICTURES", "1000"))
SUBMISSIONS = int(os.environ.get("SUBMISSIONS", "300"))
TRACK = find_track("classification")
CELL, CLASSES, SAMPLE_SECONDS = 28, 64, 5.0


class Watch(threading.Thread):
    """CPU seconds of all processes below this one, and the most memory that they share out."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._spent: dict[tuple[int, int], float] = {}
        self.peak = 0

    @property
    def cpu(self) -> float:
        """Without what a process has spent after it was last looked at."""
        return sum(self._spent.values())

    def run(self) -> None:
        while True:
            pids = [os.getpid(), *descendants(os.getpid())]
            self.peak = max(self.peak, sum(map(self._look, pids)))
            time.sleep(SAMPLE_SECONDS)

    def _look(self, pid: int) -> int:
        try:
            facts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            memory = Path(f"/proc/{pid}/smaps_rollup").read_text().split("Pss:")[1].split()[0]
        except (OSError, IndexError):  # it has just ended
            return 0
        ticks = int(facts[11]) + int(facts[12])
        self._spent[pid, int(facts[19])] = ticks / os.sysconf("SC_CLK_TCK")
        return int(memory) * 1024


def write_data(folder: Path) -> Path:
    """Pictures of random tiles."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = ["file_name,class_index"]
    for number in range(PICTURES):
        tiles = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
        tiles.resize((64, 64), Image.Resampling.NEAREST).save(folder / f"images/{number:04}.jpg")
        rows.append(f"{number:04}.jpg,{number % CLASSES}")
    (folder / "key.csv").write_text("\n".join(rows) + "\n")
    return folder


def head(number: int) -> np.ndarray:
    """What a submission adds and takes away, (192, 64), of -1 and 1."""
    return np.random.default_rng(number).choice([-1, 1], (3 * 64, CLASSES))


def write_model(path: Path, number: int) -> Path:
    """Sums of levels from -128 to 127 over cells of 28x28 pixels, and of those by `head`."""
    b = Builder(TRACK.parts[0])
    b.constant("levels", 255.0)
    b.constant("middle", 128.0)
    level = b.node("Sub", b.node("Round", b.node("Mul", "image", "levels")), "middle")
    b.constant("cells", np.ones((3, 1, CELL, CELL)))
    sums = b.node("Conv", level, "cells", strides=[CELL, CELL], group=3)
    b.constant("head", head(number))
    b.node("MatMul", b.node("Flatten", sums), "head")
    onnx.save(b.model("logits"), path)
    return path


def cells(dataset: Dataset) -> np.ndarray:
    """What every model sees of the pictures, int64 (pictures, 192)."""
    seen = []
    for item in dataset.items:
        (image,) = dataset.feeds(TRACK.parts[0], item).values()
        level = np.rint(image[0] * np.float32(255)).astype(np.int64) - 128
        assert np.abs(level).sum() < 2**24, "no sum of them is rounded"
        seen.append(level.reshape(3, 8, CELL, 8, CELL).sum((2, 4)).reshape(-1))
    return np.array(seen)


def wrong(store: Store, dataset: Dataset) -> int:
    """How many answers are missing or others than numpy's, in the bits or in the score."""
    seen, ids = cells(dataset), [item.id for item in dataset.items]
    runs = {run.label: number for number, run in store.runs().items() if run.part}
    count = 0
    for number in range(SUBMISSIONS):
        found = {result.item: result for result in store.results(runs[f"{number:03}.onnx"])}
        wanted = (seen @ head(number)).astype(np.float32)
        for index, (id, logits) in enumerate(zip(ids, wanted, strict=True)):
            result = found.get(id)
            right = {"correct": float(logits.argmax() == index % CLASSES)}
            count += (
                result is None
                or bool(result.error)
                or dict(result.numbers) != right
                or result.array is None
                or result.array.tobytes() != logits.tobytes()
            )
    return count


def main() -> None:
    watch = Watch()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = write_data(folder / "own/data")
        rooms = [folder / "one", folder / "two"]
        results = folder / "scores.sqlite"
        files = [write_model(folder / f"own/{n:03}.onnx", n) for n in range(SUBMISSIONS)]
        watch.start()
        with (
            cluster_of_nodes(folder / "own", rooms) as (cluster, nodes),
            RayEngine(cluster.address) as engine,
        ):

            def interrupted(job: Any, items: Any, workers: int, tick: Any) -> Iterator[Any]:
                for count, result in enumerate(engine(job, items, workers, tick)):
                    middle = files[SUBMISSIONS // 3].name in job.submission[0]
                    if middle and count == PICTURES // 2:
                        cluster.remove_node(nodes[0], allow_graceful=False)
                        print("a node was killed", flush=True)
                    yield result

            options = Options("ort", TRACK.device, interrupted, 3, Limits(), results)
            start = time.perf_counter()
            with scoring_of(TRACK, data, options) as scorer:
                for count, file in enumerate(files, 1):
                    failed = len(scorer.score([str(file)]).summary.failed)
                    took = time.perf_counter() - start
                    print(f"{count} {failed} {took:.1f} s {watch.cpu:.1f} CPU s", flush=True)
                count = wrong(scorer.store, scorer.dataset)
        print(
            f"{SUBMISSIONS} submissions of {PICTURES} pictures: {took:.0f} s, {watch.cpu:.0f} CPU"
        )
        print(f"seconds, {watch.peak / 2**20:.0f} MiB at most, {results.stat().st_size} bytes kept")
        if count:
            raise SystemExit(f"{count} answers are missing or are others")


if __name__ == "__main__":
    main()
