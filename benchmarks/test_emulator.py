"""Four forward passes on the emulated NPU, one after the other and side by side.

`pytest benchmarks/test_emulator.py --benchmark-only` prints both in one table; the ratio stands in
brackets. Without other work on the machine.

An emulator keeps five threads busy, on one core and on two. On two idle cores (EPYC, Zen 4) two and
four side by side took 0.97 to 1.14 times as long as one after the other, so that the suite takes
one probe at a time; on more than five cores this has not been measured.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import onnx
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from conformance.selftest.models import conforming
from reference.cache import Cache
from reference.npu.compile import Compiled, compile_model
from reference.npu.devices import find_device
from reference.npu.emulator import Emulator

PASSES = 4


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    folder = tmp_path_factory.mktemp("emulated")
    onnx.save(conforming("depth"), folder / "depth.onnx")
    cache = Cache(folder / "cache")
    return compile_model(folder / "depth.onnx", find_device("Samsung Galaxy S24"), cache=cache)


@pytest.mark.benchmark(group="four passes of a small depth model, 480x640")
@pytest.mark.parametrize("lanes", [1, 2, 4], ids="{} at a time".format)
def test_passes(benchmark: BenchmarkFixture, compiled: Compiled, lanes: int) -> None:
    image = np.random.default_rng(0).random((1, 3, 480, 640), dtype=np.float32)

    def passes(emulator: Emulator) -> list[np.ndarray]:
        return [emulator.run({"image": image})["depth"] for _ in range(PASSES // lanes)]

    with ExitStack() as stack, ThreadPoolExecutor(lanes) as pool:
        emulators = [stack.enter_context(Emulator(compiled)) for _ in range(lanes)]
        found = benchmark.pedantic(lambda: list(pool.map(passes, emulators)), rounds=1)
    answers = [answer for lane in found for answer in lane]
    assert len(answers) == PASSES
    assert all(np.array_equal(answer, answers[0]) for answer in answers)
