"""Rules of the operators in the file: ONNX's own, and such as the NPU takes."""

from conformance.contract.evidence import Evidence
from conformance.rulebook import Level, Verdict, failed, passed, rule, skipped, together
from conformance.rules.contract import NO_GRAPH, of_part
from conformance.submission.graph import Graph
from conformance.submission.operators import Survey, survey
from conformance.submission.standard import count, find_offences, is_unknown

KINDS_NAMED = 6


@rule(
    "COM-4",
    Level.REQUIRED,
    needs="graph",
    source="ONNX's schema registry; measured: onnxruntime refuses at load what it refuses",
    remedy="export with standard operators: replace custom ops and onnxruntime-optimised nodes",
)
def standard_operators(e: Evidence) -> Verdict:
    """All operators are standard ONNX at the opset that the file declares, in that opset's form.

    Each exists there, was not removed, and has inputs, outputs, types and attributes that it
    defines. Of other domains QuantizeLinear and DequantizeLinear of com.microsoft are allowed.
    What is of a newer opset than the installed onnx knows is not judged. A TFLite file is opened
    only where all of its operators are TFLite's own.
    """
    graphs = list(e.each_graph())
    if not graphs:
        return skipped(NO_GRAPH)
    offences = [
        failed("standard ONNX operators", offence.seen, of_part(part), offence.remedy)
        for part, graph in graphs
        for offence in (find_offences(graph) if graph.form == "onnx" else ())
    ]
    return together(offences) or passed("; ".join(dict.fromkeys(_judged(g) for _, g in graphs)))


@rule(
    "COM-5",
    Level.ADVICE,
    of_onnx=True,
    needs="graph",
    source="fixtures/operators.tsv: measured with onnxruntime-qnn 2.7.0 (QAIRT 2.51) for Snapdragon"
    " 8 Gen 3, float16",
    remedy="rewrite the operator; running on the CPU costs copies and latency",
)
def npu_operators(e: Evidence) -> Verdict:
    """No operator is one that Qualcomm's compiler is known to reject or leave to the CPU.

    What it does with each ONNX operator was measured on some 4,000 variants: types, ranks, modes,
    and which inputs are constants. An operator or variant that was not among them is said to be not
    known, and `lpcvc compile` shows it. Also known: operators that AI Hub's own converter lacks
    (DynamicQuantizeLinear), QOperator forms, float64, bfloat16, and scales for each channel outside
    a quantised product.
    """
    surveys = [(part, graph, survey(graph)) for part, graph in e.each_graph()]
    if not surveys:
        return skipped(NO_GRAPH)
    offences = [
        failed("operators of the NPU", f"{count(nodes)}: {reason}", of_part(part), remedy)
        for part, _, surveyed in surveys
        for nodes, reason, remedy in surveyed.groups()
    ]
    seen = [_surveyed(graph, surveyed) for _, graph, surveyed in surveys]
    return together(offences) or passed("; ".join(dict.fromkeys(seen)))


def _judged(graph: Graph) -> str:
    if graph.form == "tflite":
        return f"{len(graph.nodes)} operators, all TFLite's own"
    newer = [node.op for node in graph.nodes if is_unknown(graph, node)]
    kinds = ", ".join(dict.fromkeys(newer))
    note = (
        f"; not known to onnx, which ends at opset {graph.standard.newest}: {kinds}"
        if newer
        else ""
    )
    return f"{len(graph.nodes)} nodes, opset {graph.opset}{note}"


def _surveyed(graph: Graph, surveyed: Survey) -> str:
    kinds = sorted({node.op for node in surveyed.unknown})
    note = ""
    if kinds:
        named = ", ".join(kinds[:KINDS_NAMED]) + (", ..." if len(kinds) > KINDS_NAMED else "")
        note = f"; {len(surveyed.unknown)} operators of {len(kinds)} kinds not known: {named}"
    return f"{len(graph.nodes)} nodes, none known to fall back{note}"
