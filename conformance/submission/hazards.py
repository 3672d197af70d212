"""Hazards of the NPU that are more than one operator's own traits, written by hand.

Measured with onnxruntime-qnn 2.7.0 (QAIRT 2.51) for Snapdragon 8 Gen 3, where nothing else is said.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from conformance.submission.graph import Node
from conformance.submission.traits import View
from reference.npu.faults import FAULTS, Fault

_MOST_RANK = 6
_ELEMENTWISE = {"Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Where", "Sqrt", "Exp", "Sigmoid"}
# Types that the compiler does not have.
_NO_TYPE = ("bfloat16", "float8", "float4", "complex")
# With one scale for the tensor the compiler takes them wherever they stand.
QDQ = {"QuantizeLinear", "DequantizeLinear"}
# They take a weight with a scale for each channel; the compiler refuses the others one.
_PER_CHANNEL = {"Conv", "ConvTranspose", "MatMul", "Gemm"}
_LOWEST = {(0.0,), (-128.0,)}
_QDQ_FORM = "quantise in the QDQ form: QuantFormat.QDQ, or `lpcvc quantize`"


@dataclass(frozen=True)
class Known:
    """One hazard: the nodes that it applies to, why it is one, and what to write instead."""

    applies: Callable[[View, Node], bool]
    reason: str
    remedy: str


def known_hazards(view: View, node: Node) -> Iterator[Known]:
    """The hazards of this list that a node has."""
    return (known for known in _KNOWN if known.applies(view, node))


def _op(*names: str) -> Callable[[View, Node], bool]:
    return lambda view, node: node.op in names


def _of_type(*names: str) -> Callable[[View, Node], bool]:
    return lambda view, node: any(
        view.graph.value(name).dtype.startswith(names) for name in (*node.inputs, *node.outputs)
    )


def _mask_head(view: View, node: Node) -> bool:
    """A product of a 3-D with a 4-D tensor over the channel: Mask2Former's mask head."""
    if node.op != "Einsum":
        return False
    terms, arrow, result = str(node.attributes.get("equation", "")).replace(" ", "").partition("->")
    operands = terms.split(",")
    ranks = sorted(len(operand) for operand in operands)
    return bool(arrow) and ranks == [3, 4] and len(result) == 4


def _empty(view: View, node: Node) -> bool:
    return any(0 in (view.graph.value(name).shape or ()) for name in node.outputs)


def _before_the_compiler(fault: Fault) -> Known:
    """A fault of onnxruntime's, which the graph is mended for here and nowhere else."""
    return Known(
        lambda view, node: fault.applies(node.op, node.attributes, node.inputs),
        fault.reason,
        fault.remedy,
    )


def _standalone(view: View, node: Node) -> bool:
    """A scale for each channel outside a quantised product."""
    if node.op not in QDQ or len(node.inputs) < 2:
        return False
    scales = view.graph.value(node.inputs[1]).shape
    if not scales or scales == (1,):
        return False
    readers = view.readers(node)
    within = bool(readers) and all(_product(view, reader) for reader in readers)
    return node.op == "QuantizeLinear" or not within


def _product(view: View, node: Node) -> bool:
    """A product between (de)quantisations, which the compiler makes one quantised operator of."""
    if node.op == "Transpose":
        return all(_product(view, each) for each in view.readers(node) if each.op != "Transpose")
    if node.op not in _PER_CHANNEL or len(node.inputs) > 3:
        return False
    data = view.writer(node.inputs[0])
    quantised = data is not None and data.op == "DequantizeLinear"
    return quantised and _leads_to_quantisation(view, node)


def _leads_to_quantisation(view: View, node: Node) -> bool:
    readers = view.readers(node)
    if len(readers) == 1 and readers[0].op in {"Relu", "Clip"}:
        # It is part of the quantisation behind it where that begins at 0.
        readers = view.readers(readers[0])
        zeros = [view.graph.constants.get(each.inputs[-1]) for each in readers]
        return all(zero in _LOWEST for zero in zeros) and _are_quantisations(readers)
    return not view.is_output(node) and _are_quantisations(readers)


def _are_quantisations(nodes: list[Node]) -> bool:
    return bool(nodes) and all(node.op == "QuantizeLinear" for node in nodes)


_KNOWN = (
    Known(
        _op("NonZero", "NonMaxSuppression", "Unique", "Compress"),
        "its output has no fixed shape, so that it and what follows run on the CPU",
        "write the selection as arithmetic: multiply with a mask, or torch.where with two values",
    ),
    Known(
        _op("Loop", "Scan"),
        "loops and their bodies run on the CPU",
        "unroll the loop before the export",
    ),
    Known(
        _mask_head,
        "the compiler's MatMul validator refuses this Einsum",
        "write it as a matrix product: q @ features.flatten(2), then reshape",
    ),
    Known(
        lambda view, node: node.op == "GridSample" and view.rank(node) > 4,
        "GridSample of 5-D tensors fails the whole compilation",
        "sample every slice with a 4-D GridSample",
    ),
    Known(
        lambda view, node: node.op in _ELEMENTWISE and view.rank(node) == _MOST_RANK,
        "elementwise operators of 6-D tensors run on the CPU",
        "merge axes first, so that no arithmetic sees more than 5 dimensions",
    ),
    Known(
        lambda view, node: node.op in {"Gather", "GatherND"} and view.rank(node) == _MOST_RANK,
        "Gather of 6-D tensors (unfold, deformable attention) runs on the CPU",
        "use a convolution with a fixed kernel instead of unfold, or merge axes first",
    ),
    Known(
        lambda view, node: view.rank(node) > _MOST_RANK,
        "no operator takes tensors of more than 6 dimensions",
        "merge axes that stay together",
    ),
    Known(
        _empty,
        "a dimension of size 0 fails the whole compilation",
        "remove the operator: it computes nothing",
    ),
    Known(
        _of_type("float64"),
        "the NPU computes it in float16, and leaves a float64 input or output to the CPU",
        "keep constants and casts in float32: .float() where a Python float or numpy array came in",
    ),
    Known(
        _of_type(*_NO_TYPE),
        "the compiler has no such type, and onnxruntime's CPU runs few operators of it",
        "export in float32, with model.float() ahead of it; the compiler makes float16 of that",
    ),
    Known(
        _standalone,
        "the compiler has no standalone (de)quantisation with a scale for each channel",
        "quantise the inputs and outputs of the operator as well, or use one scale for the tensor",
    ),
    Known(
        _op("QLinearConv", "QLinearMatMul"),
        "QOperator form: compilers before onnxruntime-qnn 2.7 leave it to the CPU (its pull"
        " requests 467 and 494)",
        _QDQ_FORM,
    ),
    Known(
        _op("DynamicQuantizeLinear"),
        "AI Hub's converter has no translation for it (microsoft/onnxruntime issue 25334), though"
        " the emulator runs some",
        "quantise with calibration data instead of dynamically: `lpcvc quantize`",
    ),
    *map(_before_the_compiler, FAULTS),
)
