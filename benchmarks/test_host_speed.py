"""One forward pass of a submission on this host, in its process, beside a matrix product.

    pytest benchmarks/test_host_speed.py --benchmark-only --track depth --submission my.onnx

`--benchmark-save NAME` and `--benchmark-compare` keep it against a later model or runtime.
Without a submission it is the small conforming model of the depth track.
"""

from pathlib import Path

import numpy as np
import pytest

from conformance.contract.probes import probes_for
from conformance.runtimes.process import ModelProcess
from conformance.selftest.models import write
from conformance.submission.opening import open_submission
from reference.process import Limits
from reference.registry import find_track

SIDE = 1024


@pytest.fixture(params=["model", "image", "text"])
def part(request: pytest.FixtureRequest, tmp_path: Path):
    """A part of the submission, loaded, and its first probe."""
    config = request.config
    track = find_track((config.getoption("track") or ["depth"])[0])
    if request.param not in {own.name for own in track.parts}:
        pytest.skip(f"{track.id} has no part {request.param!r}")
    specs = config.getoption("submission") or [
        f"{name}={path}" for name, path in write(track, tmp_path).items()
    ]
    model = open_submission(track, specs, tmp_path).models[request.param]
    feeds = probes_for(track, track.part(request.param))[0].feeds()
    with ModelProcess(model.path.name, tmp_path, lambda seconds: None, Limits()) as process:
        process.load(model, threads=1)
        yield process, feeds


@pytest.mark.benchmark(group="forward pass, one thread")
def test_forward(benchmark, part, tmp_path: Path) -> None:
    process, feeds = part
    folders = (tmp_path / f"pass-{number}" for number in range(10**6))
    done = benchmark(lambda: process.run(feeds, next(folders)))
    assert done.outputs


@pytest.mark.benchmark(group="forward pass, one thread")
def test_peer_matrix_product(benchmark) -> None:
    """What a processor can do at best: 2 x 1024^3 operations in float32, by NumPy."""
    matrix = np.random.default_rng(0).random((SIDE, SIDE), np.float32)
    assert benchmark(lambda: matrix @ matrix).shape == (SIDE, SIDE)
