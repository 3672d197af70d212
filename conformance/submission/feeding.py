"""Which input of a model takes what, where it does not keep the contract's names or types."""

from collections.abc import Sequence

import numpy as np

from conformance.submission.graph import Value
from reference.tracks import Part, Tensor, fits

# Types that hold every value of the contract's own, by its kind.
_HOLDS = {
    "float32": {"float16", "float32", "float64"},
    "int32": {"int32", "int64", "uint32", "uint64", "float32", "float64"},
}


def match_inputs(
    part: Part, inputs: Sequence[Value], *, raw_pixels: bool
) -> dict[str, Value] | None:
    """The model's input for each tensor of the contract, by the contract's name.

    By name where shape and type allow it, else by the only shape and type that do, else in order.
    `raw_pixels` says that pictures are fed as 0..255, which a uint8 holds too. None where the
    model cannot be fed so.
    """
    if len(inputs) != len(part.inputs):
        return None
    possible = {
        _name(tensor): [value for value in inputs if _takes(value, tensor, raw_pixels)]
        for tensor in part.inputs
    }
    matched: dict[str, Value] = {}
    for choose in (_by_name, _by_elimination):
        choose(possible, matched)
    for tensor, value in zip(part.inputs, inputs, strict=True):
        if _name(tensor) not in matched and value in possible[_name(tensor)]:
            matched[_name(tensor)] = value
    distinct = {value.name for value in matched.values()}
    return matched if len(matched) == len(distinct) == len(part.inputs) else None


def feed(arrays: dict[str, np.ndarray], matched: dict[str, Value]) -> dict[str, np.ndarray]:
    """Arrays by the contract's names, as the model calls and declares them."""
    return {matched[name].name: array.astype(matched[name].dtype) for name, array in arrays.items()}


def _by_name(possible: dict[str, list[Value]], matched: dict[str, Value]) -> None:
    for name, values in possible.items():
        own = [value for value in values if value.name == name]
        if len(own) == 1:
            matched[name] = own[0]


def _by_elimination(possible: dict[str, list[Value]], matched: dict[str, Value]) -> None:
    for name, values in possible.items():
        left = [value for value in values if value not in matched.values()]
        if name not in matched and len(left) == 1:
            matched[name] = left[0]


def holds(tensor: Tensor, *, raw_pixels: bool) -> set[str]:
    """The types, numpy's names, that hold everything that is fed for a tensor of the contract."""
    pixels = {"uint8"} if raw_pixels and tensor.kind == "picture" else set()
    return _HOLDS.get(tensor.dtypes[0], {*tensor.dtypes}) | pixels


def _takes(value: Value, tensor: Tensor, raw_pixels: bool) -> bool:
    return value.dtype in holds(tensor, raw_pixels=raw_pixels) and fits(value.shape, tensor.shape)


def _name(tensor: Tensor) -> str:
    assert tensor.name is not None, "inputs have names"
    return tensor.name
