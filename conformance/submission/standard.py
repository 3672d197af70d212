"""Holds operators against the ONNX standard: whether each exists at the opset, in that form.

The schemas are those of the installed `onnx`, as `Graph.standard` has them. What they refuse,
onnxruntime refuses at load.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from conformance.submission.forms import Form
from conformance.submission.graph import Graph, Node

# What AI Hub reads: qai-hub-models 0.65.0 requires onnx<=1.18.0.
MAX_IR, MAX_OPSET = 11, 23
# The contrib operators that quantised exports need; Qualcomm's execution provider takes them.
CONTRIB = {"QuantizeLinear", "DequantizeLinear"}
_ATEN = {"aten", "org.pytorch.aten", "prim"}
_MICROSOFT = {"com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc"}
# Of com.microsoft: the QOperator form and dynamic quantisation.
_QOPERATOR = ("QLinear", "QGemm", "QAttention", "QEmbed", "QOrdered", "DynamicQuantize")
_INTEGER = ("Integer", "NBits", "BlockQuantized")
_BEFORE = "give the file from before onnxruntime's optimiser: it was saved as onnxruntime runs it"
# What an attribute is in Python; other kinds are not read from the file.
_KINDS: dict[str, Any] = {"INT": int, "FLOAT": float, "STRING": str, "INTS": (list, tuple)}
_TYPES = {
    *("bool", "float16", "bfloat16", "float32", "float64"),
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
}


@dataclass(frozen=True)
class Offence:
    """Nodes of one operator that break the standard in one way, and what helps."""

    nodes: tuple[Node, ...]
    what: str
    remedy: str

    @property
    def seen(self) -> str:
        """`2 Gelu nodes, first 'x': Gelu is not in opset 17`."""
        return f"{count(self.nodes)}: {self.what}"


def count(nodes: Sequence[Node]) -> str:
    """`Gelu 'x'`, or `3 Gelu nodes, first 'x'`."""
    if len(nodes) == 1:
        return nodes[0].label
    return f"{len(nodes)} {nodes[0].label.replace(' ', ' nodes, first ', 1)}"


def find_offences(graph: Graph) -> list[Offence]:
    """Every way in which operators of a graph are not the standard's, each with its nodes."""
    if graph.opset < 1 and any(not node.domain for node in graph.nodes):
        nodes = tuple(node for node in graph.nodes if not node.domain)
        said = "opset 0 does not exist" if "" in graph.opsets else "the file declares no opset"
        return [Offence(nodes, said, "export it again with opset_version=17"), *_foreign(graph)]
    found: dict[tuple[str, str, str], list[Node]] = defaultdict(list)
    for node in graph.nodes:
        problem = None if node.domain else _problem(graph, node, graph.opset)
        if problem and not is_unknown(graph, node):
            what, remedy = problem
            found[node.op, what, _elsewhere(graph, node) or remedy].append(node)
    standard = [Offence(tuple(nodes), *said) for (_, *said), nodes in found.items()]
    return [*standard, *_foreign(graph)]


def is_unknown(graph: Graph, node: Node) -> bool:
    """Whether a standard node is of an opset so new that the installed `onnx` cannot judge it."""
    newer = not node.domain and graph.opset > graph.standard.newest
    return newer and graph.standard.form(node.op, graph.opset) is None


def _foreign(graph: Graph) -> list[Offence]:
    """The nodes of other domains, each operator of a domain once."""
    found: dict[tuple[str, str], list[Node]] = defaultdict(list)
    for node in graph.nodes:
        if node.domain and not (node.domain == "com.microsoft" and node.op in CONTRIB):
            found[node.domain, node.op].append(node)
    return [
        Offence(tuple(nodes), f"an operator of {domain}", _remedy_of_domain(graph, nodes[0]))
        for (domain, _), nodes in found.items()
    ]


def _remedy_of_domain(graph: Graph, node: Node) -> str:
    if node.op == "EPContext":
        return "it is compiled already: give the model that was compiled"
    if node.domain in _ATEN or node.op == "ATen":
        name = node.attributes.get("operator", node.op)
        return f"export without the ATen fallback, with {name!r} written in other operators"
    if node.domain in _MICROSOFT and (
        node.op.startswith(_QOPERATOR) or any(word in node.op for word in _INTEGER)
    ):
        return "quantise in the QDQ form: QuantFormat.QDQ, or `lpcvc quantize`"
    if node.domain in _MICROSOFT:
        since = next(
            (form.since for form in graph.standard.forms_of(node.op) if not form.removed), 0
        )
        own = f"; ONNX has a {node.op} of its own from opset {since} on" if since else ""
        return _BEFORE + own
    if node.domain == "ai.onnx.ml":
        return "write it with tensor operators: the NPU has none of ai.onnx.ml"
    return _write_it(node)


def _elsewhere(graph: Graph, node: Node) -> str:
    """In which opset a node would be right; empty where in none."""
    fits = [
        form.since
        for form in graph.standard.forms_of(node.op)
        if not _problem(graph, node, form.since)
    ]
    later = [since for since in fits if since > graph.opset]
    if later:
        return f"export with opset_version>={later[0]}"
    if fits:
        return f"it has the form of opset {fits[-1]}: export again, or declare that opset"
    return ""


def _problem(graph: Graph, node: Node, opset: int) -> tuple[str, str] | None:
    """Why a node is not an operator of the opset, and what helps; None where it is one."""
    form = graph.standard.form(node.op, opset)
    if form is None:
        if graph.standard.forms_of(node.op):
            return f"not in opset {opset}", ""
        return "ONNX has no operator of that name", _write_it(node)
    if form.removed:
        return f"removed from ONNX in opset {form.since}", ""
    words = _wrong_attribute(node, form) or _wrong_count(node, form)
    if words:
        return words, "export it again, and check it with onnx.checker"
    words = _wrong_type(graph, node, form)
    return (words, "cast its inputs to the type that it takes") if words else None


def _write_it(node: Node) -> str:
    return f"write {node.op} with standard operators, or export it as a function of them"


def _wrong_attribute(node: Node, form: Form) -> str:
    for name, value in node.attributes.items():
        if name.startswith("__"):  # runtimes keep their own notes under such names
            continue
        if name not in form.attributes:
            return f"its form of opset {form.since} has no attribute {name!r}"
        kind = form.attributes[name].kind
        if not isinstance(value, _KINDS.get(kind, ())):
            return f"its attribute {name!r} is no {kind}"
    for name, attribute in form.attributes.items():
        if attribute.required and attribute.kind in _KINDS and name not in node.attributes:
            return f"its attribute {name!r} is missing"
    return ""


def _wrong_count(node: Node, form: Form) -> str:
    for what, names, (least, most) in (
        ("input", node.inputs, form.input_count),
        ("output", node.outputs, form.output_count),
    ):
        if not least <= len(names) <= most:
            takes = f"at least {least}" if len(names) < least else f"at most {most}"
            return f"{len(names)} {what}s, its form of opset {form.since} has {takes}"
    for formal, name in zip(form.inputs, node.inputs, strict=False):
        if formal.kind == "single" and not name:
            return f"its input {formal.name!r} is missing"
    return ""


def _wrong_type(graph: Graph, node: Node, form: Form) -> str:
    bound: dict[str, str] = {}
    for place, name in enumerate(node.inputs):
        dtype = graph.value(name).dtype
        if not name or dtype not in _TYPES:
            continue
        formal = form.inputs[min(place, len(form.inputs) - 1)]
        if dtype not in formal.types:
            return f"its form of opset {form.since} takes no {dtype} as {formal.name!r}"
        if formal.variable and bound.setdefault(formal.variable, dtype) != dtype:
            return f"its inputs are {bound[formal.variable]} and {dtype}, and must be the same"
    return ""
