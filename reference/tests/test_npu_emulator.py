"""The emulator's answers against onnxruntime's CPU, and what the NPU does in its own way."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from reference.cache import Cache
from reference.errors import SubmissionError
from reference.npu.compile import Compiled, compile_model
from reference.npu.devices import Device, all_devices, find_device
from reference.npu.emulator import Emulator
from reference.process import ChildError, Limits
from reference.tests import npu_models as models
from reference.tests.npu_models import PHOTO, needs_compiler, on_cpu, save

pytestmark = needs_compiler
S24 = find_device("Samsung Galaxy S24")
LIMITS = Limits(timeout=120.0)
# Units in the last place of float16 that a chain of eight operators may lose.
CLOSE = 8 * 2.0**-11


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    return tmp_path_factory.mktemp("npu")


def compiled(folder: Path, build, device: Device = S24) -> tuple[Path, Compiled]:
    path = save(build, folder)
    return path, compile_model(path, device, limits=LIMITS, cache=Cache(folder / "cache"))


def emulate(folder: Path, build, feeds: dict[str, np.ndarray], device: Device = S24):
    with Emulator(compiled(folder, build, device)[1], LIMITS) as emulator:
        return emulator.run(feeds)


FLOAT16 = [device for device in all_devices() if device.float16]
# The first of each generation; another chip of it is computed alike.
BY_DEFAULT = {device.hexagon: device for device in reversed(FLOAT16)}.values()


@pytest.mark.parametrize(
    "device",
    [
        pytest.param(d, id=d.name, marks=[] if d in BY_DEFAULT else [pytest.mark.slow])
        for d in FLOAT16
    ],
)
def test_float16_on_every_device(device: Device, folder: Path) -> None:
    path, whole = compiled(folder, models.net, device)
    assert whole.whole
    (expected,) = on_cpu(path, {"x": PHOTO})
    answer = emulate(folder, models.net, {"x": PHOTO}, device)["y"]
    assert (answer.shape, answer.dtype) == (expected.shape, expected.dtype)
    error = np.abs(answer - expected).max() / np.abs(expected).max()
    assert 0 < error < CLOSE, "float16, and no copy of the CPU's float32"


@pytest.mark.parametrize("name", ["QCS6490 (Proxy)", "Samsung Galaxy S24"])
def test_int8(name: str, folder: Path) -> None:
    path, _ = compiled(folder, models.quantised)
    (expected,) = on_cpu(path, {"x": PHOTO})
    answer = emulate(folder, models.quantised, {"x": PHOTO}, find_device(name))["y"]
    steps = np.abs(answer - expected) / 0.02
    assert steps.max() < 1.01, "one step of the output's scale"
    assert (steps < 0.01).mean() > 0.9


def test_the_parts_that_are_left_to_the_cpu(folder: Path) -> None:
    feeds = {"x": PHOTO, "q": np.ones((1, 5, 8), np.float32)}
    path, partly = compiled(folder, models.mask_head)
    assert not partly.whole
    (expected,) = on_cpu(path, feeds)
    answer = emulate(folder, models.mask_head, feeds)["y"]
    assert np.abs(answer - expected).max() < CLOSE * np.abs(expected).max()


def test_the_same_bits_each_time(folder: Path, tmp_path: Path) -> None:
    """In one process, in another, and compiled anew."""
    path, first = compiled(folder, models.net)
    anew = compile_model(path, S24, limits=LIMITS, cache=Cache(tmp_path / "cache"))
    assert not anew.cached
    assert first.binary.read_bytes() == anew.binary.read_bytes()
    with Emulator(first, LIMITS) as emulator:
        one = emulator.run({"x": PHOTO})["y"]
        other = emulator.run({"x": PHOTO[..., ::-1].copy()})["y"]
        again = emulator.run({"x": PHOTO})["y"]
    assert one.tobytes() == again.tobytes()
    assert one.tobytes() != other.tobytes()
    with Emulator(anew, LIMITS) as emulator:
        assert emulator.run({"x": PHOTO})["y"].tobytes() == one.tobytes()


def test_one_can_be_a_little_more(folder: Path) -> None:
    """Float16 becomes float32 again one unit in the last place away: compare masks with 0.5."""
    x = np.linspace(-1, 1, 64, dtype=np.float32)[None]
    answer = emulate(folder, models.mask, {"x": x})["y"]
    assert set(answer.ravel().tolist()) == {0.0, float(np.float32(1.00000012))}
    assert ((answer > 0.5) == (x >= 0)).all()


def test_an_index_beyond_the_table(folder: Path) -> None:
    rows = np.arange(32, dtype=np.float32).reshape(4, 8)
    with Emulator(compiled(folder, models.table)[1], LIMITS) as emulator:
        for good in ([0, 2], [3, -1]):
            answer = emulator.run({"i": np.array([good])})["y"][0]
            assert np.allclose(answer, rows[good], rtol=1e-6)
        for bad in (4, 99):
            # Which index it was stands in a line of another thread, which may come late.
            with pytest.raises(ChildError, match="QNN graph execute error"):
                emulator.run({"i": np.array([[0, bad]])})
        assert np.allclose(emulator.run({"i": np.array([[0, 2]])})["y"][0], rows[[0, 2]], rtol=1e-6)


def test_a_negative_int32_index_is_refused(folder: Path) -> None:
    """Unlike one of int64, and unlike the CPU."""
    with Emulator(compiled(folder, models.table_int32)[1], LIMITS) as emulator:
        emulator.run({"i": np.array([[0, 3]], np.int32)})
        for bad in (-1, 4):
            with pytest.raises(ChildError, match="QNN graph execute error"):
                emulator.run({"i": np.array([[0, bad]], np.int32)})


def test_gather_elements_answers_zero_beyond_the_end(folder: Path) -> None:
    """And at -1, where ONNX has the last element: a hazard that no error shows."""
    feeds = {"x": np.arange(1, 9, dtype=np.float32)[None], "i": np.array([[3, -1, 8, 1000]])}
    answer = emulate(folder, models.elements, feeds)["y"]
    assert np.allclose(answer, [[4, 0, 0, 0]], rtol=1e-6)


def test_wrong_inputs_do_not_end_it(folder: Path) -> None:
    with Emulator(compiled(folder, models.net)[1], LIMITS) as emulator:
        with pytest.raises(ChildError, match="x"):
            emulator.run({"image": PHOTO})
        with pytest.raises(ChildError):
            emulator.run({"x": PHOTO[:, :, :5]})
        assert emulator.run({"x": PHOTO})["y"].shape == (1, 8, 32, 32)


def test_what_cannot_be_emulated(tmp_path: Path) -> None:
    _, refused = compiled(tmp_path, models.dynamic)
    with pytest.raises(SubmissionError, match="nothing to emulate"):
        Emulator(refused)
    _, torn = compiled(tmp_path, models.net)
    torn.binary.write_bytes(torn.binary.read_bytes()[: 2**14])
    with pytest.raises(SubmissionError, match="context binary cannot be loaded"):
        Emulator(torn, LIMITS).__enter__()
