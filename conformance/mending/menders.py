"""What is mended: a mender beside the rule that it is for.

A mender looks at a model as it is and tells the changes that its rule asks for, where one change is
plainly the right one; what each does to the file is in `child`. The order is that of the changes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from conformance.mending.case import Case
from conformance.mending.layout import Step, output_steps
from conformance.submission.graph import Graph, Value, megabytes, nbytes
from conformance.submission.standard import MAX_IR, MAX_OPSET, find_offences
from reference.tracks import Part, Track, fits, format_shape

_SAFE_IR = 10
_STEPS_SINCE = 6  # the opset from which Cast and Reshape are written as they are today
_NUMBERS = ("bool", "int", "uint", "float")


@dataclass(frozen=True)
class Change:
    """One change of a file: the rule that asks for it, what it is in words, and what `child` is
    asked to do with which arguments.
    """

    rule: str
    what: str
    do: str
    arguments: dict[str, Any] = field(default_factory=dict)


Mender = Callable[[Case], Iterator[Change]]


def changes(track: Track, part: Part, graph: Graph) -> list[Change]:
    """What the menders would change next in the model of `graph` as a `part` of `track`.

    Some changes show only when others are made, such as the layout of what has open sizes.
    """
    case = Case(track, part, graph)
    return [
        replace(change, rule=change.rule.replace("*", track.prefix))
        for mender in MENDERS.values()
        for change in mender(case)
    ]


def mendable(track: Track, part: Part, graph: Graph) -> frozenset[str]:
    """The rules for which `lpcvc fix` has something to mend in this model."""
    return frozenset(change.rule for change in changes(track, part, graph))


def with_advice(remedy: str, rule: str, track: Track, graphs: Iterable[tuple[Part, Graph]]) -> str:
    """The remedy of a broken `rule`, with that `lpcvc fix` can do it where that is so."""
    can = any(rule in mendable(track, part, graph) for part, graph in graphs)
    return f"{remedy}; `lpcvc fix` can do this" if can else remedy


def _open_sizes(case: Case) -> Iterator[Change]:
    inputs = {}
    for tensor, value in case.inputs:
        layout = case.layout(tensor, value)
        if value.shape is not None and None in value.shape and layout is not None:
            inputs[value.name] = list(layout.shape)
    outputs = {}
    own = case.output
    closed = all(_is_fixed(value) or value.name in inputs for value in case.graph.inputs)
    if closed and own is not None and not _is_fixed(own) and own.kind == "tensor":
        wanted = case.part.output.shape
        if None not in wanted and fits(own.shape, wanted):
            outputs[own.name] = list(wanted)
    told = [
        f"{value.label} is fixed to {format_shape(tuple(sizes))}"
        for value in (*case.graph.inputs, *case.graph.outputs)
        if (sizes := (inputs | outputs).get(value.name))
    ]
    if told:
        arguments = {"inputs": inputs, "outputs": outputs}
        yield Change("COM-2", "; ".join(told), "fix_sizes", arguments)


def _unread_inputs(case: Case) -> Iterator[Change]:
    names = [value.name for value in case.strangers]
    if names:
        what = f"{', '.join(names)}, which nothing reads, is no input any more"
        yield Change("*-1", what, "drop_inputs", {"names": names})


def _input_layouts(case: Case) -> Iterator[Change]:
    for tensor, value in case.inputs:
        layout = case.layout(tensor, value)
        if layout is None or not layout.steps or not _is_fixed(value) or not _can_add(case):
            continue
        what = f"{value.label} takes {format_shape(tensor.shape)}, by {_told(layout.steps)}"
        arguments = {"name": value.name, "shape": list(tensor.shape), "steps": layout.steps}
        yield Change("*-2", what, "take", arguments)


def _input_types(case: Case) -> Iterator[Change]:
    for tensor, value in case.inputs:
        if value.dtype in tensor.dtypes or not case.takes_type(tensor, value):
            continue
        wanted = tensor.dtypes[0]
        if _can_add(case):
            what = f"{value.label} takes {wanted}, by a Cast to {value.dtype}"
            steps = (Step("Cast", value.dtype),)
            arguments = {"name": value.name, "dtype": wanted, "steps": steps}
            yield Change("*-3", what, "take", arguments)


def _other_outputs(case: Case) -> Iterator[Change]:
    own = case.output
    if own is not None and len(case.graph.outputs) > 1:
        names = [value.name for value in case.graph.outputs if value is not own]
        what = f"{', '.join(names)} is no output any more: {own.name} is the contract's"
        place = case.graph.outputs.index(own)
        yield Change("*-4", what, "keep_output", {"name": own.name, "place": place})


def _output_layout(case: Case) -> Iterator[Change]:
    own, wanted = case.output, case.part.output
    steps = output_steps(own.shape, wanted) if own is not None and _is_fixed(own) else ()
    if own is not None and own.shape is not None and steps and _can_add(case):
        sizes = steps[-1].to if steps[-1].op == "Reshape" else None
        shape = _reshaped(own, sizes) if sizes else [own.shape[axis] for axis in steps[-1].to]
        what = f"{own.label} is returned as {format_shape(wanted.shape)}, by {_told(steps)}"
        yield Change("*-5", what, "give", {"name": own.name, "shape": shape, "steps": steps})


def _output_type(case: Case) -> Iterator[Change]:
    """A mask of any numbers; what else is whole numbers was rounded, which no Cast mends."""
    own, wanted = case.output, case.part.output.dtypes
    numbers = _NUMBERS if case.part.output.kind == "binary" else ("float",)
    if own is None or own.dtype in wanted or not own.dtype.startswith(numbers):
        return
    if _can_add(case) and own.shape is not None and fits(own.shape, case.part.output.shape):
        what = f"{own.label} is returned as {wanted[0]}, by a Cast"
        steps = (Step("Cast", wanted[0]),)
        yield Change("*-6", what, "give", {"name": own.name, "dtype": wanted[0], "steps": steps})


def _input_names(case: Case) -> Iterator[Change]:
    names = {value.name: str(tensor.name) for tensor, value in case.inputs}
    yield from _renamed(names, _named_rule(case), "input")


def _output_name(case: Case) -> Iterator[Change]:
    own, wanted = case.output, case.part.output.name
    if own is not None and wanted:
        yield from _renamed({own.name: wanted}, "*-10", "output")


def _versions(case: Case) -> Iterator[Change]:
    graph = case.graph
    if graph.ir_version > MAX_IR:
        what = f"IR {graph.ir_version} becomes {_SAFE_IR}: AI Hub reads {MAX_IR} at most"
        yield Change("COM-3", what, "set_ir", {"version": _SAFE_IR})
    if graph.opset > MAX_OPSET:
        what = f"opset {graph.opset} becomes {MAX_OPSET}, which AI Hub reads"
        older = replace(graph, opsets={**graph.opsets, "": MAX_OPSET})
        arguments = {"version": MAX_OPSET, "declare": not find_offences(older)}
        yield Change("COM-3", what, "set_opset", arguments)


def _unread_weights(case: Case) -> Iterator[Change]:
    used = case.graph.used()
    unread = [value for name, value in case.graph.weights.items() if name not in used]
    if unread:
        size = megabytes(sum(nbytes(value) for value in unread))
        first = f", first {unread[0].name!r}" if len(unread) > 1 else f", {unread[0].name!r}"
        what = f"{len(unread)} unread weights, {size}{first}, are left out"
        names = [value.name for value in unread]
        yield Change("COM-7", what, "drop_weights", {"names": names})


# By the rule that each is for; `*` stands for the prefix of the track.
MENDERS: dict[str, Mender] = {
    "COM-7": _unread_weights,
    "COM-2": _open_sizes,
    "*-2": _input_layouts,
    "*-3": _input_types,
    "*-4": _other_outputs,
    "*-5": _output_layout,
    "*-6": _output_type,
    "*-1": lambda case: iter([*_unread_inputs(case), *_input_names(case)]),
    "*-10": _output_name,
    "COM-3": _versions,
}


def _named_rule(case: Case) -> str:
    """The rule that names break: where two are exchanged the one of shapes."""
    wanted = sorted(str(tensor.name) for tensor in case.part.inputs)
    return "*-2" if wanted == sorted(value.name for value in case.graph.inputs) else "*-1"


def _renamed(names: dict[str, str], rule: str, what: str) -> Iterator[Change]:
    names = {old: new for old, new in names.items() if old != new}
    if names:
        told = ", ".join(f"{old!r} is called {new!r}" for old, new in names.items())
        yield Change(rule, f"{what} {told}", "rename", {"names": names})


def _can_add(case: Case) -> bool:
    return case.graph.opset >= _STEPS_SINCE


def _is_fixed(value: Value) -> bool:
    return value.shape is not None and None not in value.shape


def _reshaped(value: Value, sizes: Sequence[int]) -> list[int]:
    """The sizes of a Reshape, the open one as the tensor fixes it."""
    total = known = 1
    for size in value.shape or ():
        total *= size or 1
    for size in sizes:
        known *= size if size > 0 else 1
    return [size if size > 0 else total // known for size in sizes]


def _told(steps: Sequence[Step]) -> str:
    return " and ".join(f"a {step.op} to {step.to}" for step in steps)
