"""Images channel-last at the ends of a model, as a DLC, a context binary and tflite have them."""

from itertools import count
from pathlib import Path
from typing import Any

import onnx
from onnx import helper

# One channel, RGB, or RGB with a fourth: more are features.
_IMAGE_CHANNELS = range(1, 5)
_LARGEST = 2**31 - 2**24  # bytes of weights that one file takes, with room for the graph


def make_channel_last(model: onnx.ModelProto) -> int:
    """Gives `model` channel-last images at its ends, where the compiler cancels the transposes.

    Each input of the shape 1xCxHxW with at most four channels becomes 1xHxWxC, and if there is one,
    each output of four dimensions does too. Their names change. Returns how many were changed.
    """
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    images = [v for v in graph.input if v.name not in weights and _is_image(_shape(v))]
    maps = [value for value in graph.output if images and len(_shape(value)) == 4]
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    for value in images:
        name, inner = _unused(value.name, taken), value.name
        _to_channel_last(value, name)
        graph.node.insert(0, _transpose(name, inner, (0, 3, 1, 2)))
    for value in maps:
        name, inner = _unused(value.name, taken), value.name
        _to_channel_last(value, name)
        graph.node.append(_transpose(inner, name, (0, 2, 3, 1)))
    return len(images) + len(maps)


def save_model(model: onnx.ModelProto, path: Path) -> Path:
    """Writes the model, above 2 GiB with its weights beside it; returns `path`."""
    size = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    external = {"save_as_external_data": True, "location": f"{path.name}.data"}
    onnx.save_model(model, path, **(external if size > _LARGEST else {}))
    return path


def _shape(value: onnx.ValueInfoProto) -> list[Any]:
    """Sizes, 0 for one that is not fixed."""
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim]


def _is_image(shape: list[Any]) -> bool:
    return len(shape) == 4 and shape[1] in _IMAGE_CHANNELS


def _to_channel_last(value: onnx.ValueInfoProto, name: str) -> None:
    dims = value.type.tensor_type.shape.dim
    kept = [onnx.TensorShapeProto.Dimension.FromString(dim.SerializeToString()) for dim in dims]
    del dims[:]
    dims.extend(kept[axis] for axis in (0, 2, 3, 1))
    value.name = name


def _transpose(start: str, end: str, axes: tuple[int, ...]) -> onnx.NodeProto:
    return helper.make_node("Transpose", [start], [end], name=f"layout/{start}", perm=axes)


def _unused(name: str, taken: set[str]) -> str:
    names = (f"{name}_channel_last{number or ''}" for number in count())
    found = next(name for name in names if name not in taken)
    taken.add(found)
    return found
