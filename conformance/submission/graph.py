"""Reads an ONNX file into plain facts (names, shapes, dtypes, nodes) without its weights."""

import atexit
import math
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from conformance.submission.forms import NOTHING, Standard, from_data
from conformance.submission.tflite_file import describe_tflite
from reference.errors import SubmissionError
from reference.process import ChildError, ChildProcess, Limits, Tick
from reference.tracks import Shape, format_shape

TFLITE_FILES = (".tflite", ".lite")
# Operators and tensors of one model, its functions written out. Networks for phones have thousands.
MOST_FACTS = 250_000
TOO_MUCH = "no network for a phone is as large: export the network alone, loops as loops"
_INFERENCE_SECONDS = 60.0  # a second is much, for a network of thousands of operators
_DEEPEST_CALL = 100  # of functions, as in onnx.inliner
_LARGE_FILE = 2**26  # in bytes


@dataclass(frozen=True)
class Value:
    """A tensor of the graph: `dtype` is a numpy name, `shape` None where it is not known.

    `kind` is ONNX's word for what is no tensor at all: sequence, optional, map, sparse_tensor.
    """

    name: str
    dtype: str
    shape: Shape | None
    kind: str = "tensor"

    @property
    def label(self) -> str:
        """`image float32 1x3x480x640`."""
        if self.kind != "tensor":
            return f"{self.name}, of type {self.kind.replace('_', ' ')} and not a tensor"
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
    """A reference from a tensor of `size` bytes to another file.

    `offset` and `length`, in bytes, are as the file has them: numbers, if it is sound.
    """

    tensor: str
    location: str
    size: int
    offset: str = "0"
    length: str = "0"


@dataclass(frozen=True)
class Graph:
    """An ONNX model, or one of another `form`, as the rules see it.

    Nodes of subgraphs (If, Loop) are in `nodes` too. `weights` are the initializers and the larger
    Constant nodes; the small ones are axes, sizes and the like. `outputs` have the sizes that the
    graph fixes where the file leaves them open; `declared` are the outputs as the file has them.
    `made_by` is the exporter, as the file names it. `standard` has the forms of all operators that
    the nodes name.
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
    declared: tuple[Value, ...] = ()
    made_by: str = ""
    form: Literal["onnx", "tflite"] = "onnx"
    standard: Standard = NOTHING

    @property
    def of_tensorflow(self) -> bool:
        """Whether TensorFlow's converter wrote it."""
        return self.made_by == "tf2onnx"

    @property
    def opset(self) -> int:
        """The version of the standard operator set, 0 where it is not stated."""
        return self.opsets.get("", 0)

    def value(self, name: str) -> Value:
        """What is known of a tensor; unknown dtype and shape where inference found nothing."""
        return self.values.get(name) or Value(name, "unknown", None)

    def used(self) -> set[str]:
        """The names that some node reads or the graph returns."""
        return self._readers.keys() | {value.name for value in self.outputs}

    def consumers(self, name: str) -> Sequence[Node]:
        """The nodes that read a tensor, in graph order."""
        return self._readers.get(name, ())

    def producer(self, name: str) -> Node | None:
        """The node that computes a tensor, None for an input or a weight.

        Of several, which only subgraphs and damaged files have, the first.
        """
        return self._writers.get(name)

    def reached(self, name: str, through: Callable[[Node, str], bool]) -> Iterator[Node]:
        """The nodes that a tensor reaches, each once.

        It goes on behind a node that it goes `through`, which is asked with the tensor at hand.
        """
        pending, seen, known = [name], {name}, set[int]()
        while pending:
            current = pending.pop()
            for node in self.consumers(current):
                if id(node) not in known:
                    known.add(id(node))
                    yield node
                if through(node, current):
                    fresh = [output for output in node.outputs if output and output not in seen]
                    pending += fresh
                    seen.update(fresh)

    @cached_property
    def _readers(self) -> dict[str, list[Node]]:
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                found.setdefault(name, []).append(node)
        return found

    @cached_property
    def _writers(self) -> dict[str, Node]:
        return {name: node for node in reversed(self.nodes) for name in node.outputs if name}


def elements(value: Value) -> int:
    """The number of elements of a tensor of known, fixed shape; 0 otherwise."""
    return math.prod(size or 0 for size in value.shape) if value.shape is not None else 0


def nbytes(value: Value) -> int:
    """The size of a tensor in bytes; packed 4-bit types count half a byte an element."""
    bits = {"bool": 8, "bfloat16": 16, "int4": 4, "uint4": 4, "string": 0, "unknown": 0}
    digits = re.search(r"\d+", value.dtype)
    width = bits.get(value.dtype, int(digits[0]) if digits and value.dtype[0] in "iufc" else 8)
    return (elements(value) * width + 7) // 8


def megabytes(size: int) -> str:
    """`98.8 MB`, or kB for what is small."""
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"


def read_graph(
    path: Path,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    tick: Tick = lambda seconds: None,
) -> Graph:
    """The facts of the ONNX or TFLite file at `path`; weights are neither kept nor looked for.

    It is read in a child process with `limits`, which waits for the next file. Raises
    SubmissionError for an empty file, one above protobuf's limit of 2 GiB, bytes that are not an
    ONNX model, functions that cannot be written out, and what goes beyond the limits or crashes.
    """
    if path.suffix.lower() in TFLITE_FILES:
        return _graph(path, describe_tflite(path))
    return _READER.read(path, limits, tick)


class _Reader:
    """Keeps the process that reads, and starts it anew where a file has ended it."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._limits = Limits()
        self._tick: Tick
        self._process: ChildProcess | None = None
        atexit.register(self._end)

    def read(self, path: Path, limits: Limits, tick: Tick) -> Graph:
        with self._turn:
            if limits != self._limits:
                self._end()
            self._limits, self._tick = limits, tick
            return _graph(path, self._facts(path))

    def _facts(self, path: Path) -> dict[str, Any]:
        try:
            facts = self._ask(path, infer=True)
        except SubmissionError:
            if self._alive:
                raise
            # Shape inference is foreign code that some graphs make crash or never end.
            facts = self._ask(path, infer=False)
            self._end()
        if facts["file_bytes"] > _LARGE_FILE:  # what it took of the limit is not given back whole
            self._end()
        return facts

    def _ask(self, path: Path, *, infer: bool) -> dict[str, Any]:
        if self._process is None or not self._alive:
            self._end()
            most = min(self._limits.timeout, _INFERENCE_SECONDS) if infer else self._limits.timeout
            self._process = ChildProcess(
                "conformance.submission.onnx_file",
                "",
                Path(tempfile.gettempdir()),
                lambda seconds: self._tick(seconds),
                Limits(most, self._limits.memory),
                tool="our own reader of ONNX files",
            )
        self._process.name = f"reading {path.name}"
        try:
            return self._process.ask("read", path=os.path.abspath(path), infer=infer)
        except ChildError as error:
            raise SubmissionError(
                f"{path.name} cannot be read: {error}", "check it with onnx.checker"
            ) from None

    @property
    def _alive(self) -> bool:
        return self._process is not None and self._process.alive

    def _end(self) -> None:
        if self._process is not None:
            self._process.__exit__()
            self._process = None


_READER = _Reader()


def _graph(path: Path, facts: dict[str, Any]) -> Graph:
    """The facts that the child told of a file."""
    values = {name: tuple(map(_value, facts[name])) for name in ("inputs", "outputs", "declared")}
    nodes = (
        Node(**{**node, "inputs": tuple(node["inputs"]), "outputs": tuple(node["outputs"])})
        for node in facts["nodes"]
    )
    return Graph(
        path=path,
        file_bytes=facts["file_bytes"],
        made_by=facts["made_by"],
        ir_version=facts["ir_version"],
        opsets=facts["opsets"],
        inputs=values["inputs"],
        outputs=values["outputs"],
        declared=values["declared"],
        nodes=tuple(nodes),
        weights={value.name: value for value in map(_value, facts["weights"])},
        constants={name: tuple(numbers) for name, numbers in facts["constants"].items()},
        values={value.name: value for value in map(_value, facts["values"])},
        external=tuple(External(**entry) for entry in facts["external"]),
        form=facts.get("form", "onnx"),
        standard=from_data(facts["standard"]) if "standard" in facts else NOTHING,
    )


def _value(fields: dict[str, Any]) -> Value:
    shape = fields["shape"]
    return Value(**{**fields, "shape": None if shape is None else tuple(shape)})


def inline_functions(model: Any, name: str = "the model") -> Any:
    """The model, which messages call `name`, with its functions written out where they are called.

    Raises SubmissionError where they are recursive, or more than anybody has to look at.
    """
    if not model.functions:
        return model
    import onnx.inliner

    _check_calls(model, name)
    _align_opsets(model)
    try:
        return onnx.inliner.inline_local_functions(model)
    except Exception as error:  # whatever else it finds wrong with them
        raise SubmissionError(
            f"the local functions of {name} cannot be written out: {error}", _NO_FUNCTIONS
        ) from None


_NO_FUNCTIONS = "export without local functions (export_modules_as_functions=False)"


def _check_calls(model: Any, name: str) -> None:
    """Counts what the inliner would write before it does: functions can double at every call."""
    functions = {_key(f.domain, f.name, f.overload): f for f in model.functions}
    sizes: dict[Any, int] = {}

    def written(nodes: Iterable[Any], calls: tuple[Any, ...]) -> int:
        return sum(size(node, calls) for node in nodes)

    def size(node: Any, calls: tuple[Any, ...]) -> int:
        inner = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
        inner += [graph for attribute in node.attribute for graph in attribute.graphs]
        own = 1 + sum(written(graph.node, calls) for graph in inner)
        key = _key(node.domain, node.op_type, node.overload)
        if key not in functions:
            return own
        function = functions[key]
        for what in ("input", "output"):
            given, taken = len(getattr(node, what)), len(getattr(function, what))
            if given > taken:
                problem = f"{given} {what}s, and it has {taken}"
                raise SubmissionError(
                    f"{_called(key)} of {name} is called with {problem}", _NO_FUNCTIONS
                )
        if key in calls:
            raise SubmissionError(f"{_called(key)} of {name} calls itself", _NO_FUNCTIONS)
        if len(calls) == _DEEPEST_CALL:
            problem = f"{name} has local functions that call each other {_DEEPEST_CALL} deep"
            raise SubmissionError(problem, _NO_FUNCTIONS)
        if key not in sizes:
            sizes[key] = written(function.node, (*calls, key))
        return own - 1 + sizes[key]

    if written(model.graph.node, ()) > MOST_FACTS:
        problem = f"the local functions of {name} come to more than {MOST_FACTS:,} operators"
        raise SubmissionError(problem, _NO_FUNCTIONS)


def _key(domain: str, name: str, overload: str) -> tuple[str, str, str]:
    return _domain(domain), name, overload


def _called(key: tuple[str, str, str]) -> str:
    return f"local function {key[0]}::{key[1]}"


def _align_opsets(model: Any) -> None:
    """Gives functions the model's opsets: of others, which runtimes take, none is inlined."""
    versions = {_domain(entry.domain): entry.version for entry in model.opset_import}
    for function in model.functions:
        for entry in function.opset_import:
            entry.version = versions.get(_domain(entry.domain), entry.version)


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name
