"""Reads the tensors of a TorchScript file without running anything of it."""

import pickletools
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_TENSOR = "torch._utils _rebuild_tensor_v2"
_DTYPES = {
    "torch DoubleStorage": torch.float64,
    "torch FloatStorage": torch.float32,
    "torch HalfStorage": torch.float16,
    "torch BFloat16Storage": torch.bfloat16,
    "torch LongStorage": torch.int64,
    "torch IntStorage": torch.int32,
    "torch ShortStorage": torch.int16,
    "torch CharStorage": torch.int8,
    "torch ByteStorage": torch.uint8,
    "torch BoolStorage": torch.bool,
    "torch ComplexFloatStorage": torch.complex64,
    "torch ComplexDoubleStorage": torch.complex128,
}
# What else TorchScript writes for the attributes of a module (torch/csrc/jit/serialization/
# pickler.cpp); lists are of `torch.jit._pickle`, classes of the file itself in `__torch__`.
_NAMES = {_TENSOR, *_DTYPES, "collections OrderedDict", "torch device", "builtins complex"}
_MODULES = ("__torch__", "torch.jit._pickle")
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
# Characters in the names of all attributes together: modules can be nested without end.
_MOST = 2**22


class ForeignCodeError(Exception):
    """The file asks for code to be run to read it."""


def is_torchscript(path: Path) -> bool:
    """TorchScript and pickled state dicts are both zip files; only the former holds code."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.split("/")[1:2] == ["code"] for name in archive.namelist())


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of the modules in a TorchScript file by name, on the CPU, dtypes as stored.

    Parameters and buffers, from wherever they were saved; what its pickle asks to be called is not
    called. Raises ForeignCodeError where the file cannot be read so, and an exception of any other
    kind where it is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        (pickle,) = (name for name in archive.namelist() if name.split("/")[1:] == ["data.pkl"])
        root = pickle.removesuffix("data.pkl")
        order = f"{root}byteorder"
        if order in archive.namelist() and _record(archive, order) != b"little":
            raise ValueError("the numbers are stored with their highest byte first")
        storages: dict[str, Tensor] = {}
        tensors = {}
        for name, value in _named_tensors(_parse(_record(archive, pickle))):
            storage, offset, size, stride, *_ = value.arguments
            _, kind, key, _, count = storage.arguments
            if key not in storages:
                content = _record(archive, f"{root}data/{key}")
                storages[key] = _numbers(content, _DTYPES[kind.name], count)
            tensors[name] = storages[key].as_strided(size, stride, offset)
        return tensors


def _record(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed, which PyTorch does not do")
    return archive.read(name)


def _numbers(content: bytes, dtype: torch.dtype, count: int) -> Tensor:
    if len(content) != count * dtype.itemsize:
        raise ValueError(f"{len(content)} bytes for {count} numbers of {dtype}")
    return torch.frombuffer(bytearray(content), dtype=dtype) if count else torch.empty(0).to(dtype)


@dataclass(frozen=True)
class _Name:
    """A class or function, by module and name."""

    name: str


@dataclass(frozen=True, eq=False)
class _Call:
    """A call that a pickle asks for."""

    function: str
    arguments: Any


@dataclass(eq=False)
class _Module:
    """An object of a class of the file."""

    attributes: "_Pairs" = field(default_factory=lambda: _Pairs())


class _Pairs(list[tuple[Any, Any]]):
    """A dictionary that nobody looks anything up in: its keys may be anything."""


def _named_tensors(root: _Module) -> Iterator[tuple[str, _Call]]:
    pending, characters = [("", root)], 0
    while pending:
        prefix, module = pending.pop()
        for key, value in module.attributes:
            name = prefix + key
            characters += len(name)
            if characters > _MOST:
                raise ValueError("modules without end")
            if isinstance(value, _Module):
                pending.append((f"{name}.", value))
            elif isinstance(value, _Call) and value.function == _TENSOR:
                yield name, value


def _parse(pickle: bytes) -> Any:
    """What a pickle describes, with the calls that it asks for left as they are.

    Raises ForeignCodeError for what TorchScript does not write.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[Any, Any] = {}

    def above(start: int) -> tuple[Any, ...]:
        items = tuple(stack[start:])
        del stack[start:]
        return items

    for opcode, value, _ in pickletools.genops(pickle):
        match opcode.name:
            case "PROTO":
                pass
            case "MARK":
                marks.append(len(stack))
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append(_CONSTANTS[opcode.name])
            case "BINUNICODE" | "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
                stack.append(value)
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE":
                stack.append(above(marks.pop()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(above(-int(opcode.name[-1])))
            case "EMPTY_LIST":
                stack.append([])
            case "APPEND":
                stack[-2].append(stack.pop())
            case "APPENDS":
                items = above(marks.pop())
                stack[-1].extend(items)
            case "EMPTY_DICT":
                stack.append(_Pairs())
            case "SETITEMS":
                items = above(marks.pop())
                stack[-1].extend(zip(items[::2], items[1::2], strict=True))
            case "BINPUT" | "LONG_BINPUT":
                memo[value] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[value])
            case "GLOBAL":
                stack.append(_known(str(value)))
            case "BINPERSID":
                stack.append(_Call("storage", stack.pop()))
            case "REDUCE":
                function, arguments = above(-2)
                stack.append(_Call(function.name, arguments))
            case "NEWOBJ":
                above(-2)
                stack.append(_Module())
            case "BUILD":
                state = stack.pop()
                # Anything else is for a `__setstate__` of the file.
                if not isinstance(stack[-1], _Module) or not isinstance(state, _Pairs):
                    raise ForeignCodeError("an object restores itself")
                stack[-1].attributes = state
            case "STOP":
                break
            case name:
                raise ForeignCodeError(f"the instruction {name}")
    return stack.pop()


def _known(name: str) -> _Name:
    module = name.partition(" ")[0]
    if name in _NAMES or module in _MODULES or module.startswith("__torch__."):
        return _Name(name)
    raise ForeignCodeError(f"the object {name}")
