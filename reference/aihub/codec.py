"""Frozen dataclasses as JSON and back, by their annotations: what rows of the database hold."""

import dataclasses
import json
from enum import Enum
from functools import cache
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")


def encode(value: Any) -> str:
    """A dataclass as JSON."""
    return json.dumps(dataclasses.asdict(value))


def decode(kind: type[T], text: str) -> T:
    """The dataclass `kind` of its JSON."""
    value: T = _decode(kind, json.loads(text))
    return value


def _decode(kind: Any, value: Any) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if value is None:
        return None
    if origin is UnionType:  # of something and None
        return _decode(arguments[0], value)
    if origin is tuple:
        return tuple(_decode(arguments[0], each) for each in value)
    if origin is dict:
        return {arguments[0](key): _decode(arguments[1], each) for key, each in value.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        kinds = _fields(kind)
        return kind(**{name: _decode(kinds[name], each) for name, each in value.items()})
    return kind(value) if isinstance(kind, type) and issubclass(kind, Enum) else value


@cache
def _fields(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)
