"""Makes the ONNX graph of a target of the one that was uploaded: shapes, types, names, layouts.

All functions change the model that they are given. They parse what strangers upload: for the child
process alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from reference.aihub.data import label
from reference.aihub.tasks import TaskError, TensorSpec
from reference.onnx_graph import rename, unused

_INT32, _INT64 = onnx.TensorProto.INT32, onnx.TensorProto.INT64


def model_inputs(model: Any) -> list[Any]:
    """The inputs that a caller gives: older models list their weights too."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def bind_inputs(model: Any, specs: Sequence[TensorSpec]) -> None:
    """Gives dynamic dimensions the sizes in `specs`; without specs there must be none.

    Raises TaskError where names, shapes or dtypes of `specs` are not the model's.
    """
    inputs = {value.name: value for value in model_inputs(model)}
    named = {spec.name: spec for spec in specs}
    if specs and inputs.keys() != named.keys():
        raise TaskError(
            f"input_specs has {_list(named)}, and the inputs of the model are {_list(inputs)}"
        )
    for name, value in inputs.items():
        found = _shape(value)
        if name in named:
            _bind(value, named[name], found)
        elif not all(isinstance(size, int) for size in found):
            raise TaskError(
                f"input {name!r} has the dynamic shape [{', '.join(map(str, found))}]:"
                f" give input_specs with a size for every dimension"
            )
    # What was inferred for other sizes no longer holds.
    if specs:
        del model.graph.value_info[:]


def _bind(value: Any, spec: TensorSpec, found: list[int | str]) -> None:
    dtype = _dtype(value)
    fits = len(found) == len(spec.shape) and all(
        isinstance(have, str) or have == want for have, want in zip(found, spec.shape, strict=True)
    )
    if not fits or dtype != spec.dtype:
        raise TaskError(
            f"input_specs gives {spec.name!r} as {label(spec.dtype, spec.shape)},"
            f" and the model has it as {label(dtype, found)}"
        )
    for dimension, size in zip(value.type.tensor_type.shape.dim, spec.shape, strict=True):
        dimension.Clear()
        dimension.dim_value = size


def name_outputs(model: Any, names: Sequence[str]) -> None:
    """Names the outputs `names`, or `output_0`, `output_1`, ... where there are none."""
    graph = model.graph
    wanted = list(names) or [f"output_{index}" for index in range(len(graph.output))]
    if len(wanted) != len(graph.output):
        raise TaskError(
            f"--output_names has {len(wanted)} names, and the model has {len(graph.output)} outputs"
        )
    if taken := {value.name for value in graph.input} & {*wanted}:
        raise TaskError(f"{_list(taken)} names an input: give other --output_names")
    old = [value.name for value in graph.output]
    # An output that is an input, or twice the same, cannot take a name of its own.
    produced = {name for node in graph.node for name in node.output}
    for index, value in enumerate(graph.output):
        if value.name not in produced or value.name in old[:index]:
            source, value.name = value.name, unused(model.graph, f"copy_{index}")
            graph.node.append(onnx.helper.make_node("Identity", [source], [value.name]))
    old = [value.name for value in graph.output]
    names_of_others = {name: unused(model.graph, f"{name}_inner") for name in {*wanted} - {*old}}
    rename(graph, names_of_others | dict(zip(old, wanted, strict=True)), ends=False)
    for value, name in zip(graph.output, wanted, strict=True):
        value.name = name


def refuse_int64(model: Any) -> None:
    """Raises TaskError, as AI Hub does, where an input or an output is int64."""
    for values, kind in ((model_inputs(model), "input"), (model.graph.output, "output")):
        if any(value.type.tensor_type.elem_type == _INT64 for value in values):
            raise TaskError(f"Must use --truncate_64bit_io when {kind} tensors have type int64.")


def truncate_io(model: Any) -> None:
    """Makes int64 inputs and outputs int32."""
    for value in model_inputs(model):
        if value.type.tensor_type.elem_type == _INT64:
            _after_input(model, value, "Cast", to=_INT64)
            value.type.tensor_type.elem_type = _INT32
    for value in model.graph.output:
        if value.type.tensor_type.elem_type == _INT64:
            _before_output(model, value, "Cast", to=_INT32)
            value.type.tensor_type.elem_type = _INT32


def channels_last(model: Any, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Moves axis 1 of the named inputs and outputs to the end: NCHW to NHWC."""
    for names, values, option, place in (
        (inputs, model_inputs(model), "--force_channel_last_input", _after_input),
        (outputs, model.graph.output, "--force_channel_last_output", _before_output),
    ):
        found = {value.name: value for value in values}
        for name in names:
            if name not in found:
                raise TaskError(f"{option} names {name!r}, and the model has {_list(found)}")
            dimensions = found[name].type.tensor_type.shape.dim
            rank = len(dimensions)
            if rank < 3:
                raise TaskError(
                    f"{option} names {name!r}, which has {rank} dimensions, not 3 or more"
                )
            last = [0, *range(2, rank), 1]
            order = last if place is _before_output else [0, rank - 1, *range(1, rank - 1)]
            place(model, found[name], "Transpose", perm=order)
            moved = [dimensions[axis] for axis in last]
            kept = [
                onnx.TensorShapeProto.Dimension.FromString(d.SerializeToString()) for d in moved
            ]
            del dimensions[:]
            dimensions.extend(kept)


def quantize_io(model: Any) -> dict[str, tuple[float, float]]:
    """Takes the first Q from the inputs and the last DQ from the outputs of a QDQ model.

    Returns scale and zero point of each input and output that is integer now. Raises TaskError
    where there is none.
    """
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    found: dict[str, tuple[float, float]] = {}
    for value in model_inputs(model):
        readers = [node for node in graph.node if value.name in node.input]
        numbers = {_numbers(node, weights, "QuantizeLinear") for node in readers}
        if len(numbers) == 1 and (one := numbers.pop()) is not None:
            rename(graph, {node.output[0]: value.name for node in readers}, ends=False)
            for node in readers:
                graph.node.remove(node)
            value.type.tensor_type.elem_type = weights[readers[0].input[2]].data_type
            found[value.name] = one
    producers = {name: node for node in graph.node for name in node.output}
    for value in graph.output:
        last = producers.get(value.name)
        one = _numbers(last, weights, "DequantizeLinear") if last is not None else None
        if last is not None and one is not None and last.input[0] in producers:
            zero = last.input[2]
            rename(
                graph,
                {value.name: unused(model.graph, "float"), last.input[0]: value.name},
                ends=False,
            )
            if not any(last.output[0] in node.input for node in graph.node):
                graph.node.remove(last)
            value.type.tensor_type.elem_type = weights[zero].data_type
            found[value.name] = one
    if not found:
        raise TaskError(
            "--quantize_io needs a quantised model, and no input or output of this one is:"
            " quantise it first with submit_quantize_job"
        )
    return found


def _numbers(node: Any, weights: Mapping[str, Any], op: str) -> tuple[float, float] | None:
    """Scale and zero point of one Q or DQ of a whole tensor."""
    if node.op_type != op or len(node.input) < 3 or not {*node.input[1:]} <= weights.keys():
        return None
    scale, zero = (onnx.numpy_helper.to_array(weights[name]) for name in node.input[1:])
    return (float(scale), float(zero)) if np.size(scale) == 1 else None


def describe(value: Any) -> dict[str, Any]:
    """Name, shape and dtype of an input or output, for `TensorSpec`."""
    return {"name": value.name, "shape": _shape(value), "dtype": _dtype(value)}


def _shape(value: Any) -> list[int | str]:
    """Sizes, and a name for each dimension that has none."""
    return [
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?"
        for dim in value.type.tensor_type.shape.dim
    ]


def _dtype(value: Any) -> str:
    element = value.type.tensor_type.elem_type
    try:
        return str(onnx.helper.tensor_dtype_to_np_dtype(element).name)
    except KeyError:
        raise TaskError(f"{value.name!r} is no tensor of numbers") from None


def _after_input(model: Any, value: Any, op: str, **attributes: Any) -> None:
    inner = unused(model.graph, f"{value.name}_inner")
    rename(model.graph, {value.name: inner}, ends=False)
    model.graph.node.insert(0, onnx.helper.make_node(op, [value.name], [inner], **attributes))


def _before_output(model: Any, value: Any, op: str, **attributes: Any) -> None:
    inner = unused(model.graph, f"{value.name}_inner")
    rename(model.graph, {value.name: inner}, ends=False)
    model.graph.node.append(onnx.helper.make_node(op, [inner], [value.name], **attributes))


def _list(names: Any) -> str:
    return ", ".join(map(repr, names)) or "none"
