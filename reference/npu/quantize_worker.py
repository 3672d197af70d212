"""The child process that quantises. Nothing else imports it."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import onnx.version_converter

# It would keep a device id and a database under the user's home.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
from onnxruntime.quantization import CalibrationDataReader, QuantType
from onnxruntime.quantization import quantize as quantize_model

from reference.child import Child, main
from reference.errors import SubmissionError
from reference.ort import host_session, without_torch

with without_torch():
    from onnxruntime.quantization.execution_providers.qnn import (
        get_qnn_qdq_config,
        qnn_preprocess_model,
    )

_WEIGHTS = {"w4": QuantType.QInt4, "w8": QuantType.QInt8, "w16": QuantType.QInt16}
_ACTIVATIONS = {"a8": QuantType.QUInt8, "a16": QuantType.QUInt16}
_QDQ = {"QuantizeLinear", "DequantizeLinear"}
# The first opset whose own operators hold Gelu and 16-bit QDQ; older ones need contrib operators.
_OPSET = 21


class QuantizeChild(Child):
    """Quantises a float model, and says how close two models are."""

    def quantize(
        self, model: str, output: str, examples: list[dict[str, str]], precision: str
    ) -> dict[str, int]:
        """Writes the quantised model; answers the number of operators, and of quantised ones."""
        folder = Path(output).parent
        ready, fused = folder / "float.onnx", folder / "fused.onnx"
        onnx.save(_float_model(Path(model)), ready)
        if qnn_preprocess_model(ready, fused, exclude_initializer_from_input=True):
            ready = fused
        source = _modern(onnx.load(ready))
        onnx.save(source, ready)
        weights, activations = precision.split("a")
        config = get_qnn_qdq_config(
            ready,
            _Reader(examples),
            activation_type=_ACTIVATIONS[f"a{activations}"],
            weight_type=_WEIGHTS[weights],
            per_channel=True,
            init_overrides=_norm_scales(source),
        )
        # Otherwise operators that only move data stay in float between the input and the first Q.
        config.extra_options["ForceQuantizeNoInputCheck"] = True
        quantize_model(ready, output, config)
        return _count(onnx.load(output))

    def compare(self, model: str, other: str, examples: list[dict[str, str]]) -> dict[str, Any]:
        """Answers (mean cosine, SQNR in decibels) of each output of `other` against `model`'s."""
        reference, found = host_session(model), host_session(other)
        names = [output.name for output in reference.get_outputs()]
        cosines = np.zeros(len(names))
        signal, noise = np.zeros(len(names)), np.zeros(len(names))
        for files in examples:
            arrays = _arrays(files)
            answers = zip(reference.run(names, arrays), found.run(names, arrays), strict=True)
            for index, pair in enumerate(answers):
                a, b = (np.asarray(array, np.float64).ravel() for array in pair)
                cosines[index] += _cosine(a, b) / len(examples)
                signal[index] += a @ a
                noise[index] += (a - b) @ (a - b)
        with np.errstate(divide="ignore", invalid="ignore"):
            sqnr = np.where(noise == 0, np.inf, 10 * np.log10(signal / noise))
        return {"outputs": dict(zip(names, zip(cosines, sqnr, strict=True), strict=True))}


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """One example in memory at a time."""

    def __init__(self, examples: list[dict[str, str]]) -> None:
        self._examples = iter(examples)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next example, None after the last."""
        files = next(self._examples, None)
        return None if files is None else _arrays(files)


def _arrays(files: dict[str, str]) -> dict[str, np.ndarray]:
    return {name: np.load(file, allow_pickle=False) for name, file in files.items()}


def _float_model(path: Path) -> Any:
    """The model without functions and constant nodes; it must be float32 and of fixed shapes."""
    model = onnx.load(path)
    if model.functions:
        model = onnx.inliner.inline_local_functions(model, convert_version=True)
    _make_initializers(model)
    for node in model.graph.node:
        if node.op_type in _QDQ or node.op_type.startswith(("QLinear", "DynamicQuantize")):
            raise SubmissionError(
                f"{path.name} is quantised already: {node.op_type} {node.name!r}",
                "give the float model that it was made of",
            )
    weights = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    half = next((n for n, dtype in weights.items() if dtype == onnx.TensorProto.FLOAT16), None)
    if half is not None:
        raise SubmissionError(
            f"{path.name} computes in float16: its weight {half!r}",
            "give the float32 model that it was made of: scales of 16 bits are too coarse",
        )
    for value in model.graph.input:
        fixed = all(d.HasField("dim_value") for d in value.type.tensor_type.shape.dim)
        if value.name not in weights and not fixed:
            raise SubmissionError(
                f"{path.name} has dynamic shapes: its input {value.name!r}",
                "export without dynamic_axes, or use onnxruntime.tools.make_dynamic_shape_fixed",
            )
    return model


def _make_initializers(model: Any) -> None:
    """Makes constants initializers: of nodes the tool would quantise the values, even of sizes."""
    kept = []
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            node.attribute[0].t.name = node.output[0]
            model.graph.initializer.append(node.attribute[0].t)
        else:
            kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(kept)


def _modern(model: Any) -> Any:
    """The model at opset 21 or above, with the standard Gelu in place of the contrib one."""
    versions = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    if versions["ai.onnx"] < _OPSET:
        model = onnx.version_converter.convert_version(model, _OPSET)
    for node in model.graph.node:
        if node.op_type == "Gelu":
            node.domain = ""
    wanted = onnx.helper.find_min_ir_version_for(model.opset_import, ignore_unknown=True)
    model.ir_version = max(model.ir_version, wanted)
    return model


def _norm_scales(model: Any) -> dict[str, list[dict[str, Any]]]:
    """LayerNorm's scales become uint8: of int8 ones beside uint8 activations the NPU takes none.

    Measured with QAIRT 2.51, and onnxruntime-qnn pull request 756.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    scales = [node.input[1] for node in model.graph.node if node.op_type == "LayerNormalization"]
    unsigned = {"quant_type": QuantType.QUInt8, "symmetric": False}
    return {name: [dict(unsigned)] for name in scales if name in weights}


def _count(model: Any) -> dict[str, int]:
    nodes = [node for node in model.graph.node if node.op_type not in {*_QDQ, "Constant"}]
    quantised = {
        name
        for node in model.graph.node
        if node.op_type in _QDQ
        for name in (*node.input, *node.output)
    }
    counts = Counter(not quantised.isdisjoint((*node.input, *node.output)) for node in nodes)
    return {"operators": len(nodes), "quantised": counts[True]}


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    """1 for two zero vectors, 0 for one."""
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / lengths if lengths else float(np.array_equal(a, b))


if __name__ == "__main__":
    main(QuantizeChild())
