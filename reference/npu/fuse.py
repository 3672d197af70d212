"""GELU and layer normalisation, written out in smaller operators, become one operator again."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from reference.npu.graph import Links, constants, replace, static_shapes

_SCALARS = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}
_DEPTH = 8  # operators from Tanh or Erf to either end of a GELU
_SAMPLES = np.concatenate([np.linspace(-6, 6, 49), [0.0]])
_CLOSE = 1e-3  # of GELU, in either of its forms
_MICROSOFT = "com.microsoft"
_LARGEST = 1 << 16  # elements of a scale or shift


class _UnknownError(Exception):
    """A tensor that does not follow from the one that was asked about."""


def fuse_gelu(model: onnx.ModelProto) -> int:
    """Rewrites each GELU that is written out with Tanh or Erf; how many were.

    Each is found by what it computes of one tensor, whatever operators that takes.
    """
    graph = model.graph
    links, known = Links(graph), constants(graph, 1)
    made: dict[str, Sequence[onnx.NodeProto]] = {}
    for node in graph.node:
        if node.op_type in ("Tanh", "Erf"):
            found = _find_gelu(node, links, known)
            if found is not None:
                source, end = found
                name = links.made_by[end].name or end
                made[end] = [helper.make_node("Gelu", [source], [end], name, domain=_MICROSOFT)]
    replace(graph, made)
    if made and not any(opset.domain == _MICROSOFT for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid(_MICROSOFT, 1))
    return len(made)


def _find_gelu(
    middle: onnx.NodeProto, links: Links, known: Mapping[str, np.ndarray]
) -> tuple[str, str] | None:
    """The tensor that a GELU around `middle` is computed of, and the one that it is."""
    sources = list(_sources(middle, links, known))
    end = middle.output[0]
    for _ in range(_DEPTH):
        taker = links.only_taker(end)
        if taker is None:
            return None
        end = taker.output[0]
        for source in sources:
            try:
                values = _compute(end, {source: _SAMPLES}, links, known, _DEPTH * 2)
            except _UnknownError:
                continue
            if values.shape == _SAMPLES.shape and np.abs(values - _gelu(_SAMPLES)).max() < _CLOSE:
                return source, end
    return None


def _sources(
    middle: onnx.NodeProto, links: Links, known: Mapping[str, np.ndarray]
) -> Iterator[str]:
    """The tensors before the node, the nearest first."""
    seen: dict[str, None] = {}
    front = list(middle.input)
    for _ in range(_DEPTH):
        seen.update(dict.fromkeys(name for name in front if name not in known))
        makers = [links.made_by[name] for name in front if name in links.made_by]
        front = [n for m in makers if m.op_type in {*_SCALARS, "Pow"} for n in m.input]
    return iter(seen)


def _compute(
    name: str,
    values: Mapping[str, np.ndarray],
    links: Links,
    known: Mapping[str, np.ndarray],
    depth: int,
) -> np.ndarray:
    """The tensor for these values of another, in float64."""
    if name in values:
        return values[name]
    if name in known and known[name].dtype.kind == "f":
        return known[name].astype(np.float64).reshape(-1)[:1]
    node = links.made_by.get(name)
    if node is None or not depth or node.op_type not in {*_SCALARS, "Pow", "Tanh", "Erf"}:
        raise _UnknownError
    operands = [_compute(n, values, links, known, depth - 1) for n in node.input]
    if node.op_type in _SCALARS:
        return np.asarray(_SCALARS[node.op_type](*operands))
    if node.op_type == "Pow":
        return np.asarray(operands[0] ** operands[1])
    return np.tanh(operands[0]) if node.op_type == "Tanh" else _erf(operands[0])


def _gelu(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / 2 * (1 + _erf(x / np.sqrt(2))))


def _erf(x: np.ndarray) -> np.ndarray:
    """To 2e-7: Abramowitz and Stegun, 7.1.26."""
    t = 1 / (1 + 0.3275911 * np.abs(x))
    factors = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
    return np.asarray(np.sign(x) * (1 - t * np.polyval(factors, t) * np.exp(-(x**2))))


def fuse_layer_norm(model: onnx.ModelProto) -> int:
    """Rewrites each layer normalisation over the last axis that is written out; how many were."""
    graph = model.graph
    links, known, shapes = Links(graph), constants(graph, _LARGEST), static_shapes(model)
    made: dict[str, Sequence[onnx.NodeProto]] = {}
    for node in graph.node:
        if node.op_type != "Sqrt":
            continue
        found = _find_normalised(node, links, known, shapes)
        if found is None:
            continue
        source, epsilon, end = found
        width = shapes[source][-1]
        scale, end = _next_constant("Mul", end, width, links, known)
        shift, end = _next_constant("Add", end, width, links, known)
        name = links.made_by[end].name or end
        scale = np.ones(width, np.float32) if scale is None else scale
        operands = [source, _tensor(graph, f"{end}/scale", scale)]
        operands += [] if shift is None else [_tensor(graph, f"{end}/shift", shift)]
        made[end] = [
            helper.make_node("LayerNormalization", operands, [end], name, axis=-1, epsilon=epsilon)
        ]
    replace(graph, made)
    return len(made)


def _find_normalised(
    root: onnx.NodeProto,
    links: Links,
    known: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
) -> tuple[str, float, str] | None:
    """The tensor, epsilon, and its normalised form, for the square root of a variance."""
    added = _made(root.input[0], links, "Add")
    if added is None:
        return None
    epsilon = next((known[n] for n in added.input if n in known and known[n].size == 1), None)
    variance = next((n for n in added.input if n not in known), "")
    squared = _mean_of(variance, links, known, shapes)
    power = _made(squared, links, "Pow", "Mul")
    if epsilon is None or power is None:
        return None
    if power.op_type == "Mul" and power.input[0] != power.input[1]:
        return None
    if power.op_type == "Pow" and float(known.get(power.input[1], np.zeros(1)).flat[0]) != 2:
        return None
    centred = _made(power.input[0], links, "Sub")
    if centred is None or _mean_of(centred.input[1], links, known, shapes) != centred.input[0]:
        return None
    for node in links.taken_by.get(root.output[0], []):
        if node.op_type == "Div" and node.input[1] == root.output[0]:
            above = _made(node.input[0], links, "Sub")
            if above is not None and list(above.input) == list(centred.input):
                return centred.input[0], float(epsilon.flat[0]), node.output[0]
    return None


def _made(name: str, links: Links, *ops: str) -> onnx.NodeProto | None:
    node = links.made_by.get(name)
    return node if node is not None and node.op_type in ops else None


def _mean_of(
    name: str,
    links: Links,
    known: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
) -> str:
    """What the tensor is the mean of over the last axis; empty where it is not."""
    node = _made(name, links, "ReduceMean")
    if node is None or node.input[0] not in shapes:
        return ""
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    axes = known[node.input[1]] if len(node.input) > 1 else attributes.get("axes", ())
    last = len(shapes[node.input[0]]) - 1
    whole = [int(axis) % (last + 1) for axis in np.asarray(axes).reshape(-1)] == [last]
    return str(node.input[0]) if whole and attributes.get("keepdims", 1) else ""


def _next_constant(
    op: str, name: str, width: int, links: Links, known: Mapping[str, np.ndarray]
) -> tuple[np.ndarray | None, str]:
    """The constant for each element of the last axis that `op` takes next, and what it makes."""
    node = links.only_taker(name)
    if node is None or node.op_type != op:
        return None, name
    other = next((known[n] for n in node.input if n in known), None)
    if other is None or other.size != width or other.shape[-1] != width:
        return None, name
    return other.reshape(width), node.output[0]


def _tensor(graph: onnx.GraphProto, name: str, array: np.ndarray) -> str:
    graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
    return name
