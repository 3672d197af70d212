"""Damaged files, the same for the same number: cut short, bits flipped, fields moved about."""

import io
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from conformance.selftest.models import conforming

_GRAPH_FIELD = 7  # of ModelProto


def damaged_file(number: int) -> tuple[str, bytes]:
    """The name and the bytes of file `number`: a damaged model, one in five of them in a zip."""
    if number % 5:
        return "my.onnx", damaged(number)
    rng = np.random.default_rng([2026, number])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("my.onnx", damaged(number))
        archive.writestr("weights/w.bin", bytes(64))
    data = packed.getvalue()
    for _ in range(int(rng.integers(3))):
        data = (cut, flip_bits, replace_bytes)[int(rng.integers(3))](data, rng)
    return "my.zip", data


def damaged(number: int) -> bytes:
    """The bytes of damaged model `number`: a depth model after one to three mishaps."""
    rng = np.random.default_rng([2025, number])
    data = _seeds()[int(rng.integers(len(_seeds())))]
    for _ in range(int(rng.integers(1, 4))):
        mishap = _MISHAPS[int(rng.integers(len(_MISHAPS)))]
        data = mishap(data, rng)
    return data


@cache
def _seeds() -> tuple[bytes, ...]:
    """What is damaged: a plain model, one written in functions, and one with much to look at."""
    made = (conforming("depth"), in_functions(), varied())
    return tuple(model.SerializeToString() for model in made)


def in_functions() -> ModelProto:
    """The depth model as a function in a function; weights are arguments."""
    model = conforming("depth")
    graph = model.graph
    given = [graph.input[0].name, *(tensor.name for tensor in graph.initializer)]
    made = [graph.output[0].name]
    model.opset_import.append(helper.make_opsetid("local", 1))
    call = helper.make_node("Inner", given, made, domain="local")
    for name, nodes in (("Inner", list(graph.node)), ("Outer", [call])):
        model.functions.append(
            helper.make_function("local", name, given, made, nodes, list(model.opset_import))
        )
    del graph.node[:]
    graph.node.append(helper.make_node("Outer", given, made, domain="local"))
    return model


def varied() -> ModelProto:
    """The depth model and, unread, operators whose attributes and constants rules look at."""
    model = conforming("depth")
    graph = model.graph
    lists = {"bgr": [2, 1, 0], "to": [1, 3, 4, -1], "first": [0], "last": [2**62], "back": [-1]}
    graph.initializer.extend(numpy_helper.from_array(np.array(v), k) for k, v in lists.items())
    far = numpy_helper.from_array(np.ones(16, np.float32), "far")
    far.ClearField("raw_data")
    far.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "weights/w.bin", "offset": "0", "length": "64"}.items():
        far.external_data.add(key=key, value=value)
    graph.initializer.append(far)
    node = helper.make_node
    h = [helper.make_tensor_value_info("h", TensorProto.FLOAT, None)]
    branch = helper.make_graph([node("Relu", ["image"], ["h"])], "branch", [], h)
    graph.node.extend(
        [
            node("Gather", ["image", "bgr"], ["v1"], axis=1),
            node("Split", ["image"], ["r", "g", "b"], axis=1),
            node("Concat", ["b", "g", "r"], ["v2"], axis=1),
            node("Slice", ["image", "last", "first", "first", "back"], ["v3"]),
            node("Reshape", ["image", "to"], ["v4"], allowzero=0),
            node("Transpose", ["image"], ["v5"], perm=[0, 2, 3, 1]),
            node("Cast", ["image"], ["v6"], to=TensorProto.INT64),
            node("Einsum", ["v4", "v4"], ["v7"], equation="bqc,bchw->bqhw"),
            node("CumSum", ["image", "first"], ["v8"], exclusive=1),
            node("Dropout", ["image", "far", "first"], ["v9"]),
            node("Constant", [], ["v10"], value_ints=[1, 2]),
            node("Add", ["image", "far"], ["v11"]),
            node("If", ["first"], ["v12"], then_branch=branch, else_branch=branch),
            node("Resize", ["image", "", "", "to"], ["v13"], mode="linear", antialias=0),
            node("AveragePool", ["image"], ["v14"], kernel_shape=[9, 9], pads=[4, 4, 4, 4]),
            node("QuantizeLinear", ["image", "far"], ["v15"], domain="com.microsoft"),
        ]
    )
    return model


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(len(data) + 1))]


def flip_bits(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for place in rng.integers(len(data), size=int(rng.integers(1, 9))) if data else ():
        changed[int(place)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def replace_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    start = int(rng.integers(len(data) + 1))
    length = int(rng.integers(1, 9))
    return data[:start] + rng.bytes(length) + data[start + length :]


def move_fields(data: bytes, rng: np.random.Generator) -> bytes:
    """Swaps, doubles or drops fields of the graph, such as nodes, weights, inputs."""
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except Exception:  # damaged before: nothing to move
        return data
    fields = _fields(model.graph.SerializeToString())
    if len(fields) < 2:
        return data
    one, other = (int(i) for i in rng.choice(len(fields), 2, replace=False))
    match int(rng.integers(3)):
        case 0:
            fields[one], fields[other] = fields[other], fields[one]
        case 1:
            fields.insert(other, fields[one])
        case _:
            del fields[one]
    graph = b"".join(fields)
    model.ClearField("graph")
    head = _varint(_GRAPH_FIELD << 3 | 2) + _varint(len(graph))
    return model.SerializeToString() + head + graph


def change_numbers(data: bytes, rng: np.random.Generator) -> bytes:
    """Gives a size, a type or an attribute a value that nobody expects."""
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except Exception:  # damaged before: no numbers to find
        return data
    odd = int(rng.choice([0, -1, 1, 2, 7, 13, 16, 1000, 2**20, 2**31 - 1, 2**31, 2**40, -(2**63)]))
    small = odd if -(2**31) <= odd < 2**31 else 99
    graph = model.graph
    places: list[Callable[[], None]] = []
    for value in (*graph.input, *graph.output):
        tensor = value.type.tensor_type
        places.append(lambda t=tensor: setattr(t, "elem_type", small))
        places += [lambda d=d: setattr(d, "dim_value", odd) for d in tensor.shape.dim]
    for weight in graph.initializer:
        places.append(lambda w=weight: setattr(w, "data_type", small))
        places += [
            lambda w=weight, i=i: w.dims.__setitem__(i, odd) for i in range(len(weight.dims))
        ]
        places += [lambda e=entry: setattr(e, "value", str(odd)) for entry in weight.external_data]
    for node in _nodes(model):
        for attribute in node.attribute:
            places.append(lambda a=attribute: setattr(a, "i", odd))
            places.append(lambda a=attribute: setattr(a, "type", max(0, min(small, 14))))
            places += [
                lambda a=attribute, i=i: a.ints.__setitem__(i, odd)
                for i in range(len(attribute.ints))
            ]
    places.append(lambda: setattr(model, "ir_version", odd))
    if places:
        places[int(rng.integers(len(places)))]()
    return model.SerializeToString()


def change_words(data: bytes, rng: np.random.Generator) -> bytes:
    """Gives an operator, a name or an attribute another that is sound by itself."""
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except Exception:  # damaged before: no words to find
        return data
    nodes = list(_nodes(model))
    if not nodes:
        return data
    node, other = (nodes[int(i)] for i in rng.integers(len(nodes), size=2))
    with suppress(UnicodeDecodeError):  # a name that was damaged before cannot be moved
        _reword(node, other, rng)
    return model.SerializeToString()


def _reword(node: Any, other: Any, rng: np.random.Generator) -> None:
    match int(rng.integers(8)):
        case 0:
            node.op_type, node.domain = other.op_type, other.domain
        case 1:
            names = (node.input, node.output)[int(rng.integers(2))]
            del names[int(rng.integers(len(names) + 1)) :]
        case 2:
            node.input.extend(other.output)
        case 3:
            node.output.extend(other.input)
        case 4 if node.attribute:
            del node.attribute[int(rng.integers(len(node.attribute)))]
        case 5 if node.attribute:
            node.attribute[0].ref_attr_name = "outer"
        case 6 if other.attribute:
            node.attribute.append(other.attribute[0])
        case _ if node.attribute:
            given: Any = ("axis", 1.5, -1, [1, 2, 3], [0.5], b"\xff")[int(rng.integers(6))]
            old = node.attribute[0]
            old.CopyFrom(helper.make_attribute(old.name or "axis", given))
        case _:
            node.name = "\x1b[2J\0\n"


def _nodes(model: ModelProto) -> Iterator[Any]:
    for function in model.functions:
        yield from function.node
    yield from model.graph.node


_MISHAPS = (
    *(cut, flip_bits, flip_bits, replace_bytes, move_fields),
    *(change_numbers, change_numbers, change_words, change_words),
)


def _fields(message: bytes) -> list[bytes]:
    """The fields of a serialised message, each with its tag."""
    fields, start = [], 0
    while start < len(message):
        tag, place = _read_varint(message, start)
        match tag & 7:
            case 0:
                _, place = _read_varint(message, place)
            case 1:
                place += 8
            case 2:
                length, place = _read_varint(message, place)
                place += length
            case _:
                place += 4
        fields.append(message[start:place])
        start = place
    return fields


def _read_varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
