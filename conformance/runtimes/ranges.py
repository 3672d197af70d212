"""The range of every tensor of a model on the host, held against float16: what the NPU cannot hold.

It needs no compiler and no emulator.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from conformance.submission.graph import Graph, Node
from reference.arrays import write_npy
from reference.errors import SubmissionError
from reference.process import ChildError, ChildProcess, Limits, Tick

# IEEE 754 binary16: its largest number, and its smallest, 2 ** -24.
HIGHEST = 65504.0
LOWEST = 6e-8

# Below -65504 a mask of attention is as good as -inf: what it leads to is the same.
_SATURATING = {"Softmax", "LogSoftmax", "Exp", "Sigmoid", "HardSigmoid", "Tanh", "Relu", "Clip"}
_SATURATING |= {"ArgMax", "TopK", "ReduceMax", "MaxPool", "Max", "Greater", "GreaterOrEqual"}
_SATURATING |= {"Less", "LessOrEqual", "Equal", "IsInf"}
_ARITHMETIC = {"Add", "Sub", "Mul", "Sum"}
_MOVING = {"Where", "Min", "Concat", "Expand", "Gather", "GatherND", "Tile", "Identity", "Reshape"}
_MOVING |= {"Slice", "Split", "Squeeze", "Transpose", "Unsqueeze", "Flatten", "Trilu", "Cast"}
_MOVING |= {"ScatterND", "ScatterElements", "Pad"}
_QUANTISING = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}


@dataclass(frozen=True)
class Range:
    """The finite values of a tensor, which `node` computes, lie in [`low`, `high`]; and whether it
    holds infinities.
    """

    node: str
    tensor: str
    low: float
    high: float
    below: bool = False
    above: bool = False

    @property
    def overflows(self) -> bool:
        """Whether float16 does not hold some value."""
        return self.below or self.above or max(-self.low, self.high) > HIGHEST

    @property
    def vanishes(self) -> bool:
        """Whether float16 holds 0 for every value, and not all are 0."""
        return not self.overflows and 0 < max(-self.low, self.high) < LOWEST

    @property
    def masks(self) -> bool:
        """Whether what float16 does not hold is below its range alone."""
        return self.overflows and not self.above and self.high <= HIGHEST

    def __str__(self) -> str:
        low = "-inf" if self.below else f"{self.low + 0.0:.3g}"
        return f"{low}..{'inf' if self.above else f'{self.high + 0.0:.3g}'}"


@dataclass(frozen=True)
class Ranges:
    """Of the tensors on the way from the inputs to the outputs, first computed first, and of the
    weights; `unseen` tensors could not be looked at.
    """

    tensors: tuple[Range, ...]
    weights: tuple[Range, ...]
    unseen: int = 0


def measure_ranges(
    model: Path,
    feeds: Sequence[Mapping[str, np.ndarray]],
    limits: Limits = Limits(),  # noqa: B008 - frozen
    tick: Tick = lambda seconds: None,
) -> Ranges:
    """The ranges in the ONNX file `model` over a forward pass for each of `feeds`, in a child.

    A pass keeps no tensor longer than some node reads it, and needs no more memory than the model
    and its largest tensors. Raises SubmissionError where the model cannot be run so.
    """
    name = f"looking at the ranges in {model.name}"
    with (
        tempfile.TemporaryDirectory(prefix="lpcvc-ranges-") as folder,
        ChildProcess(
            "conformance.runtimes.range_child", name, Path(folder), tick, limits, tool="onnxruntime"
        ) as process,
    ):
        found = [_one_pass(process, model, each, Path(folder)) for each in feeds]
    return _joined(found)


def find_offences(graph: Graph, ranges: Ranges) -> list[tuple[Range, str]]:
    """The tensors that float16 does not hold, first computed first, and what helps.

    What only follows from another of them is left out, and so are integers of a quantised graph and
    masks of attention. A weight is named where what is made of it is in range.
    """
    found: dict[str, tuple[Range, str]] = {}
    links = _Links(graph, ranges)
    for each in ranges.tensors:
        if each.tensor in links.quantised:
            continue
        if each.vanishes:
            found[each.tensor] = each, "scale it up where it begins: float16 holds 0 for all of it"
        elif each.overflows and not links.is_mask(each):
            found[each.tensor] = each, "scale it down ahead of this node: float16 ends at 65504"
    roots = [each for name, each in found.items() if found.keys().isdisjoint(links.sources(name))]
    for each in ranges.weights:
        readers = links.readers.get(each.tensor, ())
        made = {name for node in readers for name in node.outputs}
        follows = not found.keys().isdisjoint(made) or each.tensor in links.quantised
        if readers and each.overflows and not follows and not links.is_mask(each):
            named = replace(each, node=f"{readers[0].label}, its {each.node},")
            roots.append((named, "scale it down: float16 ends at 65504"))
    return roots


class _Links:
    """Who reads a tensor and what it is made of."""

    def __init__(self, graph: Graph, ranges: Ranges) -> None:
        self._known = {each.tensor: each for each in (*ranges.weights, *ranges.tensors)}
        self._producers = {name: node for node in graph.nodes for name in node.outputs}
        self.readers: dict[str, list[Node]] = {}
        for node in graph.nodes:
            for tensor in node.inputs:
                self.readers.setdefault(tensor, []).append(node)
        self.quantised = {
            tensor
            for node in graph.nodes
            if node.op in _QUANTISING
            for tensor in (*node.inputs[:1], *node.outputs)
        }

    def sources(self, tensor: str) -> tuple[str, ...]:
        """What a tensor is computed from."""
        return self._producers[tensor].inputs if tensor in self._producers else ()

    def is_mask(self, range: Range) -> bool:
        """Whether a tensor is out of range below alone, stays there, and comes to a Softmax or the
        like before anything else is made of it: there -65504 is as good.
        """
        pending, reached = [range.tensor], {range.tensor}
        while pending:
            current = self._known.get(pending.pop())
            if current is None or not current.overflows:
                continue
            readers = self.readers.get(current.tensor, ())
            if not current.masks or not readers:
                return False
            for node in readers:
                if node.op in _SATURATING:
                    continue
                kept = node.op in _MOVING or (node.op in _ARITHMETIC and self._stays(node))
                if not kept:
                    return False
                fresh = set(node.outputs) - reached
                reached |= fresh
                pending += fresh
        return True

    def _stays(self, node: Node) -> bool:
        """Whether arithmetic leaves values out of range, or nothing but zeros where no probe masks
        anything.
        """
        made = self._known.get(node.outputs[0])
        return made is not None and (made.overflows or made.low == made.high == 0)


def _one_pass(
    process: ChildProcess, model: Path, feeds: Mapping[str, np.ndarray], folder: Path
) -> Ranges:
    inputs = {}
    for index, (name, array) in enumerate(feeds.items()):
        path = folder / f"input_{index}.npy"
        write_npy(path, array)
        inputs[name] = str(path)
    try:
        answer = process.ask("measure", model=str(model.resolve()), inputs=inputs)
    except ChildError as error:
        raise SubmissionError(
            f"the ranges in {model.name} cannot be seen: {error}",
            "see what the rules say of it: pytest --pyargs conformance -m contract",
        ) from None
    tensors, weights = (
        tuple(Range(**each) for each in answer[kind]) for kind in ("tensors", "weights")
    )
    return Ranges(tensors, weights, int(answer["unseen"]))


def _joined(found: Sequence[Ranges]) -> Ranges:
    """Of several passes over one model."""
    if not found:
        return Ranges((), ())
    first, *others = found
    tensors = {each.tensor: each for each in first.tensors}
    for other in others:
        for each in other.tensors:
            known = tensors.get(each.tensor, each)
            tensors[each.tensor] = Range(
                each.node,
                each.tensor,
                min(known.low, each.low),
                max(known.high, each.high),
                known.below or each.below,
                known.above or each.above,
            )
    return Ranges(tuple(tensors.values()), first.weights, first.unseen)
