"""How much faster two scoring workers are than one: `python -m benchmarks.scaling` on idle cores.

Depth, with a model that costs next to nothing, so that the metric is the work. Rates are of items
after the first few, without the start; one and two workers take turns. Prints the best rate of each
and the median of the rounds' ratios, for workers of this process and for Ray's.
"""

import os
import statistics
import tempfile
import time
from contextlib import closing, nullcontext
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.test_metrics import room
from conformance.scoring.cluster import RayEngine
from conformance.scoring.engines import Engine, local
from conformance.scoring.job import Job
from conformance.selftest import models
from reference.process import Limits
from reference.registry import find_track

ITEMS, ROUNDS, FIRST = int(os.environ.get("ITEMS", "160")), 3, 10


def data(folder: Path) -> Path:
    """A depth set of the fair room, its truth shifted by a millimetre a picture."""
    _, truth, confidence = room("fair")
    for name in ("images", "raw", "conf"):
        (folder / name).mkdir(parents=True)
    for number in range(ITEMS):
        name = f"{number:04}.png"
        noise = np.random.default_rng(number).integers(0, 256, (480, 640, 3), np.uint8)
        Image.fromarray(noise).save(folder / "images" / name, compress_level=1)
        Image.fromarray(truth + np.uint16(number)).save(folder / "raw" / name)
        Image.fromarray(confidence).save(folder / "conf" / name)
    return folder


def rate(engine: Engine, job: Job, workers: int) -> float:
    """Items a second, without the start."""
    items = {number: str(number) for number in range(ITEMS)}
    with closing(engine(job, items, workers, lambda seconds: None)) as results:
        for _ in range(FIRST):
            next(results)
        start = time.perf_counter()
        failed = sum(bool(result.error) for result in results)
    assert not failed
    return (ITEMS - FIRST) / (time.perf_counter() - start)


def main() -> None:
    track = find_track("depth")
    with tempfile.TemporaryDirectory() as folder:
        files = models.write(track, Path(folder))
        job = Job(
            track.id,
            "model",
            data(Path(folder) / "data"),
            (str(files["model"]),),
            "ort",
            track.device,
            Limits(),
            threads=1,
        )
        # Ray's has the cores that its first job asks for.
        engines = {"local": lambda: nullcontext(local), "Ray": lambda: RayEngine(None)}
        load = os.getloadavg()[0]
        print(f"{os.cpu_count()} cores, load {load:.1f}; depth, {ITEMS} items, one thread a model")
        print(f"{'items a second':16}{'1 worker':>10}{'2 workers':>11}{'ratio':>8}")
        for name, made in engines.items():
            found: dict[int, list[float]] = {1: [], 2: []}
            for _ in range(ROUNDS):
                for workers, rates in found.items():
                    with made() as engine:
                        rates.append(rate(engine, job, workers))
            ratio = statistics.median(b / a for a, b in zip(found[1], found[2], strict=True))
            print(f"{name:16}{max(found[1]):10.2f}{max(found[2]):11.2f}{ratio:8.2f}")


if __name__ == "__main__":
    main()
