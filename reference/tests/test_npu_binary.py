"""What a context binary says of itself, against the ONNX models that it was compiled of."""

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from reference.errors import ToolError
from reference.npu import qnn_types
from reference.npu.binary import _tensor, describe
from reference.npu.compile import compile_model
from reference.npu.devices import find_device
from reference.npu.link import link_models
from reference.tests.npu_models import FLOAT, model, needs_compiler, node

S24 = find_device("Samsung Galaxy S24")
UINT8 = onnx.TensorProto.UINT8


def build(inputs: int, outputs: int, *, quantised: bool) -> onnx.ModelProto:
    """Each output is a sum of all inputs; no two inputs have the same channels, scale or zero."""
    kind = UINT8 if quantised else FLOAT
    taken = [(f"x{i}", kind, (1, 4 + i, 6, 8)) for i in range(inputs)]
    given = [(f"y{i}", kind, (1, 6, 8 + 8 * i)) for i in range(outputs)]
    nodes, weights = [], {"axes": np.array([1])}
    for name, _, _ in taken if quantised else ():
        nodes.append(node("DequantizeLinear", f"{name} s_{name} z_{name}", f"f_{name}"))
    for name, _, _ in taken:
        source = f"f_{name}" if quantised else name
        nodes.append(node("ReduceMean", source, f"m_{name}", axes=[1], keepdims=0))
        if quantised:
            nodes.append(node("QuantizeLinear", f"m_{name} s_{name} z_{name}", f"q_{name}"))
            nodes.append(node("DequantizeLinear", f"q_{name} s_{name} z_{name}", f"n_{name}"))
    means = [f"{'n' if quantised else 'm'}_{name}" for name, _, _ in taken]
    for index, (name, _, _) in enumerate(given):
        parts = means + means[:1] * (index + 1)
        whole = f"r_{name}" if quantised else name
        nodes.append(node("Concat", " ".join(parts[: index + 1]), whole, axis=2))
        if quantised:
            nodes.append(node("QuantizeLinear", f"{whole} s_{name} z_{name}", name))
    for index, (name, _, _) in enumerate([*taken, *given] if quantised else ()):
        weights |= {f"s_{name}": np.float32(2**-6 * (index + 1)), f"z_{name}": np.uint8(7 * index)}
    return model(nodes, taken, given, weights)


def tensors(built: onnx.ModelProto) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The inputs and outputs of a model in the words of `describe`."""
    weights = {w.name: onnx.numpy_helper.to_array(w) for w in built.graph.initializer}

    def told(value: onnx.ValueInfoProto) -> dict[str, Any]:
        kind = value.type.tensor_type
        found: dict[str, Any] = {
            "name": value.name,
            "shape": [size.dim_value for size in kind.shape.dim],
            "dtype": onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name,
        }
        if kind.elem_type == UINT8:
            found["scale"] = float(weights[f"s_{value.name}"])
            found["zero_point"] = int(weights[f"z_{value.name}"])
        return found

    return list(map(told, built.graph.input)), list(map(told, built.graph.output))


def save(built: onnx.ModelProto, folder: Path) -> Path:
    folder.mkdir()
    onnx.save(built, folder / "model.onnx")
    return folder / "model.onnx"


@needs_compiler
@pytest.mark.parametrize("quantised", [False, True], ids=["float", "quantised"])
@pytest.mark.parametrize(("inputs", "outputs"), [(2, 1), (1, 2), (3, 3)])
def test_inputs_and_outputs(inputs: int, outputs: int, quantised: bool, tmp_path: Path) -> None:
    built = build(inputs, outputs, quantised=quantised)
    compiled = compile_model(save(built, tmp_path / "it"), S24)
    assert compiled.whole
    said = describe(compiled.binary)
    assert (said["soc_model"], len(said["graphs"])) == (S24.soc_model, 1)
    assert (said["graphs"][0]["inputs"], said["graphs"][0]["outputs"]) == tensors(built)


@needs_compiler
@pytest.mark.parametrize("quantised", [False, True], ids=["float", "quantised"])
@pytest.mark.parametrize("shapes", [[(2, 1), (1, 2)], [(3, 1), (1, 3), (2, 2)]], ids=len)
def test_graphs(shapes: list[tuple[int, int]], quantised: bool, tmp_path: Path) -> None:
    made = [build(*shape, quantised=quantised) for shape in shapes]
    files = [save(each, tmp_path / str(index)) for index, each in enumerate(made)]
    names = link_models(files, S24, tmp_path / "linked.bin")
    said = describe(tmp_path / "linked.bin")["graphs"]
    assert [graph["name"] for graph in said] == names
    assert [(g["inputs"], g["outputs"]) for g in said] == [tensors(each) for each in made]


def test_the_layout_is_the_public_one() -> None:
    """The sizes that a C compiler gives to the structures of the public headers (64 bits)."""
    sizes = {"Quantisation": 40, "Buffer": 16, "TensorFields": 136, "Tensor": 144}
    sizes |= {"GraphFields": 80, "Graph": 88, "InfoFields": 136, "Info": 144, "Provider": 160}
    assert {name: ctypes.sizeof(getattr(qnn_types, name)) for name in sizes} == sizes


@pytest.mark.parametrize("field", ["version", "kind"])
def test_another_layout_is_noticed(field: str) -> None:
    """Before a pointer in it is followed, which would end the process."""
    odd = qnn_types.Tensor(version=144 if field == "version" else 2)
    odd.fields.type = 3
    with pytest.raises(ToolError, match="in a layout that is not known"):
        _tensor(odd, 0)
