"""What of an operator decides whether the NPU takes it, as words: types, rank, modes, constants."""

from collections import defaultdict
from collections.abc import Iterator

from conformance.submission.forms import Form
from conformance.submission.graph import Graph, Node

# Numbers: they differ from model to model, and no value of theirs was seen to matter.
_NUMBERS = {
    *("batch_dims", "blocksize", "hidden_size", "k", "num_groups", "num_outputs", "seed"),
    *("kv_num_heads", "q_num_heads", "rotary_embedding_dim", "size", "output_height"),
    *("output_width", "sampling_ratio"),
}
_ANY_NUMBER = 64
# Constant inputs do not make these constant: they draw numbers, or read more than their inputs.
_NEVER_CONSTANT = {
    *("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform"),
    *("RandomUniformLike", "If", "Loop", "Scan", "SequenceMap"),
}


class View:
    """A graph with what leads where: the readers and the writer of tensors, and constants."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._readers: dict[str, list[Node]] = defaultdict(list)
        self._writers: dict[str, Node] = {}
        self._outputs = {value.name for value in graph.outputs}
        self.constant = {*graph.weights, *graph.constants}
        for node in graph.nodes:
            for name in dict.fromkeys(node.inputs):
                self._readers[name].append(node)
            self._writers.update(dict.fromkeys(node.outputs, node))
            if self._folds(node):
                self.constant.update(node.outputs)

    def is_constant(self, node: Node) -> bool:
        """Whether onnxruntime computes the node before the compiler sees it."""
        return node.op != "DequantizeLinear" and self.constant.issuperset(node.outputs)

    def is_output(self, node: Node) -> bool:
        """Whether the graph returns what the node computes."""
        return not self._outputs.isdisjoint(node.outputs)

    def readers(self, node: Node) -> list[Node]:
        """The nodes that read what a node computes."""
        own = [name for name in node.outputs if self._writers[name] is node]
        return [reader for name in own for reader in self._readers.get(name, ())]

    def writer(self, name: str) -> Node | None:
        """The node that computes a tensor."""
        return self._writers.get(name)

    def rank(self, node: Node) -> int:
        """The highest rank among a node's known inputs and outputs."""
        shapes = (self.graph.value(name).shape for name in (*node.inputs, *node.outputs))
        return max((len(shape) for shape in shapes if shape is not None), default=0)

    def _folds(self, node: Node) -> bool:
        if node.op in {"Shape", "Size"}:
            shapes = [self.graph.value(name).shape for name in node.inputs]
            if all(shape is not None and None not in shape for shape in shapes):
                return True
        given = filter(None, node.inputs)
        return node.op not in _NEVER_CONSTANT and self.constant.issuperset(given)


def traits(view: View, node: Node) -> dict[str, str] | None:
    """The traits of a standard operator by name; None where it is no operator of the opset.

    `inputs` says of each whether it is computed (x), constant (c) or absent (-), `outputs` which
    are given, and `rank` is the highest of any of them. `T` and its like are the types of the
    inputs, under the names of the ONNX specification; the rest are modes among the attributes.
    """
    form = None if node.domain else view.graph.standard.form(node.op, view.graph.opset)
    if form is None:
        return None
    found = {
        "inputs": _inputs(node, form, view.constant),
        "outputs": _outputs(node, form),
        "rank": str(view.rank(node)),
    }
    for formal, name in zip(form.inputs, node.inputs, strict=False):
        if name and not formal.variable.startswith("tensor("):
            found.setdefault(formal.variable or formal.name, view.graph.value(name).dtype)
    return {**found, **dict(_modes(view.graph, node, form))}


def _inputs(node: Node, form: Form, constant: set[str]) -> str:
    kinds = ["-" if not name else "c" if name in constant else "x" for name in node.inputs]
    if form.inputs and form.inputs[-1].kind == "variadic":
        own = len(form.inputs) - 1
        kinds[own:] = sorted(set(kinds[own:]), reverse=True)
    return "".join(kinds).rstrip("-")


def _outputs(node: Node, form: Form) -> str:
    if form.output_count[1] > _ANY_NUMBER:
        return "x"
    return "".join("x" if name else "-" for name in node.outputs).rstrip("-")


def _modes(graph: Graph, node: Node, form: Form) -> Iterator[tuple[str, str]]:
    for name, attribute in form.attributes.items():
        value = node.attributes.get(name, attribute.default)
        if name == "equation":
            yield name, _letters(str(value))
        elif name == "axis" and isinstance(value, int):
            shape = graph.value(node.inputs[0]).shape if node.inputs else None
            yield name, "last" if value in (-1, len(shape or ()) - 1) else "inner"
        elif name == "group":
            yield name, "1" if value == 1 else "more"
        elif name == "dilations":
            yield name, "more" if any(size > 1 for size in value or ()) else "1"
        elif attribute.kind in {"INT", "STRING"} and name not in _NUMBERS:
            yield name, "" if value is None else str(value)


def _letters(equation: str) -> str:
    """An Einsum's equation with its letters in the order in which they appear."""
    order: dict[str, str] = {}
    return "".join(
        order.setdefault(letter, chr(ord("a") + len(order))) if letter.isalpha() else letter
        for letter in equation.replace(" ", "")
    )
