"""A small package for Genie that keeps every rule: the ground its mutants stand on.

Pictures of 56x84 pixels, so 6 tokens of 8 numbers; a vocabulary of 32. The context binaries are
Qualcomm's compiler's, of graphs that do as little as they can.
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from conformance.selftest.models import IR, OPSET, weights
from reference.aigc.inputs import PATCH_VALUES
from reference.errors import SubmissionError
from reference.npu.compile import compile_model
from reference.npu.devices import find_device
from reference.npu.link import link_models
from reference.npu.toolchain import find_toolchain

TEAM = "team"
FOLDER = "ar4-ar1-cl32"
LANGUAGE = f"{FOLDER}/weight_sharing_model_1_of_1.serialized.bin"
DEVICE = "Snapdragon 8 Elite Gen 5 QRD"
HEIGHT, WIDTH, TOKENS, DIM, VOCABULARY, CONTEXT = 56, 84, 6, 8, 32, 32
PATCHES, ANGLES = 4 * TOKENS, 10
NAMES = ("ar4_cl32_1_of_1", "ar1_cl32_1_of_1")

# As in the sample, smaller.
INPUTS: dict[str, Any] = {
    "qwen_vl_processor": "Qwen/Qwen2-VL-2B-Instruct",
    "llm_config": "Qwen/Qwen2-VL-2B-Instruct",
    "data_preprocess_inp_h": HEIGHT,
    "data_preprocess_inp_w": WIDTH,
    "run_veg_n_tokens": TOKENS,
    "run_veg_embedding_dim": DIM,
    "genie_config": {
        "dialog": {
            "version": 1,
            "embedding": {"version": 1, "size": DIM, "datatype": "float32"},
            "context": {"size": CONTEXT, "n-vocab": VOCABULARY, "bos-token": 3, "eos-token": 5},
            "tokenizer": {"version": 1, "path": "any_path/tokenizer.json"},
            "engine": {
                "backend": {"version": 1, "type": "QnnHtp"},
                "model": {"version": 1, "type": "binary", "binary": {"ctx-bins": ["any.bin"]}},
            },
        }
    },
}


@cache
def compiles() -> bool:
    """Whether there is a compiler; without one the binaries are empty words, and not looked at."""
    try:
        find_toolchain()
    except SubmissionError:
        return False
    return True


def write_folder(folder: Path) -> Path:
    """Writes the package into `folder`; the team's folder in it."""
    team = folder / TEAM
    (team / FOLDER).mkdir(parents=True)
    (team / "serialized_binaries").mkdir()
    (team / LANGUAGE).write_bytes(language() if compiles() else b"none")
    (team / "serialized_binaries/veg.serialized.bin").write_bytes(
        vision() if compiles() else b"none"
    )
    (team / "inputs.json").write_text(json.dumps(INPUTS, indent=1))
    vocabulary = {f"word{index}": index for index in range(VOCABULARY)}
    tokenizer = {"added_tokens": [{"id": 5}], "model": {"type": "BPE", "vocab": vocabulary}}
    (team / "tokenizer.json").write_text(json.dumps(tokenizer))
    raws = {
        f"embedding_weights_{VOCABULARY}x{DIM}": (VOCABULARY, DIM),
        "position_ids_cos": (PATCHES, ANGLES),
        "position_ids_sin": (PATCHES, ANGLES),
        "mask": (1, PATCHES, PATCHES),
    }
    for name, shape in raws.items():
        weights(name, *shape).tofile(team / f"{name}.raw")
    return team


def zipped(team: Path) -> Path:
    """The zip of a team's folder, beside it and of its name."""
    return Path(shutil.make_archive(str(team), "zip", team.parent, team.name))


@cache
def language(names: tuple[str, ...] = NAMES) -> bytes:
    """The context binary of the language model, with a graph of each of the names.

    The compiler chooses names of its own, which are longer: they are written over.
    """
    steps = (4, 1, 2)[: len(names)]
    with tempfile.TemporaryDirectory(prefix="lpcvc-") as folder:
        binary = Path(folder, "linked.bin")
        files = [_saved(_step(count), Path(folder, str(count))) for count in steps]
        made = link_models(files, find_device(DEVICE), binary)
        data = binary.read_bytes()
    for before, name in zip(made, names, strict=True):
        data = data.replace(before.encode(), name.encode().ljust(len(before), b"\0"))
    return data


@cache
def vision(
    inputs: tuple[str, ...] = ("pixel_values", "position_ids_cos", "position_ids_sin", "mask"),
    output: str = "vision_embedding",
    patches: int = PATCHES,
    device: str = DEVICE,
) -> bytes:
    """The context binary of the vision encoder, which takes `inputs` in that order."""
    with tempfile.TemporaryDirectory(prefix="lpcvc-") as folder:
        file = _saved(_encoder(inputs, output, patches), Path(folder, "veg"))
        return compile_model(file, find_device(device)).binary.read_bytes()


def _step(count: int) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Relu", ["inputs_embeds"], ["r"], "relu"),
        helper.make_node("Concat", ["r", "r"], ["logits"], "logits", axis=2),
    ]
    shapes = {"inputs_embeds": (1, count, DIM)}, {"logits": (1, count, 2 * DIM)}
    return _model(nodes, *shapes)


def _encoder(inputs: Sequence[str], output: str, patches: int) -> onnx.ModelProto:
    """The sum of a projection of each input, four rows to one."""
    widths = {"pixel_values": PATCH_VALUES, "position_ids_cos": ANGLES, "position_ids_sin": ANGLES}
    shapes = {
        name: (patches, widths[name]) if name in widths else (1, patches, patches)
        for name in inputs
    }
    nodes, projections = [], {"merged": np.array([1, patches // 4, 4, DIM])}
    for name, shape in shapes.items():
        projections[f"{name}_head"] = weights(f"{name}_head", shape[-1], DIM)
        nodes.append(helper.make_node("MatMul", [name, f"{name}_head"], [f"{name}_p"], name))
        nodes.append(
            helper.make_node("Reshape", [f"{name}_p", "merged"], [f"{name}_m"], f"{name}_rows")
        )
    total = f"{inputs[0]}_m"
    for name in inputs[1:]:
        nodes.append(helper.make_node("Add", [total, f"{name}_m"], [f"{name}_s"], f"{name}_sum"))
        total = f"{name}_s"
    nodes.append(helper.make_node("ReduceMean", [total], [output], "merge", axes=[2], keepdims=0))
    return _model(nodes, shapes, {output: (1, patches // 4, DIM)}, projections)


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, tuple[int, ...]],
    outputs: dict[str, tuple[int, ...]],
    constants: dict[str, np.ndarray] | None = None,
) -> onnx.ModelProto:
    values = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in s.items()]
        for s in (inputs, outputs)
    ]
    stored = [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()]
    graph = helper.make_graph(nodes, "graph", *values, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)


def _saved(model: onnx.ModelProto, folder: Path) -> Path:
    folder.mkdir()
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"
