"""Edits of ONNX graphs, each a function that makes a change."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

Change = Callable[[ModelProto], None]


@dataclass(frozen=True)
class Step:
    """One operator: its constant or named further inputs, and its attributes."""

    op: str
    extra: tuple[np.ndarray | str, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    domain: str = ""


def step(op: str, *extra: object, domain: str = "", **attributes: Any) -> Step:
    """A step; numbers and lists become float32 constants, strings name tensors."""
    inputs = tuple(x if isinstance(x, str | np.ndarray) else np.array(x, np.float32) for x in extra)
    return Step(op, inputs, attributes, domain)


def after(tensor: str, *steps: Step, dtype: int | None = None, shape: tuple = ()) -> Change:
    """Puts operators between a tensor (input, inner or output) and everything that reads it.

    `dtype` and `shape` redeclare the graph's input or output of that name.
    """

    def change(model: ModelProto) -> None:
        graph = model.graph
        is_output = any(value.name == tensor for value in graph.output)
        source = f"{tensor}_inner" if is_output else tensor
        place = 0
        for index, node in enumerate(graph.node):
            if is_output:
                _replace(node.output, tensor, source)
            place = index + 1 if source in node.output else place
        chain, current = _chain(graph, tensor, source, steps)
        if is_output:
            chain[-1].name = chain[-1].output[0] = tensor
        else:
            for node in graph.node:
                _replace(node.input, tensor, current)
        for offset, node in enumerate(chain):
            graph.node.insert(place + offset, node)
        redeclare(tensor, dtype, shape)(model)

    return change


def rename_input(old: str, new: str) -> Change:
    def change(model: ModelProto) -> None:
        for value in model.graph.input:
            value.name = new if value.name == old else value.name
        for node in model.graph.node:
            _replace(node.input, old, new)

    return change


def rename_output(old: str, new: str) -> Change:
    def change(model: ModelProto) -> None:
        model.graph.output[0].name = new
        for node in model.graph.node:
            _replace(node.output, old, new)

    return change


def redeclare(name: str, dtype: int | None = None, shape: tuple = ()) -> Change:
    """Declares another dtype or shape of an input or output; a string is a dynamic axis."""

    def change(model: ModelProto) -> None:
        for value in (*model.graph.input, *model.graph.output):
            if value.name == name:
                elem = dtype or value.type.tensor_type.elem_type
                sizes = list(shape) or [d.dim_value for d in value.type.tensor_type.shape.dim]
                value.CopyFrom(helper.make_tensor_value_info(name, elem, sizes))

    return change


def constant(name: str, edit: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Replaces a weight by what `edit` makes of it."""

    def change(model: ModelProto) -> None:
        for tensor in model.graph.initializer:
            if tensor.name == name:
                array = edit(numpy_helper.to_array(tensor).copy())
                tensor.CopyFrom(numpy_helper.from_array(array, name))

    return change


def add_output(name: str, *shape: int) -> Change:
    """Returns an inner tensor as well."""

    def change(model: ModelProto) -> None:
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    return change


def add_input(name: str, *shape: int) -> Change:
    def change(model: ModelProto) -> None:
        model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    return change


def add_node(op: str, inputs: list[str], output: str, **attributes: Any) -> Change:
    """Computes a new tensor from the graph's inputs."""

    def change(model: ModelProto) -> None:
        node = helper.make_node(op, inputs, [output], output, **attributes)
        model.graph.node.insert(0, node)

    return change


def add_weight(name: str, array: np.ndarray) -> Change:
    """Stores a weight that nothing reads."""

    def change(model: ModelProto) -> None:
        model.graph.initializer.append(numpy_helper.from_array(array, name))

    return change


def bypass(tensor: str, instead: str) -> Change:
    """Lets the readers of one tensor read another, and drops what nobody reads then."""

    def change(model: ModelProto) -> None:
        for node in model.graph.node:
            _replace(node.input, tensor, instead)
        prune(model)

    return change


def prune(model: ModelProto) -> None:
    """Drops nodes and weights that lead to no output."""
    graph = model.graph
    wanted = {value.name for value in graph.output}
    for node in reversed(list(graph.node)):
        if wanted.isdisjoint(node.output):
            graph.node.remove(node)
        else:
            wanted.update(node.input)
    for tensor in list(graph.initializer):
        if tensor.name not in wanted:
            graph.initializer.remove(tensor)


def versions(ir: int | None = None, opset: int | None = None) -> Change:
    def change(model: ModelProto) -> None:
        model.ir_version = ir or model.ir_version
        model.opset_import[0].version = opset or model.opset_import[0].version

    return change


def side(tensor: str, source: str, *steps: Step, op: str = "Add", **attributes: Any) -> Change:
    """Joins to a tensor what steps make of another one."""

    def change(model: ModelProto) -> None:
        nodes, end = _chain(model.graph, f"{tensor}_side", source, steps)
        after(tensor, step(op, end, **attributes))(model)
        _insert_before(model.graph, end, nodes)

    return change


def only_if(tensor: str, source: str, test: Sequence[Step], *steps: Step) -> Change:
    """A tensor goes through steps where `test` of `source`, which ends in one bool, holds."""

    def change(model: ModelProto) -> None:
        graph = model.graph
        tests, holds = _chain(graph, f"{tensor}_test", source, test)
        after(tensor, step("If", holds))(model)
        _insert_before(graph, holds, tests)
        node = next(node for node in graph.node if node.op_type == "If")
        inner = node.input[0]
        del node.input[0]
        for name, chosen in (("then", steps), ("else", (step("Identity"),))):
            nodes, end = _chain(graph, f"{tensor}_{name}", inner, chosen)
            out = helper.make_tensor_value_info(end, TensorProto.FLOAT, None)
            branch = helper.make_graph(nodes, f"{tensor}_{name}", [], [out])
            node.attribute.append(helper.make_attribute(f"{name}_branch", branch))

    return change


def loop(tensor: str, times: int, one: Step) -> Change:
    """A tensor goes through a step several times."""

    def change(model: ModelProto) -> None:
        graph = model.graph
        after(tensor, step("Loop"))(model)
        node = next(node for node in graph.node if node.op_type == "Loop")
        names = [f"{tensor}_{name}" for name in ("turn", "go", "state")]
        types = (TensorProto.INT64, TensorProto.BOOL, TensorProto.FLOAT)
        infos = [
            helper.make_tensor_value_info(name, kind, [] if kind != TensorProto.FLOAT else None)
            for name, kind in zip(names, types, strict=True)
        ]
        nodes, end = _chain(graph, f"{tensor}_loop", names[2], [one])
        nodes.append(helper.make_node("Identity", [names[1]], [f"{tensor}_goes"]))
        results = [
            helper.make_tensor_value_info(f"{tensor}_goes", TensorProto.BOOL, []),
            helper.make_tensor_value_info(end, TensorProto.FLOAT, None),
        ]
        body = helper.make_graph(nodes, f"{tensor}_body", infos, results)
        node.attribute.append(helper.make_attribute("body", body))
        node.input.insert(0, _name(graph, f"{tensor}_times", np.array(times)))
        node.input.insert(1, "")

    return change


def exchange_inputs(one: str, other: str) -> Change:
    """Each of two inputs has the other's name."""
    return both(rename_input(one, "other"), rename_input(other, one), rename_input("other", other))


def fold_input(name: str, array: np.ndarray) -> Change:
    """An input becomes a constant, as where an export traces it away."""

    def change(model: ModelProto) -> None:
        graph = model.graph
        graph.input.remove(next(value for value in graph.input if value.name == name))
        _name(graph, name, array)

    return change


def replace(other: Callable[[], ModelProto]) -> Change:
    """Another model altogether."""
    return lambda model: model.CopyFrom(other())


def both(*changes: Change) -> Change:
    """Several edits as one defect."""

    def change(model: ModelProto) -> None:
        for one in changes:
            one(model)

    return change


def _replace(names: Any, old: str, new: str) -> None:
    for index, name in enumerate(names):
        if name == old:
            names[index] = new


def _chain(
    graph: onnx.GraphProto, name: str, source: str, steps: Sequence[Step]
) -> tuple[list[onnx.NodeProto], str]:
    """The nodes of steps that begin at a tensor, and the name of what comes out."""
    nodes = []
    for index, one in enumerate(steps):
        inputs = [
            source,
            *(_name(graph, f"{name}_{index}_{i}", x) for i, x in enumerate(one.extra)),
        ]
        source = f"{name}_step_{index}"
        nodes.append(
            helper.make_node(one.op, inputs, [source], source, domain=one.domain, **one.attributes)
        )
    return nodes, source


def _insert_before(graph: onnx.GraphProto, tensor: str, nodes: list[onnx.NodeProto]) -> None:
    """Puts nodes in front of the first one that reads a tensor."""
    place = next(index for index, node in enumerate(graph.node) if tensor in node.input)
    for offset, node in enumerate(nodes):
        graph.node.insert(place + offset, node)


def _name(graph: onnx.GraphProto, name: str, value: np.ndarray | str) -> str:
    if isinstance(value, str):
        return value
    graph.initializer.append(numpy_helper.from_array(value, name))
    return name
