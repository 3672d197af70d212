"""Reads what a TFLite file says of itself. Nothing of it is run, and no library of C++ sees it.

The format is `schema.fbs` of LiteRT: FlatBuffers, in which every table is found by an offset that a
damaged or hostile file may let point anywhere.
"""

import contextlib
import math
import mmap
import re
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from reference.errors import SubmissionError, one_line
from reference.litert.toolchain import find_litert

DISPATCH = "DISPATCH_OP"  # what a vendor's plugin leaves in the place of what an NPU runs
_IDENTIFIER = b"TFL3"
# Tables that are looked at: the largest models have tens of thousands, and tables can be shared.
_MOST = 2**20
_LARGEST = 2**31  # bytes of a tensor: LiteRT counts them with a sign
_LONGEST_NAME = 2**14  # joined names of layers that were fused run to hundreds of characters


@dataclass(frozen=True)
class Value:
    """An input or output, by the name of the signature, else of the tensor.

    `dtype` is numpy's name. A size that is not fixed is -1. `scale` and `zero_point` are those of a
    quantised tensor, None where there are none. `index` is that of the tensor.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    index: int
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True)
class Operator:
    """An operator of the main graph: `CONV_2D`, or its author's name where it is `custom`.

    `name` and `dtype` are those of its first output.
    """

    kind: str
    name: str
    custom: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Network:
    """A TFLite file. `signatures` are the names of its signatures, `graphs` the number of its
    graphs, of which all but the main one are bodies of control flow and composites. `largest` is
    its largest tensor, in bytes.
    """

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    operators: tuple[Operator, ...]
    signatures: tuple[str, ...]
    graphs: int
    largest: int

    @property
    def counts(self) -> dict[str, int]:
        """Operators by kind, the most frequent first."""
        return dict(Counter(operator.kind for operator in self.operators).most_common())

    @property
    def custom(self) -> tuple[str, ...]:
        """The kinds that are no operators of TFLite."""
        return tuple(dict.fromkeys(each.kind for each in self.operators if each.custom))

    @property
    def dynamic(self) -> tuple[Value, ...]:
        """The inputs and outputs with a size that is not fixed."""
        return tuple(v for v in (*self.inputs, *self.outputs) if min(v.shape, default=0) < 0)

    @property
    def quantised(self) -> bool:
        """Whether an input or output is of integers with a scale."""
        return any(value.scale is not None for value in (*self.inputs, *self.outputs))


def read_network(path: Path) -> Network:
    """What the TFLite file at `path` says of itself.

    Raises SubmissionError where it is no TFLite file, was cut short or is damaged, and where TFLite
    is not installed.
    """
    find_litert()
    with open_file(path) as (content, model):
        try:
            return _network(_Room(len(content)), model)
        except (struct.error, IndexError, ValueError, TypeError, OverflowError) as error:
            raise damaged(path, error) from None


def usable_network(path: Path) -> Network:
    """`read_network` of a file that can be run: one signature, fixed sizes, TFLite's operators.

    Raises SubmissionError for one that cannot, too.
    """
    network = read_network(path)
    if len(network.signatures) > 1:
        names = ", ".join(network.signatures)
        raise SubmissionError(
            f"{path.name} has {len(network.signatures)} signatures ({names})",
            "export one of them alone, as serving_default",
        )
    for value in network.dynamic:
        raise SubmissionError(
            f"{path.name} has the dynamic shape {list(value.shape)} at {value.name!r}",
            "convert it with a fixed size for every dimension, the batch too",
        )
    if network.largest >= _LARGEST:
        raise SubmissionError(
            f"{path.name} has a tensor of {network.largest / 2**30:.3g} GiB, and TFLite takes 2",
            "make its largest tensors smaller",
        )
    if DISPATCH in network.custom:
        raise SubmissionError(
            f"{path.name} is compiled for one NPU already", "give the .tflite that it was made of"
        )
    if network.custom:
        raise SubmissionError(
            f"{path.name} has custom operators ({', '.join(network.custom)}), which TFLite has not",
            "write them with TFLite's own operators: no device of AI Hub knows them",
        )
    return network


@contextlib.contextmanager
def open_file(path: Path) -> Iterator[tuple[mmap.mmap, Any]]:
    """The bytes of a TFLite file, mapped, and its root table."""
    from ai_edge_litert import schema_py_generated as schema

    try:
        file = path.open("rb")
    except OSError as error:
        raise SubmissionError(f"{path} cannot be read ({error.strerror})", "check it") from None
    with file:
        if file.read(8)[4:] != _IDENTIFIER:
            raise SubmissionError(
                f"{path.name} is not a TFLite file: its mark TFL3 is missing",
                "convert or copy it again and compare its size",
            )
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            yield content, schema.Model.GetRootAsModel(content, 0)
        except struct.error as error:
            raise damaged(path, error) from None
        finally:
            # Tables and arrays that still look at it keep it: it goes with them.
            with contextlib.suppress(BufferError):
                content.close()


def damaged(path: Path, error: Exception | str) -> SubmissionError:
    """What to say of a file that cannot be read."""
    return SubmissionError(
        f"{path.name} is a damaged TFLite file, or was cut short ({one_line(str(error), 120)})",
        "convert or copy it again and compare its size",
    )


class _Room:
    """Bounds what is read of a file of `size` bytes."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._left = _MOST

    def all(self, table: Any, name: str) -> list[Any]:
        """The elements of the list `name` of `table`."""
        length = getattr(table, f"{name}Length")()
        self.take(length)
        element: Callable[[int], Any] = getattr(table, name)
        return [element(index) for index in range(length)]

    def numbers(self, table: Any, name: str) -> tuple[int, ...]:
        """The list of integers `name` of `table`."""
        self.take(getattr(table, f"{name}Length")())
        found = getattr(table, f"{name}AsNumpy")()
        return tuple(map(int, found)) if getattr(table, f"{name}Length")() else ()

    def take(self, count: int) -> None:
        if not 0 <= 4 * count <= self._size or count > self._left:
            raise ValueError(f"a list of {count} in {self._size} bytes")
        self._left -= count


def _network(room: _Room, model: Any) -> Network:
    codes = [_code(code) for code in room.all(model, "OperatorCodes")]
    graphs = room.all(model, "Subgraphs")
    if not graphs:
        raise ValueError("it has no graph")
    signatures = room.all(model, "SignatureDefs")
    graph = graphs[_index(signatures[0].SubgraphIndex(), graphs) if signatures else 0]
    tensors = room.all(graph, "Tensors")
    for index in (inputs := room.numbers(graph, "Inputs")):
        _index(index, tensors)
    for index in (outputs := room.numbers(graph, "Outputs")):
        _index(index, tensors)
    first = signatures[0] if signatures else None
    return Network(
        inputs=tuple(_values(room, first, "Inputs", inputs, tensors)),
        outputs=tuple(_values(room, first, "Outputs", outputs, tensors)),
        operators=tuple(_operators(room, graph, tensors, codes)),
        signatures=tuple(_text(each.SignatureKey()) for each in signatures),
        graphs=len(graphs),
        largest=max((_size(room, tensor) for tensor in tensors), default=0),
    )


def _values(
    room: _Room, signature: Any, side: str, indices: tuple[int, ...], tensors: list[Any]
) -> Iterator[Value]:
    """One side of the graph in its order; a tensor that the signature has twice comes twice."""
    names: dict[int, list[str]] = {}
    for entry in room.all(signature, side) if signature else ():
        names.setdefault(_index(entry.TensorIndex(), tensors), []).append(_text(entry.Name()))
    for index in dict.fromkeys(indices):
        for name in names.get(index) or [_text(tensors[index].Name())]:
            yield _value(room, tensors[index], index, name)


def _operators(
    room: _Room, graph: Any, tensors: list[Any], codes: list[tuple[str, bool]]
) -> Iterator[Operator]:
    for each in room.all(graph, "Operators"):
        inputs, outputs = room.numbers(each, "Inputs"), room.numbers(each, "Outputs")
        for index in (*inputs, *outputs):
            if index != -1:  # an optional input that is not given
                _index(index, tensors)
        kind, custom = codes[_index(each.OpcodeIndex(), codes)]
        first = tensors[outputs[0]] if outputs else None
        name, dtype = (_text(first.Name()), _dtype(first)) if first is not None else ("", "")
        yield Operator(kind, name, custom, inputs, outputs, dtype)


def _code(code: Any) -> tuple[str, bool]:
    """The operator, and whether it is its author's own."""
    kinds = _names("BuiltinOperator")
    # Above 127 the older field says so, and the newer one which.
    number = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())
    kind = kinds.get(number)
    if kind is None:
        raise ValueError(f"an operator of the unknown number {number}")
    return (_text(code.CustomCode()), True) if kind == "CUSTOM" else (kind, False)


def _value(room: _Room, tensor: Any, index: int, name: str) -> Value:
    signature = room.numbers(tensor, "ShapeSignature")
    shape = signature if -1 in signature else room.numbers(tensor, "Shape")
    scale = zero = None
    quantisation = tensor.Quantization()
    if quantisation is not None and quantisation.ScaleLength() == 1:
        scale = float(quantisation.Scale(0))
        zero = int(quantisation.ZeroPoint(0)) if quantisation.ZeroPointLength() else 0
    return Value(name, shape, _dtype(tensor), index, scale, zero)


def _size(room: _Room, tensor: Any) -> int:
    """The bytes of a tensor: a size that is not fixed counts as 1."""
    shape = room.numbers(tensor, "Shape")
    if min(shape, default=0) < -1:
        raise ValueError(f"a tensor of the shape {shape}")
    bits = re.search(r"\d+$", _dtype(tensor))
    return math.prod(map(abs, shape)) * int(bits[0] if bits else 8) // 8


def _dtype(tensor: Any) -> str:
    dtype = _names("TensorType").get(tensor.Type())
    if dtype is None:
        raise ValueError(f"a tensor of the unknown type {tensor.Type()}")
    return dtype.lower()


def _index(index: int, of: list[Any]) -> int:
    if not 0 <= index < len(of):
        raise ValueError(f"number {index} of {len(of)}")
    return index


def _text(name: bytes | None) -> str:
    return one_line((name or b"").decode(errors="replace"), _LONGEST_NAME)


@cache
def _names(enumeration: str) -> dict[int, str]:
    """The names of an enumeration of the schema by their numbers."""
    from ai_edge_litert import schema_py_generated as schema

    members = vars(getattr(schema, enumeration)).items()
    return {number: name for name, number in members if isinstance(number, int)}
