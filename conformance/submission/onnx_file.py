"""The child's side of `graph`: parses an ONNX file, which may be an attack, into facts.

Memory and time of a parse, of inlining and of shape inference grow with what the file holds and
not with its size, so that all of it happens in a child process within limits.
"""

import contextlib
import json
import math
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from conformance.submission.fold import MOST_ELEMENTS, infer_shapes
from conformance.submission.forms import as_data, read_standard
from conformance.submission.graph import (
    MOST_FACTS,
    TOO_MUCH,
    External,
    Node,
    Value,
    inline_functions,
    nbytes,
)
from reference.child import OUT_OF_MEMORY, Child, main
from reference.errors import SubmissionError
from reference.tracks import Shape

PROTOBUF_LIMIT = 2**31 - 1
_MOST_TEXT = 2**25  # of what is told of a file, in characters: the parent has to hold it
_FIELDS: dict[int, Callable[[Any], Any]] = {
    AttributeProto.INT: lambda a: a.i,
    AttributeProto.FLOAT: lambda a: a.f,
    AttributeProto.STRING: lambda a: _text(a.s),
    AttributeProto.INTS: lambda a: list(a.ints),
}
_CONSTANT_NUMBERS = ("value_int", "value_ints", "value_float", "value_floats")


class FileChild(Child):
    """Answers what `conformance.submission.graph.read_graph` asks."""

    def read(self, path: str, infer: bool) -> dict[str, Any]:
        """The fields of a Graph but for its path, as plain data, with shape inference or without.

        What it infers is in `values` and completes `outputs`.
        """
        facts = describe(load_model(Path(path)), infer=infer)
        facts["file_bytes"] = Path(path).stat().st_size
        if len(json.dumps(facts)) > _MOST_TEXT:
            size = f"{_MOST_TEXT / 2**20:.0f} MiB"
            raise SubmissionError(f"{Path(path).name} holds more than {size} of names", TOO_MUCH)
        return facts


def load_model(path: Path) -> Any:
    """The ModelProto in the file at `path`, its functions written out.

    Raises SubmissionError for an empty file, one above protobuf's limit of 2 GiB, bytes that are
    not an ONNX model, and one of more nodes than anybody has to look at.
    """
    size = path.stat().st_size
    if size == 0:
        raise SubmissionError(f"{path.name} is empty", "export the model again")
    if size > PROTOBUF_LIMIT:
        raise SubmissionError(
            f"{path.name} is {size / 2**30:.1f} GiB and no protobuf can be above 2 GiB",
            "save the weights as external data",
        )
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except (DecodeError, RuntimeError) as error:
        if OUT_OF_MEMORY.search(str(error)):
            raise MemoryError from None
        raise SubmissionError(
            f"{path.name} is not an ONNX model or was cut short ({error})",
            "export or copy the file again and compare its size",
        ) from None
    model = inline_functions(model, path.name)
    if not model.graph.node and not model.graph.output:
        raise SubmissionError(
            f"{path.name} holds no ONNX graph", "give the .onnx file that the export wrote"
        )
    count = sum(
        len(sub.node) + len(sub.initializer) + len(sub.value_info) for sub in _graphs(model.graph)
    )
    if count > MOST_FACTS:
        raise SubmissionError(f"{path.name} holds {count:,} operators and tensors", TOO_MUCH)
    return model


def describe(model: Any, *, infer: bool = True) -> dict[str, Any]:
    """What the rules see of a model, as plain data: see `conformance.submission.graph.Graph`."""
    graph = model.graph
    weights: dict[str, Value] = {}
    external: list[External] = []
    constants: dict[str, tuple[float, ...]] = {}
    nodes: list[Node] = []
    opsets = {_domain(entry.domain): entry.version for entry in model.opset_import}
    for sub in _graphs(graph):
        for name, tensor in _tensors(sub):
            if tensor.data_location == TensorProto.EXTERNAL:
                external.append(_external(name, tensor))
        for tensor in sub.initializer:
            _keep_weight(weights, constants, tensor.name, tensor)
        for proto in sub.node:
            nodes.append(_node(proto, opsets))
            if proto.op_type == "Constant" and proto.output:
                _keep_constant(weights, constants, proto)
    inputs = [value for value in map(_value, graph.input) if value.name not in weights]
    declared = [_value(value) for value in graph.output]
    values = _known_values(model, infer)
    values.update({value.name: value for value in (*inputs, *weights.values())})
    outputs = [merge(value, values.get(value.name)) for value in declared]
    values.update({value.name: value for value in outputs})
    return {
        "made_by": model.producer_name,
        "ir_version": model.ir_version,
        "opsets": opsets,
        "inputs": [vars(value) for value in inputs],
        "outputs": [vars(value) for value in outputs],
        "declared": [vars(value) for value in declared],
        "nodes": [vars(node) for node in nodes],
        "weights": [vars(value) for value in weights.values()],
        "constants": constants,
        "values": [vars(value) for value in values.values()],
        "external": [vars(entry) for entry in external],
        "standard": as_data(read_standard(node.op for node in nodes)),
    }


def merge(declared: Value, inferred: Value | None) -> Value:
    """An output as it is declared, and where that leaves a size open as the graph fixes it."""
    if inferred is None or declared.kind != "tensor" or inferred.kind != "tensor":
        return declared
    dtype = inferred.dtype if declared.dtype == "unknown" else declared.dtype
    shape = declared.shape
    if shape is None:
        shape = inferred.shape
    elif inferred.shape is not None and len(inferred.shape) == len(shape):
        pairs = zip(shape, inferred.shape, strict=True)
        shape = tuple(found if own is None else own for own, found in pairs)
    return Value(declared.name, dtype, shape)


def _graphs(graph: Any) -> Iterator[Any]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)
            for sub in attribute.graphs:
                yield from _graphs(sub)


def _tensors(graph: Any) -> Iterator[tuple[str, Any]]:
    """What has data in a graph, without its subgraphs, by the name that operators read it under."""
    for tensor in graph.initializer:
        yield _text(tensor.name), tensor
    sparse = [(_text(each.values.name), each) for each in graph.sparse_initializer]
    for node in graph.node:
        name = _text(node.output[0]) if node.output else ""
        for attribute in node.attribute:
            for tensor in (*_set(attribute, "t"), *attribute.tensors):
                yield name, tensor
            attached = (*_set(attribute, "sparse_tensor"), *attribute.sparse_tensors)
            sparse += [(name, each) for each in attached]
    for name, each in sparse:
        yield from ((name, each.values), (name, each.indices))


def _set(message: Any, field: str) -> tuple[Any, ...]:
    return (getattr(message, field),) if message.HasField(field) else ()


def _external(name: str, tensor: Any) -> External:
    entries = {_text(entry.key): _text(entry.value) for entry in tensor.external_data}
    own = Value(name, _dtype(tensor.data_type), tuple(tensor.dims))
    return External(
        name,
        entries.get("location", ""),
        max(nbytes(own), 0),
        entries.get("offset", "0"),
        entries.get("length", "0"),
    )


def _node(proto: Any, opsets: dict[str, int]) -> Node:
    """A node as a rule can rely on it.

    It has the inputs and outputs that its operator must have, "" where the file lacks them, and no
    attribute of another type than the operator's own.
    """
    op, domain = _text(proto.op_type), _domain(proto.domain)
    least_inputs, least_outputs, kinds = _schema(op, domain, opsets.get(domain, 1))
    return Node(
        _text(proto.name),
        op,
        domain,
        _padded(proto.input, least_inputs),
        _padded(proto.output, least_outputs),
        {
            _text(a.name): _FIELDS[a.type](a)
            for a in proto.attribute
            if a.type in _FIELDS
            and not a.ref_attr_name
            and kinds.get(_text(a.name), a.type) == a.type
        },
    )


@cache
def _schema(op: str, domain: str, version: int) -> tuple[int, int, dict[str, int]]:
    """The least inputs and outputs of an operator and the types of its attributes, if known."""
    try:
        schema = onnx.defs.get_schema(op, version, domain)
    except Exception:  # no such operator, or a number that is no version
        return 0, 0, {}
    kinds = {name: int(attribute.type.value) for name, attribute in schema.attributes.items()}
    return schema.min_input, schema.min_output, kinds


def _padded(names: Any, least: int) -> tuple[str, ...]:
    given = tuple(map(_text, names))
    return given + ("",) * (least - len(given))


def _text(name: str | bytes) -> str:
    """A name of the file; protobuf gives bytes where it is not UTF-8."""
    return name.decode(errors="replace") if isinstance(name, bytes) else name


def _domain(name: str | bytes) -> str:
    return "" if name == "ai.onnx" else _text(name)


def _dtype(elem_type: int) -> str:
    if elem_type == TensorProto.STRING:
        return "string"
    try:
        return str(helper.tensor_dtype_to_np_dtype(elem_type))
    except (KeyError, ValueError):
        return "unknown"


def _value(info: Any) -> Value:
    kind = info.type.WhichOneof("value") or "tensor_type"
    if kind != "tensor_type":
        return Value(_text(info.name), "unknown", None, kind.removesuffix("_type"))
    tensor = info.type.tensor_type
    shape: Shape | None = None
    if tensor.HasField("shape"):
        shape = tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)
    return Value(_text(info.name), _dtype(tensor.elem_type), shape)


def _keep_constant(
    weights: dict[str, Value], constants: dict[str, tuple[float, ...]], proto: Any
) -> None:
    name = _text(proto.output[0])
    for attribute in proto.attribute:
        if attribute.name == "value":
            kept = weights if _large(attribute.t) else {}
            _keep_weight(kept, constants, name, attribute.t)
        elif attribute.name in _CONSTANT_NUMBERS and not attribute.ref_attr_name:
            numbers = [*attribute.ints, *attribute.floats]
            single = attribute.i if attribute.name == "value_int" else attribute.f
            if len(numbers) <= MOST_ELEMENTS:
                many = attribute.name.endswith("s")
                constants[name] = tuple(map(float, numbers if many else [single]))


def _keep_weight(
    weights: dict[str, Value],
    constants: dict[str, tuple[float, ...]],
    name: str | bytes,
    tensor: Any,
) -> None:
    known = Value(_text(name), _dtype(tensor.data_type), tuple(tensor.dims))
    weights[known.name] = known
    stored_here = tensor.data_location != TensorProto.EXTERNAL
    if not _large(tensor) and stored_here and min(tensor.dims, default=0) >= 0:
        # A damaged tensor makes the reader stumble in any way; its value is then not known.
        with contextlib.suppress(Exception):
            array = numpy_helper.to_array(tensor)
            constants[known.name] = tuple(float(x) for x in array.reshape(-1))


def _large(tensor: Any) -> bool:
    return bool(math.prod(tensor.dims) > MOST_ELEMENTS)


def _known_values(model: Any, infer: bool) -> dict[str, Value]:
    """Shapes and dtypes of the inner tensors, as far as they are declared or can be inferred."""
    try:
        inferred = infer_shapes(_without_weights(model)) if infer else model
    except Exception:  # foreign graphs fail here in many ways; the declared facts then stand alone
        inferred = model
    known = [*inferred.graph.value_info, *inferred.graph.output]
    folded = {
        _text(t.name): Value(_text(t.name), _dtype(t.data_type), tuple(t.dims))
        for t in inferred.graph.initializer
    }
    return folded | {value.name: value for value in map(_value, known)}


def _without_weights(model: Any) -> Any:
    """A copy with the large weights as inputs, so that inference does not carry them about."""
    light = onnx.ModelProto()
    light.ir_version = max(model.ir_version, 4)
    light.opset_import.extend(model.opset_import)
    light.graph.name = "light"
    light.graph.node.extend(model.graph.node)
    light.graph.input.extend(model.graph.input)
    light.graph.output.extend(model.graph.output)
    light.graph.value_info.extend(model.graph.value_info)
    declared = {value.name for value in model.graph.input}
    for tensor in model.graph.initializer:
        if not _large(tensor) and tensor.data_location != TensorProto.EXTERNAL:
            light.graph.initializer.append(tensor)
        elif tensor.name not in declared:
            light.graph.input.append(
                helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            )
    for sparse in model.graph.sparse_initializer:
        kind = sparse.values.data_type
        light.graph.input.append(
            helper.make_tensor_value_info(sparse.values.name, kind, list(sparse.dims))
        )
    return light


if __name__ == "__main__":
    main(FileChild())
