"""Reads an ONNX file into plain facts (names, shapes, dtypes, nodes) without its weights."""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reference.errors import SubmissionError
from reference.tracks import Shape, format_shape

PROTOBUF_LIMIT = 2**31 - 1
# Shape inference needs the small integer constants (Reshape targets, Slice bounds), not weights.
_KEEP_ELEMENTS = 64


@dataclass(frozen=True)
class Value:
    """A tensor of the graph: `dtype` is a numpy name, `shape` None where it is not known."""

    name: str
    dtype: str
    shape: Shape | None

    @property
    def label(self) -> str:
        """`image float32 1x3x480x640`."""
        return f"{self.name} {self.dtype} {format_shape(self.shape)}"


@dataclass(frozen=True)
class Node:
    """One operator; `attributes` holds its int, float and string attributes."""

    name: str
    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """`Einsum '/head/Einsum'`."""
        return f"{self.op} {self.name or ', '.join(self.outputs)!r}"


@dataclass(frozen=True)
class External:
    """A reference from a tensor to bytes in another file."""

    tensor: str
    location: str
    end: int


@dataclass(frozen=True)
class Graph:
    """An ONNX model as the rules see it.

    Nodes of subgraphs (If, Loop) are in `nodes` too. `weights` are the initializers and the larger
    Constant nodes; the small ones are axes, sizes and the like.
    """

    path: Path
    file_bytes: int
    ir_version: int
    opsets: dict[str, int]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    weights: dict[str, Value]
    constants: dict[str, tuple[float, ...]]
    values: dict[str, Value]
    external: tuple[External, ...]

    @property
    def opset(self) -> int:
        """The version of the standard operator set, 0 where it is not stated."""
        return self.opsets.get("", 0)

    def value(self, name: str) -> Value:
        """What is known of a tensor; unknown dtype and shape where inference found nothing."""
        return self.values.get(name) or Value(name, "unknown", None)

    def used(self) -> set[str]:
        """The names that some node reads or the graph returns."""
        names = {name for node in self.nodes for name in node.inputs}
        return names | {value.name for value in self.outputs}

    def consumers(self, name: str) -> Iterator[Node]:
        """The nodes that read a tensor."""
        return (node for node in self.nodes if name in node.inputs)


def elements(value: Value) -> int:
    """The number of elements of a tensor of known, fixed shape; 0 otherwise."""
    return math.prod(size or 0 for size in value.shape) if value.shape is not None else 0


def nbytes(value: Value) -> int:
    """The size of a tensor in bytes; packed 4-bit types count half a byte an element."""
    bits = {"bool": 8, "bfloat16": 16, "int4": 4, "uint4": 4, "string": 0, "unknown": 0}
    digits = "".join(ch for ch in value.dtype if ch.isdigit())
    width = bits.get(value.dtype, int(digits) if digits and value.dtype[0] in "iufc" else 8)
    return (elements(value) * width + 7) // 8


def megabytes(size: int) -> str:
    """`98.8 MB`, or kB for what is small."""
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"


def read_graph(path: Path) -> Graph:
    """The facts of the ONNX file at `path`; weights are neither kept nor looked for.

    Raises SubmissionError for an empty file, one above protobuf's limit of 2 GiB, and bytes that
    are not an ONNX model.
    """
    size = path.stat().st_size
    if size == 0:
        raise SubmissionError(f"{path.name} is empty", "export the model again")
    if size > PROTOBUF_LIMIT:
        raise SubmissionError(
            f"{path.name} is {size / 2**30:.1f} GiB and no protobuf can be above 2 GiB",
            "save the weights as external data",
        )
    import onnx
    from google.protobuf.message import DecodeError

    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except (DecodeError, RuntimeError) as error:
        raise SubmissionError(
            f"{path.name} is not an ONNX model or was cut short ({error})",
            "export or copy the file again and compare its size",
        ) from None
    model = inline_functions(model)
    if not model.graph.node and not model.graph.output:
        raise SubmissionError(
            f"{path.name} holds no ONNX graph", "give the .onnx file that the export wrote"
        )
    return _describe(model, path, size)


def _describe(model: Any, path: Path, size: int) -> Graph:
    from onnx import TensorProto

    graph = model.graph
    weights: dict[str, Value] = {}
    external: list[External] = []
    constants: dict[str, tuple[float, ...]] = {}
    nodes: list[Node] = []
    for sub in _graphs(graph):
        for tensor in [*sub.initializer, *_constant_tensors(sub)]:
            if tensor.data_location == TensorProto.EXTERNAL:
                external.append(_external(tensor))
        for tensor in sub.initializer:
            _keep_weight(weights, constants, tensor.name, tensor)
        for proto in sub.node:
            nodes.append(_node(proto))
            if proto.op_type == "Constant" and proto.output:
                for attribute in proto.attribute:
                    if attribute.name == "value":
                        large = math.prod(attribute.t.dims) > _KEEP_ELEMENTS
                        kept = weights if large else {}
                        _keep_weight(kept, constants, proto.output[0], attribute.t)
    inputs = tuple(v for v in map(_value, graph.input) if v.name not in weights)
    outputs = tuple(_value(v) for v in graph.output)
    values = _infer(model)
    values.update({v.name: v for v in (*inputs, *weights.values())})
    values.update({v.name: v for v in outputs if v.shape is not None or v.name not in values})
    return Graph(
        path=path,
        file_bytes=size,
        ir_version=model.ir_version,
        opsets={_domain(entry.domain): entry.version for entry in model.opset_import},
        inputs=inputs,
        outputs=tuple(values[v.name] for v in outputs),
        nodes=tuple(nodes),
        weights=weights,
        constants=constants,
        values=values,
        external=tuple(external),
    )


def inline_functions(model: Any) -> Any:
    """The model with its functions written out where they are called."""
    if not model.functions:
        return model
    import onnx.inliner

    _align_opsets(model)
    return onnx.inliner.inline_local_functions(model)


def _align_opsets(model: Any) -> None:
    """Gives functions the model's opsets: of others, which runtimes take, none is inlined."""
    versions = {_domain(entry.domain): entry.version for entry in model.opset_import}
    for function in model.functions:
        for entry in function.opset_import:
            entry.version = versions.get(_domain(entry.domain), entry.version)


def _graphs(graph: Any) -> Iterator[Any]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)
            for sub in attribute.graphs:
                yield from _graphs(sub)


def _constant_tensors(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t


def _external(tensor: Any) -> External:
    entries = {_text(entry.key): _text(entry.value) for entry in tensor.external_data}
    try:
        end = int(entries.get("offset", "0")) + int(entries.get("length", "0"))
    except ValueError:
        end = 0
    return External(_text(tensor.name), entries.get("location", ""), end)


def _node(proto: Any) -> Node:
    from onnx import AttributeProto, helper

    plain = {AttributeProto.INT, AttributeProto.FLOAT, AttributeProto.STRING, AttributeProto.INTS}
    attributes = {
        _text(a.name): _text(value) if isinstance(value, bytes) else value
        for a in proto.attribute
        if a.type in plain
        for value in [helper.get_attribute_value(a)]
    }
    return Node(
        _text(proto.name),
        _text(proto.op_type),
        _domain(proto.domain),
        tuple(map(_text, proto.input)),
        tuple(map(_text, proto.output)),
        attributes,
    )


def _text(name: str | bytes) -> str:
    """A name of the file; protobuf gives bytes where it is not UTF-8."""
    return name.decode(errors="replace") if isinstance(name, bytes) else name


def _domain(name: str | bytes) -> str:
    return "" if name == "ai.onnx" else _text(name)


def _dtype(elem_type: int) -> str:
    from onnx import TensorProto, helper

    if elem_type == TensorProto.STRING:
        return "string"
    try:
        return str(helper.tensor_dtype_to_np_dtype(elem_type))
    except (KeyError, ValueError):
        return "unknown"


def _value(info: Any) -> Value:
    tensor = info.type.tensor_type
    shape: Shape | None = None
    if tensor.HasField("shape"):
        shape = tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)
    return Value(_text(info.name), _dtype(tensor.elem_type), shape)


def _keep_weight(
    weights: dict[str, Value],
    constants: dict[str, tuple[float, ...]],
    name: str | bytes,
    tensor: Any,
) -> None:
    from onnx import TensorProto, numpy_helper

    known = Value(_text(name), _dtype(tensor.data_type), tuple(tensor.dims))
    weights[known.name] = known
    stored_here = tensor.data_location != TensorProto.EXTERNAL
    if math.prod(tensor.dims) <= _KEEP_ELEMENTS and stored_here:
        # A damaged tensor makes the reader stumble in any way; its value is then not known.
        with contextlib.suppress(Exception):
            array = numpy_helper.to_array(tensor)
            constants[known.name] = tuple(float(x) for x in array.reshape(-1))


def _infer(model: Any) -> dict[str, Value]:
    """Shapes and dtypes of the inner tensors, as far as they are declared or can be inferred."""
    import onnx

    try:
        inferred = onnx.shape_inference.infer_shapes(_without_weights(model), data_prop=True)
    except Exception:  # foreign graphs fail here in many ways; the declared facts then stand alone
        inferred = model
    known = [*inferred.graph.value_info, *inferred.graph.output]
    return {value.name: value for value in map(_value, known)}


def _without_weights(model: Any) -> Any:
    """A copy with the large weights as inputs, so that inference does not carry them about."""
    import onnx

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
        if math.prod(tensor.dims) <= _KEEP_ELEMENTS:
            light.graph.initializer.append(tensor)
        elif tensor.name not in declared:
            light.graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            )
    return light
