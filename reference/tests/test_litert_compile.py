"""TFLite files on the CPU, through Qualcomm's plugin and in the emulator, against each other."""

import ctypes
import json
from pathlib import Path

import numpy as np
import pytest

from reference.cache import Cache
from reference.errors import SubmissionError
from reference.litert.compile import CompiledTflite, compile_tflite
from reference.litert.elf import write_empty_library
from reference.litert.emulator import TfliteEmulator
from reference.litert.interpreter import Interpreter
from reference.litert.network import read_network
from reference.litert.plugin import find_failure, soc_name
from reference.npu.devices import all_devices, find_device
from reference.process import ChildError, Limits
from reference.tests import tflite_models as models
from reference.tests.npu_models import needs_compiler
from reference.tests.tflite_models import PICTURE, needs_litert

pytestmark = [needs_litert, needs_compiler]
S24 = find_device("Samsung Galaxy S24")
QCS6490 = find_device("QCS6490 (Proxy)")
LIMITS = Limits(timeout=120.0)
RNG = np.random.default_rng(0)
FEEDS = {
    "image": RNG.normal(size=PICTURE).astype(np.float32),
    "other": RNG.normal(size=PICTURE).astype(np.float32),
}


def compiled(build: str, folder: Path, device=S24, **options) -> tuple[Path, CompiledTflite]:
    path = folder / f"{build}.tflite"
    path.write_bytes(getattr(models, build)())
    cache = Cache(folder / "cache")
    return path, compile_tflite(path, device, limits=LIMITS, cache=cache, **options)


def answers(path: Path, made: CompiledTflite, feeds) -> tuple[np.ndarray, np.ndarray]:
    """Of LiteRT on the CPU, and of the device as emulated."""
    with Interpreter(path, LIMITS) as interpreter, TfliteEmulator(made, LIMITS) as emulator:
        mine = {value.name: feeds[value.name] for value in interpreter.network.inputs}
        return interpreter.run(mine)["map"], emulator.run(mine)["map"]


def test_a_file_that_runs_whole_on_the_npu(tmp_path: Path) -> None:
    path, made = compiled("plain", tmp_path, dlc=True)
    assert (made.whole, made.partitions, made.cached) == (True, 1, False)
    assert [(node.name, node.op) for node in made.placement.npu] == [
        ("t3", "CONV_2D"),
        ("t6", "CONV_2D"),
    ]
    assert read_network(made.model).counts == {"DISPATCH_OP": 1}
    graph = json.loads((made.folder / made.graphs[0]).read_text())["graph"]
    assert len(graph["nodes"]) == made.placement.npu_ops >= 2
    assert (made.folder / made.dlcs[0]).stat().st_size > models.KERNEL.nbytes
    assert made.traffic is not None
    assert made.traffic.read > models.KERNEL.nbytes
    host, emulated = answers(path, made, FEEDS)
    assert np.abs(host).max() > 1
    assert np.abs(host - emulated).max() < 0.01
    assert np.abs(host - emulated).max() > 0, "the NPU's float16 is not the CPU's float32"


def test_what_stays_on_the_cpu_is_told_and_run_there(tmp_path: Path) -> None:
    path, made = compiled("mixed", tmp_path)
    assert [node.op for node in made.placement.npu] == ["CONV_2D", "CONV_2D"]
    (left,) = made.placement.cpu
    assert (left.name, left.op) == ("t2", "ATAN2")
    assert left.reason == "the plugin does not know the operator"
    assert [step.npu for step in made.steps] == [True, False, True]
    host, emulated = answers(path, made, FEEDS)
    assert np.abs(host).max() > 1
    # An angle jumps where its numerator is 0 and float16 has another sign.
    assert np.median(np.abs(host - emulated)) < 0.01


def test_integers_run_as_integers(tmp_path: Path) -> None:
    path, made = compiled("quantised", tmp_path, QCS6490)
    assert made.whole, "the chip has no float"
    feeds = {"image": RNG.integers(-128, 128, PICTURE).astype(np.int8)}
    host, emulated = answers(path, made, feeds)
    assert emulated.dtype == np.int8
    assert np.abs(host.astype(int) - emulated).max() <= 1
    assert len(np.unique(host)) > 20


def test_floats_on_a_chip_without_float(tmp_path: Path) -> None:
    _, made = compiled("plain", tmp_path, QCS6490)
    assert not made.whole
    assert made.failure == "no operator runs on the NPU: QCS6490 has no float16"
    with pytest.raises(SubmissionError, match="there is nothing to emulate"):
        TfliteEmulator(made)


def test_a_result_is_kept(tmp_path: Path) -> None:
    _, first = compiled("plain", tmp_path)
    _, again = compiled("plain", tmp_path)
    assert (first.cached, again.cached) == (False, True)
    assert again.steps == first.steps
    assert again.placement == first.placement
    assert compiled("plain", tmp_path, find_device("Samsung Galaxy S23"))[1].folder != first.folder


def test_inputs_that_do_not_fit(tmp_path: Path) -> None:
    path, made = compiled("plain", tmp_path)
    with Interpreter(path, LIMITS) as interpreter, TfliteEmulator(made, LIMITS) as emulator:
        for runner in (interpreter, emulator):
            with pytest.raises(ChildError, match="the inputs are image, not picture"):
                runner.run({"picture": FEEDS["image"]})
        with pytest.raises(ChildError, match="Cannot set tensor"):
            interpreter.run({"image": FEEDS["image"].astype(np.float64)})


def test_installed_packages_stay_as_they_are(tmp_path: Path) -> None:
    from reference.litert.toolchain import litert_folder

    def seen() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in litert_folder().rglob("*.so")}

    before = seen()
    compiled("plain", tmp_path)
    assert seen() == before


def test_an_empty_library_loads(tmp_path: Path) -> None:
    write_empty_library(tmp_path / "libNothing.so")
    assert ctypes.CDLL(str(tmp_path / "libNothing.so"))


@pytest.mark.slow
@pytest.mark.parametrize("device", {d.soc: d for d in all_devices()}.values(), ids=soc_name)
def test_the_plugin_compiles_for_the_chip_of_each_device(device, tmp_path: Path) -> None:
    _, made = compiled("quantised", tmp_path, device)
    assert made.whole
    said = (made.folder / made.steps[0].file).read_bytes()
    assert said
    with TfliteEmulator(made, LIMITS) as emulator:  # refuses a binary for another chip
        emulator.run({"image": np.zeros(PICTURE, np.int8)})


def test_what_the_compiler_says_of_an_operator_that_it_had_accepted() -> None:
    """Not the refusals ahead of it, which leave an operator to the CPU."""
    log = (
        "     0.0ms [ ERROR ]   <E> QnnBackend_validateOpConfig failed 3110\n"
        "ERROR: [qnn_compiler_plugin.cc:538] \n"
        "  QNN op validation failed: 'FullyConnected_60' (FullyConnected)\n"
        '   0.0ms [  INFO ]  synced.   0.0ms [ ERROR ]   <E> "n/ReduceSum_5" generated: no op\n'
        "     0.0ms [ ERROR ]   <E> RouterX86 graph prepare failed 12\n"
    )
    assert find_failure(log) == "the compiler says of n/ReduceSum_5: no op"
    assert find_failure(log.replace("generated", "made")) == "it says nothing of why"
