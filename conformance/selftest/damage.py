"""Damaged ONNX files, the same for the same number: cut short, bits flipped, fields moved about."""

from collections.abc import Callable

import numpy as np
from onnx import ModelProto

from conformance.selftest.models import conforming

_GRAPH_FIELD = 7  # of ModelProto


def damaged(number: int) -> bytes:
    """The bytes of damaged file `number`: a conforming depth model after one to three mishaps."""
    rng = np.random.default_rng([2025, number])
    data = conforming("depth").SerializeToString()
    for _ in range(int(rng.integers(1, 4))):
        mishap = _MISHAPS[int(rng.integers(len(_MISHAPS)))]
        data = mishap(data, rng)
    return data


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
    for node in graph.node:
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


_MISHAPS = (cut, flip_bits, flip_bits, replace_bytes, move_fields, change_numbers, change_numbers)


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
