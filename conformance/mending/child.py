"""The child process that changes ONNX files: each method of `Hands` makes one change of a model."""

from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from conformance.submission.onnx_file import describe, load_model
from reference.child import Child, main
from reference.onnx_graph import graphs, names_in, rename, unused
from reference.ort import without_torch

# Bytes of one file: protobuf's 2 GiB less room for the graph.
LARGEST_PROTO = 2**31 - 2**24
_ELEMENT = {"float32": TensorProto.FLOAT, "int32": TensorProto.INT32, "int64": TensorProto.INT64}
_FLOATS = {TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.FLOAT, TensorProto.DOUBLE}


class MendingChild(Child):
    """Changes one file after another."""

    def change(self, source: str, target: str, changes: list[dict[str, Any]]) -> dict[str, Any]:
        """Writes the model in `source` with `changes` to `target`, where one was made; answers of
        each whether it was. External weights are neither read nor moved.
        """
        hands = Hands(load_model(Path(source)))
        made = [getattr(hands, change["do"])(**change["arguments"]) for change in changes]
        if any(made):
            Path(target).write_bytes(hands.model.SerializeToString())
        return {"made": made}

    def finish(self, source: str, weights: str, target: str) -> dict[str, Any]:
        """Writes the model in `source` to `target` with its external weights, which lie in the
        folder `weights`: inside the file, or above what a file can hold in one beside it.
        """
        model = onnx.load(source, load_external_data=False)
        onnx.load_external_data_for_model(model, weights)
        large = model.ByteSize() > LARGEST_PROTO
        place = f"{Path(target).name}.data"
        onnx.save_model(model, target, save_as_external_data=large, location=place)
        return {}


class Hands:
    """A model that is changed; each change answers whether there was something to change."""

    def __init__(self, model: Any) -> None:
        self.model = model

    @property
    def _graph(self) -> Any:
        return self.model.graph

    def fix_sizes(self, inputs: dict[str, list[int]], outputs: dict[str, list[int]]) -> bool:
        """Fixes the open sizes of inputs and of what they have in common with others by a name;
        outputs are declared as the graph then fixes them, or else with `outputs`' sizes.
        """
        with without_torch():
            from onnxruntime.tools.onnx_model_utils import make_input_shape_fixed

        for name, sizes in inputs.items():
            make_input_shape_fixed(self._graph, name, sizes)
        found = {value["name"]: value["shape"] for value in describe(self.model)["outputs"]}
        for value in self._graph.output:
            shape = found.get(value.name)
            fixed = outputs.get(value.name) if shape is None or None in shape else shape
            if fixed is not None:
                _declare(value, shape=fixed)
        return True

    def drop_inputs(self, names: Sequence[str]) -> bool:
        """Takes inputs out that nothing reads."""
        return _drop(self._graph.input, names)

    def keep_output(self, name: str, place: int) -> bool:
        """Leaves one output alone, and nothing that leads to none."""
        others = [value.name for value in self._graph.output if value.name != name]
        if len(self._graph.output) - len(others) != 1:
            return False
        _drop(self._graph.output, others)
        wanted = {name}
        for node in reversed(list(self._graph.node)):
            if wanted.isdisjoint(node.output):
                self._graph.node.remove(node)
            else:
                wanted.update(_reads(node))
        unread = [tensor.name for tensor in self._graph.initializer if tensor.name not in wanted]
        _drop(self._graph.initializer, unread)
        _drop(self._graph.value_info, others)
        return True

    def take(
        self,
        name: str,
        steps: list[dict[str, Any]],
        shape: list[int] | None = None,
        dtype: str | None = None,
    ) -> bool:
        """Declares an input of another shape or type, from which `steps` lead to what it was.

        A type alone needs no step where all that reads it is Cast.
        """
        value = next(value for value in self._graph.input if value.name == name)
        readers = [node for node in _nodes(self._graph) if name in node.input]
        if any(output.name == name for output in self._graph.output):
            return False
        if shape is None and all(node.op_type == "Cast" for node in readers):
            _declare(value, dtype=dtype)
            return True
        inner = self._unused(f"{name}_inside")
        rename(self._graph, {name: inner}, ends=True)
        value.name = name
        for place, node in enumerate(self._chain(name, inner, steps)):
            self._graph.node.insert(place, node)
        _declare(value, shape, dtype)
        return True

    def give(
        self,
        name: str,
        steps: list[dict[str, Any]],
        shape: list[int] | None = None,
        dtype: str | None = None,
    ) -> bool:
        """Declares an output of another shape or type, to which `steps` lead from what it was.

        A type alone needs no step where a Cast from one float to another makes it.
        """
        value = next(value for value in self._graph.output if value.name == name)
        maker = next((node for node in self._graph.node if name in node.output), None)
        alone = not any(name in _reads(node) for node in self._graph.node)
        was = value.type.tensor_type.elem_type
        cast = maker is not None and maker.op_type == "Cast" and alone
        if shape is None and maker is not None and cast and was in _FLOATS:
            maker.attribute[0].i = _ELEMENT[str(dtype)]
            _declare(value, dtype=dtype)
            return True
        inner = self._unused(f"{name}_inside")
        rename(self._graph, {name: inner}, ends=True)
        value.name = name
        self._graph.node.extend(self._chain(inner, name, steps))
        _declare(value, shape, dtype)
        return True

    def rename(self, names: dict[str, str]) -> bool:
        """Gives inputs and outputs other names, all at once; inner tensors make room for them."""
        taken = set(names_in(self._graph)) - names.keys()
        room = {new: self._unused(f"{new}_inside") for new in names.values() if new in taken}
        rename(self._graph, room | names, ends=True)
        return True

    def drop_weights(self, names: Sequence[str]) -> bool:
        """Leaves weights out that nothing reads, not even a branch that returns it as it is."""
        read = {value.name for value in self._graph.output}
        read.update(name for node in self._graph.node for name in _reads(node))
        unread = set(names) - read
        made = False
        for graph in graphs(self._graph):
            constants = [
                node
                for node in graph.node
                if node.op_type == "Constant" and unread.issuperset(node.output)
            ]
            for node in constants:
                graph.node.remove(node)
            dropped = [_drop(each, unread) for each in (graph.initializer, graph.value_info)]
            made = made or bool(constants) or dropped[0]
        return _drop(self._graph.input, unread) or made

    def set_ir(self, version: int) -> bool:
        """Declares an IR version."""
        self.model.ir_version = version
        return True

    def set_opset(self, version: int, declare: bool) -> bool:
        """Converts the model to an opset; with `declare` every operator of it is right there too,
        and where it cannot be converted it is declared.
        """
        from onnx import version_converter

        ir = self.model.ir_version
        try:
            self.model.CopyFrom(version_converter.convert_version(self.model, version))
        except Exception:  # whatever it finds no way for
            if not declare:
                return False
            for entry in self.model.opset_import:
                if entry.domain in ("", "ai.onnx"):
                    entry.version = version
        self.model.ir_version = ir
        return True

    def _unused(self, name: str) -> str:
        return unused(self._graph, name)

    def _chain(self, start: str, end: str, steps: list[dict[str, Any]]) -> list[Any]:
        nodes = []
        for index, step in enumerate(steps):
            last = index == len(steps) - 1
            made = end if last else self._unused(f"{end}_{index}")
            name = self._unused(f"{end}_{step['op'].lower()}")
            node = helper.make_node(step["op"], [start], [made], name)
            if step["op"] == "Transpose":
                node.attribute.append(helper.make_attribute("perm", step["to"]))
            elif step["op"] == "Cast":
                kind = helper.np_dtype_to_tensor_dtype(np.dtype(step["to"]))
                node.attribute.append(helper.make_attribute("to", kind))
            else:
                sizes = self._unused(f"{made}_sizes")
                array = np.array(step["to"], "int64")
                self._graph.initializer.append(numpy_helper.from_array(array, sizes))
                node.input.append(sizes)
            nodes.append(node)
            start = made
        return nodes


def _nodes(graph: Any) -> Iterator[Any]:
    return (node for each in graphs(graph) for node in each.node)


def _reads(node: Any) -> set[str]:
    """What a node reads, and what the graphs inside it read or return."""
    names = {name for name in node.input if name}
    for attribute in node.attribute:
        for inner in (attribute.g, *attribute.graphs):
            names.update(value.name for value in inner.output)
            names.update(name for each in inner.node for name in _reads(each))
    return names


def _drop(values: Any, names: Container[str]) -> bool:
    """Takes the values of these names out of a list of a file; whether there were any."""
    gone = [value for value in values if value.name in names]
    for value in gone:
        values.remove(value)
    return bool(gone)


def _declare(value: Any, shape: Sequence[int] | None = None, dtype: str | None = None) -> None:
    tensor = value.type.tensor_type
    if dtype is not None:
        tensor.elem_type = _ELEMENT[dtype]
    if shape is not None:
        del tensor.shape.dim[:]
        for size in shape:
            tensor.shape.dim.add(dim_value=size)


if __name__ == "__main__":
    main(MendingChild())
