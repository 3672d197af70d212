"""Compiling small models: what runs where and why, limits, and the cache."""

import re
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest

from reference.cache import Cache
from reference.errors import SubmissionError, ToolError
from reference.install import install_command
from reference.npu.compile import Compiled, compile_model
from reference.npu.devices import Device, all_devices, find_device
from reference.npu.toolchain import find_toolchain
from reference.process import Limits
from reference.tests import npu_models as models
from reference.tests.npu_models import FLOAT, needs_compiler, save

S24 = find_device("Samsung Galaxy S24")
QCS6490 = find_device("QCS6490 (Proxy)")
SIMULATED = find_device("SA8775P ADP")
LIMITS = Limits(timeout=120.0)


def compile_in(folder: Path, build, device: Device = S24, **options) -> Compiled:
    path = save(build, folder)
    return compile_model(path, device, limits=LIMITS, cache=Cache(folder / "cache"), **options)


@needs_compiler
@pytest.mark.parametrize(
    "device", {d.soc_model: d for d in all_devices()}.values(), ids=lambda d: d.name
)
def test_the_compiler_says_the_same_of_each_chip(device: Device, tmp_path: Path) -> None:
    """The device table against the compiler's own log; every chip takes w8a8."""
    compiled = compile_in(tmp_path, models.quantised, device)
    assert compiled.whole, compiled.failure
    log = compiled.log.read_text()
    said = {
        fact: re.findall(rf"init graph option: {fact} = (\w+)", log)[0]
        for fact in ("soc_type", "min_arch", "vtcm_size")
    }
    assert said["soc_type"] == device.soc
    assert f"v{said['min_arch']}" == device.hexagon
    assert int(said["vtcm_size"]) == device.vtcm_mb * 2**20


@needs_compiler
def test_a_whole_model(tmp_path: Path) -> None:
    compiled = compile_in(tmp_path, models.net)
    assert compiled.whole
    assert (compiled.failure, compiled.remedy, compiled.placement.cpu) == ("", "", ())
    ops = {node.op for node in compiled.placement.npu}
    assert {"Conv", "Relu", "MaxPool", "Resize", "Add"} <= ops
    names = {node.name for node in compiled.placement.npu}
    assert {"/c/Conv", "/d/Conv", "/u/Resize"} <= names, "under their names in the file"
    assert compiled.placement.npu_ops >= 6
    assert compiled.binary.stat().st_size > 10_000
    assert compiled.context.exists()
    assert not compiled.dlc.exists()
    assert compiled.traffic is not None
    assert compiled.traffic.written == 8 * 32 * 32 * 4, "the output, nothing spilled"
    assert compiled.traffic.spill == compiled.traffic.fill == 0
    assert compiled.seconds > 0
    assert compiled.peak_memory is None or 30e6 < compiled.peak_memory < 1e9
    assert compiled.simulated is None, "not for this chip"
    assert str(compiled.toolchain) == "onnxruntime-qnn 2.7.0, QAIRT 2.51.0"


def six_dimensions() -> onnx.ModelProto:
    size = (1, 2, 2, 2, 2, 2)
    return models.one("Abs", [("x", FLOAT, size)], ("y", FLOAT, size))


def nonzero() -> onnx.ModelProto:
    out = ("y", models.INT64, (4, "n"))
    return models.after_conv(models.node("NonZero", "c", "y"), out=out)


CPU_CASES = {
    "Einsum": (models.mask_head, "partly", "Einsum", "the validator refuses its MatMul", ""),
    "NonZero": (nonzero, "partly", "NonZero", "output shape must be static", "arithmetic"),
    "6-D": (six_dimensions, "no", "Abs", "has incorrect Rank 6", "merge axes"),
    "float64": (models.float64, "partly", "Cast", "Unsupported FP64", "float32"),
    "dynamic batch": (models.dynamic, "no", "Conv", "Cannot get shape", "fixed size"),
    "5-D GridSample": (models.sampled_5d, "no", "GridSample", "incorrect Rank 5", "merge axes"),
}


@needs_compiler
@pytest.mark.parametrize("case", CPU_CASES)
def test_nodes_on_the_cpu(case: str, tmp_path: Path) -> None:
    build, outcome, op, reason, remedy = CPU_CASES[case]
    compiled = compile_in(tmp_path, build)
    assert not compiled.whole
    first = compiled.placement.cpu[0]
    assert first.op == op
    assert first.name in {node.name for node in build().graph.node}
    assert reason in first.reason
    assert remedy in first.remedy
    if outcome == "partly":
        assert compiled.failure == ""
        assert [node.op for node in compiled.placement.cpu] == [op]
        assert "Conv" in {node.op for node in compiled.placement.npu}
        assert compiled.binary.exists()
    else:
        assert first.reason in compiled.failure
        assert compiled.remedy == first.remedy
        assert not compiled.binary.exists()


@needs_compiler
@pytest.mark.parametrize("build", [models.net, models.elementwise])
def test_float_is_refused_without_float16(build, tmp_path: Path) -> None:
    """With operators that depend on the layout no session can be made, without them one can."""
    compiled = compile_in(tmp_path, build, QCS6490)
    assert compiled.failure == "the model computes in float, and QCS6490 has no float16"
    assert "w8a8" in compiled.remedy


def empty() -> onnx.ModelProto:
    return models.one("Relu", [("x", FLOAT, (1, 0))], ("y", FLOAT, (1, 0)))


def constant() -> onnx.ModelProto:
    weights = {"a": np.ones((1, 4), np.float32)}
    return models.model([models.node("Add", "a a", "y")], [], [("y", FLOAT, (1, 4))], weights)


@needs_compiler
@pytest.mark.parametrize(
    ("build", "failure", "remedy"),
    [(empty, "Failed to compose", "empty ones"), (constant, "nothing is left", "its inputs")],
)
def test_nothing_to_compute(build, failure: str, remedy: str, tmp_path: Path) -> None:
    compiled = compile_in(tmp_path, build)
    assert failure in compiled.failure
    assert remedy in compiled.remedy
    assert not compiled.whole


VALUES = (1, 307200)
CONVOLVED = (1, 1, 480, 640)


def scaled_distance(least: list[onnx.NodeProto], shape: tuple[int, ...]) -> onnx.ModelProto:
    """Of each value from the `least` of all `x`; scaled, which the compiler moves ahead of it."""
    nodes = [*least, models.node("Sub", "x low", "d"), models.node("Mul", "d factor", "y")]
    weights = {"factor": np.array(1.5, np.float32)}
    if shape == CONVOLVED:
        nodes.insert(0, models.node("Conv", "image kernel", "x"))
        weights["kernel"] = models.KERNEL[:1, :, :1, :1]
    given = ("image", FLOAT, (1, 3, 480, 640)) if shape == CONVOLVED else ("x", FLOAT, shape)
    return models.model(nodes, [given], [("y", FLOAT, shape)], weights)


@needs_compiler
@pytest.mark.parametrize(("shape", "axes"), [(VALUES, [1]), (CONVOLVED, [2, 3])])
def test_an_operator_that_was_accepted_is_named(
    shape: tuple[int, ...], axes: list[int], tmp_path: Path
) -> None:
    """The compiler calls it a want of memory; what helps is shown to."""
    least = models.node("ReduceMin", "x", "low", axes=axes, keepdims=1)
    compiled = compile_in(tmp_path, lambda: scaled_distance([least], shape))
    assert compiled.failure == (
        "the compiler accepts ReduceMin '/low/ReduceMin' and fails on it then: could not create op"
    )
    assert compiled.remedy == "write y.amin(...) as -(-y).amax(...)"
    largest = models.node("ReduceMax", "minus", "largest", axes=axes, keepdims=1)
    helped = [models.node("Neg", "x", "minus"), largest, models.node("Neg", "largest", "low")]
    assert compile_in(tmp_path, lambda: scaled_distance(helped, shape)).whole


@needs_compiler
@pytest.mark.parametrize("build", [models.net, models.elementwise])
def test_a_want_of_memory_is_not_the_model_s(build, tmp_path: Path) -> None:
    """Without threads the validator refuses all operators, and onnxruntime leaves them to the CPU:
    nothing of that is kept.
    """
    cache, path = Cache(tmp_path / "cache"), save(build, tmp_path)
    with pytest.raises(SubmissionError, match="needs more memory than its limit of 0") as raised:
        compile_model(path, S24, limits=Limits(120.0, 300 * 2**20), cache=cache)
    assert "--memory GIB" in raised.value.remedy
    assert list(cache.folder.iterdir()) == []


@needs_compiler
def test_simulated_time(tmp_path: Path) -> None:
    simulated = compile_in(tmp_path, models.net, SIMULATED).simulated
    assert simulated is not None
    assert 0 < simulated.lowest_ms <= simulated.ms <= simulated.highest_ms < 1
    assert compile_in(tmp_path, models.mask_head, SIMULATED).simulated is None, "not whole"


@needs_compiler
def test_dlc(tmp_path: Path) -> None:
    compiled = compile_in(tmp_path, models.net, dlc=True)
    assert compiled.whole
    assert "model.params.bin" in zipfile.ZipFile(compiled.dlc).namelist()
    partly = compile_in(tmp_path, models.mask_head, dlc=True)
    assert partly.failure == "a DLC cannot hold the whole model, not its Einsum"


@needs_compiler
@pytest.mark.parametrize("build", [models.huge_relu, models.huge_kernel])
def test_a_hang_is_cut_off(build, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    ticks: list[float] = []
    with pytest.raises(SubmissionError, match="gave no answer for 2 s and was stopped"):
        compile_model(
            save(build, tmp_path), S24, limits=Limits(2.0), cache=cache, tick=ticks.append
        )
    assert ticks == sorted(ticks)
    assert ticks[-1] > 2
    assert list(cache.folder.iterdir()) == []


@needs_compiler
def test_memory_is_limited(tmp_path: Path) -> None:
    path = save(models.huge_constant, tmp_path)
    limits = Limits(120.0, 2**29)
    with pytest.raises(SubmissionError, match="memory") as raised:
        compile_model(path, S24, limits=limits, cache=Cache(tmp_path / "cache"))
    assert "--memory GIB" in raised.value.remedy


@needs_compiler
def test_a_crash_is_one_line(tmp_path: Path) -> None:
    """16 GiB in one tensor is more than the compiler can count: it aborts."""
    nodes = [models.node("ConstantOfShape", "n", "z"), models.node("ReduceMax", "z", "y")]
    values = ("y", FLOAT, (1,))
    onnx.save(models.model(nodes, [], [values], {"n": np.array([2**32])}), tmp_path / "my.onnx")
    with pytest.raises(ToolError, match=r"QAIRT crashed while compiling my\.onnx") as raised:
        compile_model(tmp_path / "my.onnx", S24, limits=LIMITS, cache=Cache(tmp_path / "cache"))
    assert "\n" not in str(raised.value)


@needs_compiler
def test_files_that_are_no_models(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    path = save(models.net, tmp_path)
    for damage in (path.read_bytes()[:-100], b"\x89PNG\r\n\x1a\n" + bytes(100)):
        path.write_bytes(damage)
        with pytest.raises(SubmissionError, match="not an ONNX model or was cut short"):
            compile_model(path, S24, cache=cache)
    path.write_bytes(b"")
    assert not compile_model(path, S24, cache=cache).whole


@needs_compiler
def test_an_operator_that_onnxruntime_does_not_know(tmp_path: Path) -> None:
    custom = models.one("Frobnicate", [("x", FLOAT, (1, 8))], ("y", FLOAT, (1, 8)))
    onnx.save(custom, tmp_path / "my.onnx")
    compiled = compile_model(tmp_path / "my.onnx", S24, cache=Cache(tmp_path / "cache"))
    assert "Frobnicate" in compiled.failure
    assert "onnx.checker" in compiled.remedy


@needs_compiler
def test_the_second_time_it_is_there(tmp_path: Path) -> None:
    first = compile_in(tmp_path, models.net, SIMULATED)
    second = compile_in(tmp_path, models.net, SIMULATED)
    assert (first.cached, second.cached) == (False, True)
    assert {**vars(second), "cached": False} == vars(first)
    same_chip = compile_in(tmp_path, models.net, find_device("SA8255 (Proxy)"))
    assert same_chip.cached
    assert same_chip.device.name == "SA8255 (Proxy)"
    assert not compile_in(tmp_path, models.net, S24).cached, "another chip"
    assert not compile_in(tmp_path, models.net, SIMULATED, dlc=True).cached, "another option"
    assert not compile_in(tmp_path, models.mask, SIMULATED).cached, "another model"
    second.binary.write_bytes(second.binary.read_bytes()[:-1])
    assert not compile_in(tmp_path, models.net, SIMULATED).cached, "torn"
    assert compile_in(tmp_path, models.net, SIMULATED).cached, "mended"


@needs_compiler
def test_another_toolchain_compiles_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_in(tmp_path, models.mask)
    package = sys.modules["onnxruntime_qnn"].build_and_package_info
    monkeypatch.setattr(package, "qnn_version", "2.52.0")
    assert not compile_in(tmp_path, models.mask).cached


@needs_compiler
def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in the home, the working directory or the temporary folder."""
    for name, place in (("HOME", "home"), ("TMPDIR", "tmp")):
        (tmp_path / place).mkdir()
        monkeypatch.setenv(name, str(tmp_path / place))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    compiled = compile_in(tmp_path, models.mask)
    assert compiled.whole
    for place in ("home", "tmp", "work"):
        assert list((tmp_path / place).iterdir()) == []


def test_without_the_toolchain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime_qnn", None)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(SubmissionError) as raised:
        compile_model(tmp_path / "my.onnx", S24, cache=Cache(tmp_path))
    assert raised.value.remedy == install_command("npu")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(SubmissionError, match=r"does not exist for \w+ arm64"):
        find_toolchain()
