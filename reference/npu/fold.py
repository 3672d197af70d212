"""Folds the normalisation of images, (x - mean) / std, into the convolution that follows it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from reference.errors import SubmissionError

_STEPS = {"Add", "Sub", "Mul", "Div"}
_ONES = "fold/ones"


@dataclass(frozen=True)
class Fold:
    """What was folded: the nodes that are gone, and the convolution that took them over.

    With `ones`, the convolution pads: a channel of ones beside the image carries the mean, and is 0
    where the convolution pads, as the normalised image was.
    """

    nodes: tuple[str, ...]
    convolution: str
    ones: bool


@dataclass(frozen=True)
class _Affine:
    """x * scale + shift, for each channel, in float64."""

    scale: np.ndarray
    shift: np.ndarray

    def then(self, op: str, value: np.ndarray, first: bool) -> "_Affine":
        """Followed by an operator with a constant, `first` where the image is its first operand."""
        if op == "Add":
            return _Affine(self.scale, self.shift + value)
        if op == "Sub" and first:
            return _Affine(self.scale, self.shift - value)
        if op == "Sub":
            return _Affine(-self.scale, value - self.shift)
        factor = value if op == "Mul" else 1 / value
        return _Affine(self.scale * factor, self.shift * factor)


def fold_normalisation(model: onnx.ModelProto) -> Fold:
    """Changes `model`, with its weights loaded, to the same function without the normalisation.

    It is equal up to rounding, at the border too. Raises SubmissionError where no image goes
    through constants alone, one for each channel or for all, into a convolution.
    """
    for name, shape in _images(model.graph):
        chain, end, affine = _follow(model.graph, name, shape[1])
        if chain and end is not None:
            return _fold(model.graph, name, shape, chain, end, affine)
    raise SubmissionError(
        "no normalisation that leads from an image into a convolution was found",
        "(x - mean) / std with constants, right before the first convolution, can be folded",
    )


def find_normalisation(model: onnx.ModelProto) -> tuple[str, ...]:
    """The names of the nodes that `fold_normalisation` would fold, in order."""
    for name, shape in _images(model.graph):
        chain, end, _ = _follow(model.graph, name, shape[1])
        if chain and end is not None:
            return tuple(node.name or node.output[0] for node in chain)
    return ()


def _images(graph: onnx.GraphProto) -> Iterator[tuple[str, list[int]]]:
    for value in graph.input:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        if len(shape) == 4 and all(shape):
            yield value.name, shape


def _follow(
    graph: onnx.GraphProto, name: str, channels: int
) -> tuple[list[onnx.NodeProto], onnx.NodeProto | None, _Affine]:
    """The steps from the image `name`, the convolution behind them if there is one, and what the
    steps do.
    """
    constants = _constants(graph)
    ends = {value.name for value in graph.output}
    affine = _Affine(np.ones(channels), np.zeros(channels))
    chain: list[onnx.NodeProto] = []
    while True:
        users = [node for node in graph.node if name in node.input]
        if len(users) != 1 or name in ends:
            return chain, None, affine
        node = users[0]
        if node.op_type == "Conv" and node.input[0] == name and _plain(node, constants):
            return chain, node, affine
        if node.op_type not in _STEPS or len(node.input) != 2:
            return chain, None, affine
        first = node.input[0] == name
        other = constants.get(node.input[1] if first else node.input[0])
        value = None if other is None else _per_channel(other, channels)
        if value is None or (node.op_type == "Div" and not (first and value.all())):
            return chain, None, affine
        affine = affine.then(node.op_type, value, first)
        chain.append(node)
        name = node.output[0]


def _constants(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = node.attribute[0].t
    return found


def _per_channel(tensor: onnx.TensorProto, channels: int) -> np.ndarray | None:
    """The constant as one value for each channel of 1xCxHxW; None where it is not that."""
    array = numpy_helper.to_array(tensor).astype(np.float64)
    if array.size == 1:
        return np.full(channels, array.item())
    shape = (1,) * (4 - array.ndim) + array.shape
    return array.reshape(channels) if shape == (1, channels, 1, 1) else None


def _plain(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> bool:
    """Whether the convolution sees all channels at once, with weights that are constants."""
    grouped = any(a.name == "group" and a.i != 1 for a in node.attribute)
    return not grouped and all(name in constants for name in node.input[1:] if name)


def _pads(node: onnx.NodeProto) -> bool:
    for attribute in node.attribute:
        if attribute.name == "pads" and any(attribute.ints):
            return True
        if attribute.name == "auto_pad" and attribute.s.startswith(b"SAME"):
            return True
    return False


def _fold(
    graph: onnx.GraphProto,
    image: str,
    shape: list[int],
    chain: list[onnx.NodeProto],
    convolution: onnx.NodeProto,
    affine: _Affine,
) -> Fold:
    constants = _constants(graph)
    old = numpy_helper.to_array(constants[convolution.input[1]])
    kernel = old.astype(np.float64)
    carried = np.einsum("oc...,c->o...", kernel, affine.shift)[:, None]
    scaled = kernel * affine.scale[:, None, None]
    ones = bool(carried.any()) and _pads(convolution)
    source = image
    if ones:
        scaled = np.concatenate([scaled, carried], axis=1)
        batch, _, height, width = shape
        _add(graph, _ONES, np.ones((batch, 1, height, width), old.dtype))
        source = "fold/image"
        concat = helper.make_node("Concat", [image, _ONES], [source], name=source, axis=1)
        graph.node.insert(0, concat)
    elif carried.any():
        bias = convolution.input[2] if len(convolution.input) > 2 else ""
        known = numpy_helper.to_array(constants[bias]) if bias else 0.0
        _add(graph, "fold/bias", (known + carried.sum(axis=(1, 2, 3))).astype(old.dtype))
        convolution.input[:] = [*convolution.input[:2], "fold/bias"]
    _add(graph, "fold/kernel", scaled.astype(old.dtype))
    convolution.input[0], convolution.input[1] = source, "fold/kernel"
    for node in chain:
        graph.node.remove(node)
    return Fold(tuple(node.name or node.output[0] for node in chain), convolution.name, ones)


def _add(graph: onnx.GraphProto, name: str, array: np.ndarray) -> None:
    graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
