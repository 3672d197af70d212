"""Graphs on which onnxruntime fails ahead of the compiler: what is rewritten, and that it is the
same function.
"""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from reference.cache import Cache
from reference.npu.compile import Compiled, compile_model
from reference.npu.devices import find_device
from reference.npu.emulator import Emulator
from reference.npu.faults import find_fault
from reference.npu.normalise import normalise
from reference.npu.simulation import simulate
from reference.process import Limits
from reference.tests import npu_models as models
from reference.tests.npu_models import FLOAT, KERNEL, PHOTO, PICTURE, needs_compiler, node, on_cpu

S24 = find_device("Samsung Galaxy S24")
LIMITS = Limits(timeout=120.0)
# Those that the compiler takes on the NPU, and those that it leaves to the CPU.
REDUCTIONS = ("ReduceMax", "ReduceMin", "ReduceMean", "ReduceSum", "ReduceL2", "ReduceLogSumExp")
ON_CPU = ("ReduceProd", "ReduceSumSquare")


def reduce_all(op: str, output: str, keepdims: int = 0) -> onnx.NodeProto:
    """As the legacy exporter writes `x.amin()`: with a list of axes, which is empty."""
    made = node(op, "c", output, keepdims=keepdims)
    made.attribute.append(onnx.AttributeProto(name="axes", type=onnx.AttributeProto.INTS))
    return made


def reduced(*ops: str, opset: int = 11) -> onnx.ModelProto:
    """A convolution less what is left of it by each of the reductions."""
    nodes = [models.conv(), *(reduce_all(op, op.lower()) for op in ops)]
    nodes.append(node("Sum", " ".join(["c", *(op.lower() for op in ops)]), "y"))
    values = ("x", FLOAT, PICTURE), ("y", FLOAT, (1, 8, 32, 32))
    return models.model(nodes, values[:1], values[1:], {"kernel": KERNEL}, opset)


def padded(pads: list[int], axes: list[int]) -> onnx.ModelProto:
    nodes = [models.conv(), node("Pad", "c pads zero axes", "y")]
    size = [1, 8, 32, 32]
    for axis, before, after in zip(axes, pads, pads[len(axes) :], strict=False):
        size[axis] += before + after
    weights = {"kernel": KERNEL, "pads": pads, "zero": np.float32(0.25), "axes": axes}
    values = ("x", FLOAT, PICTURE), ("y", FLOAT, size)
    return models.model(nodes, values[:1], values[1:], weights, opset=18)


def unnamed() -> onnx.ModelProto:
    """Two operators of one kind that the NPU does not take, neither with a name."""
    made = models.after_conv(
        helper.make_node("NonZero", ["c"], ["places"]),
        helper.make_node("Cast", ["places"], ["y"], to=FLOAT),
        out=("y", FLOAT, (4, "n")),
    )
    made.graph.node[0].name = ""
    return made


def compile_in(folder: Path, model: onnx.ModelProto, **options: object) -> Compiled:
    path = folder / "model.onnx"
    onnx.save(model, path)
    before = path.read_bytes()
    made = compile_model(path, S24, limits=LIMITS, cache=Cache(folder / "cache"), **options)
    assert path.read_bytes() == before, "a copy goes to the compiler"
    return made


def answers(folder: Path, made: Compiled) -> tuple[np.ndarray, np.ndarray]:
    with Emulator(made, LIMITS) as emulator:
        (on_npu,) = emulator.run({"x": PHOTO}).values()
    return on_npu, on_cpu(folder / "model.onnx", {"x": PHOTO})[0]


@needs_compiler
def test_reductions_over_an_empty_list_of_axes(tmp_path: Path) -> None:
    made = compile_in(tmp_path, reduced(*REDUCTIONS))
    assert made.whole, made.failure
    assert [note.split(":")[0] for note in made.notes] == [
        f"{op} '/{op.lower()}/{op}'" for op in REDUCTIONS
    ]
    on_npu, host = answers(tmp_path, made)
    assert np.abs(on_npu - host).max() < 2e-3 * np.abs(host).max()
    again = compile_model(tmp_path / "model.onnx", S24, cache=Cache(tmp_path / "cache"))
    assert (again.cached, again.notes) == (True, made.notes)


@needs_compiler
@pytest.mark.parametrize("op", ON_CPU)
def test_of_reductions_that_stay_on_the_cpu_that_is_said(op: str, tmp_path: Path) -> None:
    made = compile_in(tmp_path, reduced(op, opset=17))
    assert [cpu.op for cpu in made.placement.cpu] == [op]


@needs_compiler
@pytest.mark.parametrize(("pads", "axes"), [([1, 2], [2]), ([1, 0, 0, 3], [3, 2]), ([2, 1], [-1])])
def test_padding_of_some_axes(pads: list[int], axes: list[int], tmp_path: Path) -> None:
    made = compile_in(tmp_path, padded(pads, axes))
    assert made.whole, made.failure
    assert "its axes" in made.notes[0]
    on_npu, host = answers(tmp_path, made)
    assert on_npu.shape == host.shape
    assert np.abs(on_npu - host).max() < 5e-3


@needs_compiler
def test_wherever_models_go_to_the_compiler(tmp_path: Path) -> None:
    """The DLC, and the simulation of an estimate."""
    model = reduced("ReduceMin")
    made = compile_in(tmp_path, model, dlc=True)
    assert made.failure == ""
    assert made.dlc.exists()
    path, cache = tmp_path / "model.onnx", Cache(tmp_path / "cache")
    assert simulate(path, "qnn_dlc", limits=LIMITS, cache=cache).problem == ""


@needs_compiler
def test_nodes_without_a_name_go_by_their_output(tmp_path: Path) -> None:
    made = compile_in(tmp_path, unnamed())
    assert [(left.op, left.name) for left in made.placement.cpu] == [
        ("NonZero", "places"),
        ("Cast", "y"),
    ]
    assert "must be static" in made.placement.cpu[0].reason
    assert "c" in {each.name for each in made.placement.npu}
    assert made.notes == ()


@needs_compiler
def test_weights_beside_the_file(tmp_path: Path) -> None:
    model, path = reduced("ReduceMax"), tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    made = compile_model(path, S24, limits=LIMITS, cache=Cache(tmp_path / "cache"))
    assert made.whole, made.failure
    on_npu, host = answers(tmp_path, made)
    assert np.abs(on_npu - host).max() < 5e-3


def test_what_needs_no_change_stays(tmp_path: Path) -> None:
    for build in (models.net, models.quantised, models.mask_head):
        assert normalise(models.save(build, tmp_path)) == (None, [])


def test_unknown_sizes_of_padding_stay(tmp_path: Path) -> None:
    """Where the sizes are computed there is nothing to write instead."""
    model = padded([1, 1], [2])
    made = node("Identity", "pads", "computed")
    model.graph.node.insert(0, made)
    model.graph.node[-1].input[1] = "computed"
    onnx.save(model, tmp_path / "model.onnx")
    assert normalise(tmp_path / "model.onnx") == (None, [])


@pytest.mark.parametrize(
    ("op", "attributes", "inputs", "words"),
    [
        ("ReduceMin", {"axes": [], "keepdims": 0}, ["x"], "empty list of axes"),
        ("ReduceL1", {"axes": (), "keepdims": 0}, ["x"], "empty list of axes"),
        ("ReduceMin", {"axes": [], "keepdims": 1}, ["x"], ""),
        ("ReduceMin", {"axes": []}, ["x"], ""),
        ("ReduceMin", {"axes": [0, 1, 2, 3], "keepdims": 0}, ["x"], ""),
        ("ReduceMin", {"keepdims": 0}, ["x"], ""),
        ("ReduceMin", {"keepdims": 0}, ["x", "axes"], ""),
        ("Squeeze", {"axes": [], "keepdims": 0}, ["x"], ""),
        ("Pad", {}, ["x", "pads", "", "axes"], "its axes"),
        ("Pad", {}, ["x", "pads", "zero", ""], ""),
        ("Pad", {}, ["x", "pads"], ""),
    ],
)
def test_the_static_view(op: str, attributes: dict, inputs: list[str], words: str) -> None:
    found = find_fault(op, attributes, inputs)
    assert (found is not None) == bool(words)
    if found:
        assert words in found.reason
        assert found.remedy
