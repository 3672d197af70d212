"""The forms that ONNX's standard gives an operator from opset to opset.

They are read in the child process that reads the file: importing `onnx` takes longer than all rules
of a small model.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, is_dataclass
from typing import Any

_NUMPY = {"float": "float32", "double": "float64"}


@dataclass(frozen=True)
class Input:
    """An input of an operator: `kind` is single, optional or variadic.

    Inputs with the same `variable` have the same type; it is empty where the type is free.
    """

    name: str
    kind: str
    variable: str
    types: frozenset[str]


@dataclass(frozen=True)
class Attribute:
    """An attribute of an operator: `kind` is ONNX's word, such as INTS."""

    kind: str
    required: bool
    default: Any


@dataclass(frozen=True)
class Form:
    """An operator as the opsets from `since` on define it, until its next form."""

    since: int
    removed: bool
    inputs: tuple[Input, ...]
    attributes: dict[str, Attribute]
    input_count: tuple[int, int]
    output_count: tuple[int, int]


@dataclass(frozen=True)
class Standard:
    """What the installed `onnx` knows: the newest opset, and of the operators that are looked for
    all forms by name, the oldest first; none where there is no such operator.
    """

    newest: int = 0
    forms: Mapping[str, tuple[Form, ...]] = field(default_factory=dict)

    def forms_of(self, op: str) -> tuple[Form, ...]:
        """Every form that a standard operator has had, the oldest first."""
        return self.forms.get(op, ())

    def form(self, op: str, opset: int) -> Form | None:
        """The form of an operator at an opset, None where it does not exist there yet."""
        return next((form for form in reversed(self.forms_of(op)) if form.since <= opset), None)


NOTHING = Standard()


def read_standard(operators: Iterable[str]) -> Standard:
    """What the installed `onnx` says of `operators`."""
    import onnx

    newest = int(onnx.defs.onnx_opset_version())
    return Standard(newest, {op: _forms(op, newest) for op in dict.fromkeys(operators)})


def as_data(standard: Standard) -> dict[str, Any]:
    """What JSON can hold of it, for `from_data` in another process."""
    return {"newest": standard.newest, "forms": _plain(standard.forms)}


def from_data(told: Mapping[str, Any]) -> Standard:
    """What another process has told."""
    forms = {op: tuple(map(_form, each)) for op, each in told["forms"].items()}
    return Standard(told["newest"], forms)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, tuple | list | frozenset):
        return [_plain(each) for each in value]
    return _plain(list(vars(value).values())) if is_dataclass(value) else value


def _form(told: Any) -> Form:
    since, removed, inputs, attributes, input_count, output_count = told
    return Form(
        since,
        removed,
        tuple(Input(name, kind, own, frozenset(types)) for name, kind, own, types in inputs),
        {name: Attribute(*each) for name, each in attributes.items()},
        tuple(input_count),
        tuple(output_count),
    )


def _forms(op: str, newest: int) -> tuple[Form, ...]:
    import onnx

    schemas: list[Any] = []
    while newest > 0:
        try:
            schemas.append(onnx.defs.get_schema(op, newest, ""))
        except onnx.defs.SchemaError:  # none as old
            break
        newest = schemas[-1].since_version - 1
    # GroupNormalization-18 is called deprecated, and runs: there is a newer one.
    return tuple(
        _read(schema, removed=schema.deprecated and schema is schemas[0])
        for schema in reversed(schemas)
    )


def _read(schema: Any, removed: bool) -> Form:
    return Form(
        since=schema.since_version,
        removed=removed,
        inputs=tuple(
            Input(
                name=formal.name,
                kind=_word(formal.option).lower(),
                variable=formal.type_str if formal.is_homogeneous else "",
                types=frozenset(_dtypes(formal.types)),
            )
            for formal in schema.inputs
        ),
        attributes={
            name: Attribute(_word(each.type), each.required, _default(each.default_value))
            for name, each in schema.attributes.items()
        },
        input_count=(schema.min_input, schema.max_input),
        output_count=(schema.min_output, schema.max_output),
    )


def _default(given: Any) -> Any:
    from onnx import helper

    return _text(helper.get_attribute_value(given)) if given.type else None


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return [_text(each) for each in value]
    return value.decode() if isinstance(value, bytes) else value


def _dtypes(types: Iterable[str]) -> Iterable[str]:
    plain = (name.removeprefix("tensor(").removesuffix(")") for name in types)
    return (_NUMPY.get(name, name) for name in plain)


def _word(value: Any) -> str:
    """`Single` of `FormalParameterOption.Single`."""
    return str(value).rpartition(".")[2]
