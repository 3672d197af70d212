"""Which operators of a graph compute in integers: quantisation is of operators, not of graphs."""

from dataclasses import dataclass

from conformance.submission.graph import Graph, Node
from conformance.submission.order import in_order

_FLOAT = ("float16", "bfloat16", "float32", "float64")
_SCALING = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}
_NO_OPERATOR = {*_SCALING, "Constant", "ConstantOfShape", "Shape", "Size"}
# What moves values runs on the NPU whatever their type is.
_MOVES = {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Slice", "Split"}
_MOVES |= {"Concat", "Gather", "Expand", "Tile", "DepthToSpace", "SpaceToDepth", "Cast"}
# Of these the compiler takes constants beside the data as they are.
_PARAMETERS = {"Resize", "Upsample", "Clip", "Pad", "Pow", "TopK", "OneHot", "GridSample"}
# Of these onnxruntime quantises float weights itself where the data is quantised on both sides.
_WEIGHTED = {"Conv", "ConvTranspose", "Gemm"}
_ACTIVATIONS = {"Relu", "Clip"}  # one with the operator ahead of them


@dataclass(frozen=True)
class Operators:
    """The operators on data by how they compute; `moving` ones are float and only move values."""

    quantised: tuple[Node, ...]
    floating: tuple[Node, ...]
    moving: tuple[Node, ...]

    @property
    def label(self) -> str:
        """`3 of 17 operators are quantised`."""
        total = len(self.quantised) + len(self.floating) + len(self.moving)
        return f"{len(self.quantised)} of {total} operators are quantised"


def operators(graph: Graph) -> Operators:
    """How the operators on the data of `graph` compute.

    An operator is quantised in QOperator form (QLinearConv, ConvInteger), or where all that it
    reads comes from a DequantizeLinear and all that it returns goes to a QuantizeLinear. With
    dequantised weights alone it computes in float. Arithmetic on shapes is no operator.
    """
    if graph.form == "tflite":
        return _of_tflite(graph)
    flow = _Flow(graph)
    own = [(node, flow.takes(node)) for node in flow.nodes if flow.is_operator(node)]
    rest = [node for node, quantised in own if not quantised]
    return Operators(
        tuple(node for node, quantised in own if quantised),
        tuple(node for node in rest if node.op not in _MOVES),
        tuple(node for node in rest if node.op in _MOVES),
    )


def _of_tflite(graph: Graph) -> Operators:
    """There the type of what an operator gives says it."""
    own = [node for node in graph.nodes if node.op not in ("QUANTIZE", "DEQUANTIZE", "SHAPE")]
    kinds = [(node, node.attributes["type"]) for node in own]
    return Operators(
        tuple(node for node, kind in kinds if kind in ("int8", "uint8", "int16")),
        tuple(node for node, kind in kinds if kind in _FLOAT),
        (),
    )


class _Flow:
    """Which tensors are integers in disguise: dequantised before they are read, or quantised after.

    `nodes` are in the order in which they are to be asked about.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.nodes = in_order(graph.nodes, lambda node: node.inputs, lambda node: node.outputs)
        self._readers: dict[str, list[Node]] = {}
        self._integers = {name for node in graph.nodes for name in self._made_by_scaling(node)}
        self._bound: set[str] = set()
        for node in graph.nodes:
            for name in node.inputs:
                self._readers.setdefault(name, []).append(node)
        for node in reversed(self.nodes):
            self._bound.update(name for name in node.outputs if self._becomes_integer(name))

    def is_operator(self, node: Node) -> bool:
        """Whether a node computes on data, and not on shapes alone."""
        names = [name for name in (*node.inputs, *node.outputs) if name]
        kinds = {self._graph.value(name).dtype for name in names}
        return node.op not in _NO_OPERATOR and not kinds <= {"int64", "bool"}

    def takes(self, node: Node) -> bool:
        """Whether the operator is quantised."""
        if node.op.startswith(("QLinear", "QGemm", "QAttention")) or node.op.endswith("Integer"):
            return True
        inputs = [name for name in node.inputs if self._is_float(name)]
        outputs = [name for name in node.outputs if self._is_float(name)]
        if node.op in _PARAMETERS:
            inputs = inputs[:1]
        if node.op in _WEIGHTED:
            inputs = [name for name in inputs if name not in self._graph.weights]
        if not inputs and not outputs:  # it moves the integers themselves
            return not self._integers.isdisjoint(node.inputs)
        if not self._integers.issuperset(inputs) or not self._bound.issuperset(outputs):
            return False
        # With its activation an operator is one: the tensor between them is no float either.
        self._integers.update(outputs)
        return True

    def _made_by_scaling(self, node: Node) -> tuple[str, ...]:
        return node.outputs if node.op in _SCALING else ()

    def _becomes_integer(self, name: str) -> bool:
        readers = self._readers.get(name, [])
        if not readers or any(value.name == name for value in self._graph.outputs):
            return False
        if len(readers) == 1 and readers[0].op in _ACTIVATIONS:
            return readers[0].outputs[0] in self._bound
        return all(reader.op == "QuantizeLinear" for reader in readers)

    def _is_float(self, name: str) -> bool:
        return bool(name) and self._graph.value(name).dtype in _FLOAT
