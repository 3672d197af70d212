"""Ways from a network to an ONNX file: exporters, quantisation, and the forms of files."""

import copy
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import ModelProto, helper
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import CalibrationDataReader, create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from torch import nn

from conformance.contract.probes import probes_for
from reference.export import example_inputs
from reference.registry import all_tracks
from reference.tracks import Part, Tensor
from reference.weights import seed_weights

Maker = Callable[[Part], ModelProto]
Change = Callable[[ModelProto], ModelProto]


def network(build: Callable[[], nn.Module]) -> nn.Module:
    """A module in eval mode, its weights seeded by name."""
    module = build().float()
    seed_weights(module)
    return module.eval().requires_grad_(False)


def exported(
    build: Callable[[], nn.Module],
    opset: int,
    *,
    dynamo: bool = False,
    fold: bool = True,
    int64: bool = False,
) -> Maker:
    """Through one of PyTorch's two exporters; `fold` joins batch norms to convolutions."""

    def make(part: Part) -> ModelProto:
        inputs = example_inputs(part)
        if int64:
            inputs = tuple(x if x.is_floating_point() else x.long() for x in inputs)
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path = Path(folder, "model.onnx")
            torch.onnx.export(
                network(build),
                inputs,
                str(path),
                opset_version=opset,
                input_names=[str(tensor.name) for tensor in part.inputs],
                output_names=[part.output.name or "answer"],
                dynamo=dynamo,
                external_data=False,
                verbose=False,
                training=torch.onnx.TrainingMode.EVAL if fold else torch.onnx.TrainingMode.PRESERVE,
            )
            return onnx.load(path)

    return make


def quantised(
    make: Maker, track: str, operators: list[str], at: tuple[int, int] | None = None
) -> Maker:
    """Weights and activations of 8 bits, calibrated on two photographs or texts.

    `at` calibrates a copy of the network at a smaller size, whose tensors have the same names.
    """

    def quantise(part: Part) -> ModelProto:
        ranges = _ranges(make(_at(part, at)), track, part, operators, at)
        quantizer = QDQQuantizer(
            onnx.shape_inference.infer_shapes(make(part)),
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=ranges,
            nodes_to_quantize=[],
            nodes_to_exclude=[],
            op_types_to_quantize=operators,
            extra_options={},
        )
        quantizer.quantize_model()
        return quantizer.model.model

    return quantise


def changed(make: Maker, *changes: Change) -> Maker:
    """The same network in another form of file."""

    def apply(part: Part) -> ModelProto:
        model = make(part)
        for change in changes:
            model = change(model)
        return model

    return apply


def ir(version: int) -> Change:
    def change(model: ModelProto) -> ModelProto:
        model.ir_version = version
        return model

    return change


def function_opset(version: int) -> Change:
    """Local functions may be of another opset than their model."""

    def change(model: ModelProto) -> ModelProto:
        for function in model.functions:
            for entry in function.opset_import:
                if not entry.domain:
                    entry.version = version
        return model

    return change


def weights_as_inputs(model: ModelProto) -> ModelProto:
    """Every initializer is listed as a graph input too, as all files up to IR 3 had to."""
    model.graph.input.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in model.graph.initializer
    )
    return model


def weights_as_nodes(model: ModelProto) -> ModelProto:
    """Every initializer becomes a Constant node."""
    nodes = [
        helper.make_node("Constant", [], [tensor.name], value=tensor)
        for tensor in model.graph.initializer
    ]
    nodes += copy.deepcopy(list(model.graph.node))
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


class _Photographs(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, feeds: Iterator[dict[str, np.ndarray]]) -> None:
        self._feeds = feeds

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)


def _ranges(
    model: ModelProto, track: str, part: Part, operators: list[str], at: tuple[int, int] | None
) -> object:
    probes = [p for p in probes_for(all_tracks()[track], part) if p.role in ("photo", "text")][:2]
    feeds = (
        {name: _smaller(array, at) if array.ndim == 4 else array for name, array in feed.items()}
        for feed in (probe.feeds() for probe in probes)
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        onnx.save(onnx.shape_inference.infer_shapes(model), path)
        calibrator = create_calibrator(path, operators, str(Path(folder, "augmented.onnx")))
        calibrator.collect_data(_Photographs(feeds))
        return calibrator.compute_data()


def _at(part: Part, size: tuple[int, int] | None) -> Part:
    def smaller(tensor: Tensor) -> Tensor:
        if size is None or len(tensor.shape) != 4:
            return tensor
        return replace(tensor, shape=(*tensor.shape[:2], *size))

    return replace(part, inputs=tuple(map(smaller, part.inputs)))


def _smaller(image: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    if size is None:
        return image
    return nn.functional.interpolate(torch.from_numpy(image), size, mode="area").numpy()
