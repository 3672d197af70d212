"""What Qualcomm's compiler makes of operators: takes them, leaves them to the CPU, rejects them.

`fixtures/operators.tsv` holds what onnxruntime-qnn 2.7.0 (QAIRT 2.51) did with some 4,000 small
models for Snapdragon 8 Gen 3 in float16, every operator in many variants; what it says nothing of
is not known. `hazards.py` has what needs more than one operator to be seen, and what is known of
AI Hub's own converter. `python -m conformance.selftest.make_operators` makes the table.
"""

import csv
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from conformance.submission.graph import Graph, Node
from conformance.submission.hazards import QDQ, known_hazards
from conformance.submission.standard import is_unknown
from conformance.submission.traits import View, traits
from reference.data import fixture

Traits = frozenset[tuple[str, str]]

_INSTEAD = {
    "Trilu": "multiply with a constant triangle, or torch.where with a constant mask",
    "RNN": "use an LSTM or a GRU, or a convolution over the steps",
    "DeformConv": "sample with grid_sample, then a plain convolution",
    "MaxUnpool": "upsample with interpolate or a transposed convolution",
    "Col2Im": "write the fold as a transposed convolution with a fixed kernel",
    "AffineGrid": "make the grid a constant, and keep grid_sample alone",
    "Softsign": "write x / (1 + x.abs())",
    "Dropout": "call model.eval() before the export",
    "OneHot": "compare with a constant arange: (x.unsqueeze(-1) == arange).float()",
    "MatMulInteger": "quantise with calibration data, in the QDQ form: `lpcvc quantize`",
    "ConvInteger": "quantise with calibration data, in the QDQ form: `lpcvc quantize`",
}
# By the name of a trait that is refused, where the operator has no line of its own.
_BY_TRAIT = {
    "antialias": "resize with antialias=False; to shrink by a whole factor, avg_pool2d first",
    "exclusive": "subtract the input from a plain one: x.cumsum(dim) - x",
    "training_mode": "call model.eval() before the export",
    "rank": "merge axes first, so that it sees tensors of fewer dimensions",
    "inputs": "make constants of the inputs that choose sizes, axes and limits",
    "dilations": "write it with a dilation of 1",
    "axis": "move that axis to the end first, and back afterwards",
    "to": "cast to float32, int32 or bool instead",
}


@dataclass(frozen=True)
class Hazard:
    """A node that will not run on the NPU, why, and what to write instead."""

    node: Node
    reason: str
    remedy: str


@dataclass(frozen=True)
class Survey:
    """A graph against what is known: its hazards in graph order, and the nodes not known."""

    hazards: tuple[Hazard, ...]
    unknown: tuple[Node, ...]

    def groups(self) -> list[tuple[tuple[Node, ...], str, str]]:
        """The nodes of one operator that have one hazard, its reason and its remedy."""
        found: dict[tuple[str, str, str], list[Node]] = defaultdict(list)
        for hazard in self.hazards:
            found[hazard.node.op, hazard.reason, hazard.remedy].append(hazard.node)
        return [(tuple(nodes), reason, remedy) for (_, reason, remedy), nodes in found.items()]


@dataclass(frozen=True)
class Entry:
    """One operator as measured.

    `taken` has the values of each trait in variants that compile. What has all of some `refused`
    traits does not, for the reason beside them.
    """

    taken: Mapping[str, frozenset[str]]
    refused: tuple[tuple[Traits, str], ...]

    def refusal(self, found: Mapping[str, str]) -> tuple[Traits, str] | None:
        """Which of the refused traits are among those found, and why; None without any."""
        return next((each for each in self.refused if each[0] <= found.items()), None)

    def takes(self, found: Mapping[str, str]) -> bool:
        """Whether each of the traits was seen in a variant that compiles."""
        return all(value in self.taken.get(name, ()) for name, value in found.items())


def npu_hazards(graph: Graph) -> list[Hazard]:
    """The nodes of a graph that are known to leave the NPU, in graph order."""
    return list(survey(graph).hazards)


def survey(graph: Graph) -> Survey:
    """What is known of a graph's nodes. Those that are constant never reach the compiler."""
    view = View(graph)
    hazards: list[Hazard] = []
    unknown: list[Node] = []
    for node in graph.nodes:
        if view.is_constant(node) or _in_gelu(view, node):
            continue
        known = [Hazard(node, each.reason, each.remedy) for each in known_hazards(view, node)]
        found = traits(view, node)
        entry = table().get(node.op, _NOTHING)
        if known:
            hazards += known
        elif found is None:  # no operator of the opset: another rule's matter
            unknown += [node] if is_unknown(graph, node) else []
        elif refusal := entry.refusal(found):
            hazards.append(Hazard(node, refusal[1], _remedy(node.op, refusal[0])))
        elif node.op not in QDQ and not entry.takes(found):
            unknown.append(node)
    return Survey(tuple(hazards), tuple(unknown))


@cache
def table() -> dict[str, Entry]:
    """What was measured, by operator."""
    return read_table(fixture("operators.tsv"))


def read_table(path: Path) -> dict[str, Entry]:
    """The table of a file such as `fixtures/operators.tsv`."""
    taken: dict[str, dict[str, frozenset[str]]] = defaultdict(dict)
    refused: dict[str, list[tuple[Traits, str]]] = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            pairs = [(name, value) for name, _, value in map(_pair, row["traits"].split())]
            if row["outcome"] == "taken":
                taken[row["operator"]] = {k: frozenset(v.split("|")) for k, v in pairs}
            else:
                refused[row["operator"]].append((frozenset(pairs), row["reason"]))
    return {op: Entry(taken[op], tuple(refused[op])) for op in {*taken, *refused}}


def _pair(text: str) -> tuple[str, str, str]:
    return text.partition("=")


def _in_gelu(view: View, node: Node) -> bool:
    """Whether an Erf is that of a GELU, which onnxruntime makes one operator of."""
    writer = view.writer(node.inputs[0]) if node.op == "Erf" and node.inputs else None
    readers = [reader.op for reader in view.readers(node)]
    return writer is not None and writer.op in {"Div", "Mul"} and readers == ["Add"]


def _remedy(op: str, refused: Traits) -> str:
    """What helps against traits that are refused."""
    if op in _INSTEAD:
        return _INSTEAD[op]
    names = {name for name, _ in refused}
    named = next((remedy for name, remedy in _BY_TRAIT.items() if name in names), "")
    if named:
        return named
    if not refused:
        return f"write {op} with operators that the NPU takes: arithmetic, MatMul, Conv, Where"
    if all(name[0].isupper() for name in names):  # T, T1, Tind
        return "cast its inputs to float32 ahead of it"
    return f"use {op} without {', '.join(f'{name}={value}' for name, value in sorted(refused))}"


_NOTHING = Entry({}, ())
