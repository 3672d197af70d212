"""Rules of every track: the file and its operators."""

from collections.abc import Callable, Iterator

from conformance.contract.evidence import Evidence
from conformance.rulebook import (
    Level,
    Verdict,
    failed,
    passed,
    rule,
    skipped,
    together,
)
from conformance.rules.contract import NO_GRAPH, of_part
from conformance.rules.external import misplaced
from conformance.rules.sizes import open_sizes, sizes_seen
from conformance.submission.graph import Graph, megabytes, nbytes
from conformance.submission.standard import MAX_IR, MAX_OPSET

OLDER_OPSET = "export with opset_version=17"
OLDER_IR = "set model.ir_version = 10 and save it again with onnx.save"
RANDOM = {
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    *("MULTINOMIAL", "RANDOM_STANDARD_NORMAL", "RANDOM_UNIFORM"),  # TFLite's
}


@rule(
    "COM-1",
    Level.REQUIRED,
    needs="graph",
    fatal=True,
    source="AI Hub documentation, compiling models: ONNX with external weights; ONNX specification",
    remedy="keep the weight files beside the .onnx file, named by a relative path",
)
def external_data(e: Evidence) -> Verdict:
    """External weights exist, are complete, and lie inside the model's own folder.

    Shapes, axes and sizes that operators read from a tensor are in the .onnx file itself:
    onnxruntime cannot load a model that has them elsewhere.
    """
    offences = [each for _, graph in e.each_graph() for each in misplaced(graph)]
    return together(offences) or _graphs(e, _size)


@rule(
    "COM-2",
    Level.DOCUMENTED,
    needs="graph",
    source="the track's tensor table; measured: with a dynamic axis QNN takes no node at all",
    remedy="export without dynamic_axes, or use onnxruntime.tools.make_dynamic_shape_fixed",
)
def static_shapes(e: Evidence) -> Verdict:
    """All inputs and outputs are tensors of fixed sizes, the batch axis included.

    Qualcomm's compiler leaves every node of a graph with a dynamic axis to the CPU. An output that
    is declared with open sizes is fixed where the graph and its inputs fix it.
    """
    offences = [each for _, graph in e.each_graph() for each in open_sizes(graph)]
    return together(offences) or _graphs(e, sizes_seen)


@rule(
    "COM-3",
    Level.DOCUMENTED,
    of_onnx=True,
    needs="graph",
    source="qai-hub-models 0.65.0 requires onnx<=1.18.0, which writes IR 11 and opset 23 at most",
    remedy="export with opset_version=17, and save with ir_version=10 or less",
)
def onnx_versions(e: Evidence) -> Verdict:
    """The file's ONNX versions are ones that AI Hub reads: IR 11 and opset 23 at most."""
    offences = (
        failed(
            f"IR <= {MAX_IR}, opset <= {MAX_OPSET}",
            _versions(graph),
            of_part(part),
            OLDER_OPSET if graph.opset > MAX_OPSET else OLDER_IR,
        )
        for part, graph in e.each_graph()
        if graph.ir_version > MAX_IR or graph.opset > MAX_OPSET
    )
    return together(offences) or _graphs(e, _versions)


@rule(
    "COM-6",
    Level.REQUIRED,
    needs="graph",
    source="ONNX specification of the operators; a score that changes from run to run is no score",
    remedy="call model.eval() before the export, and remove sampling from forward()",
)
def no_random_operators(e: Evidence) -> Verdict:
    """No operator draws random numbers; Dropout in training mode counts as one."""
    offences = (
        failed("a deterministic graph", node.label, of_part(part))
        for part, graph in e.each_graph()
        for node in graph.nodes
        if node.op in RANDOM or _training_dropout(node.inputs, node.op, graph)
    )
    return together(offences) or _graphs(e, lambda graph: "none")


@rule(
    "COM-7",
    Level.ADVICE,
    of_onnx=True,
    needs="graph",
    source="engineering practice: bytes that are uploaded, compiled and stored for nothing",
    remedy="run onnxsim, or export again with constant folding and without the training heads",
)
def no_unused_weights(e: Evidence) -> Verdict:
    """Every weight in the file is read by some operator."""

    def offences() -> Iterator[Verdict]:
        for part, graph in e.each_graph():
            used = graph.used()
            unused = [value for name, value in graph.weights.items() if name not in used]
            if unused:
                size = megabytes(sum(nbytes(value) for value in unused))
                seen = f"{len(unused)} unused weights, {size}, first {unused[0].name!r}"
                yield failed("no unused weight", seen, of_part(part))

    return together(offences()) or _graphs(
        e, lambda graph: f"{len(graph.weights)} weights, all used"
    )


def _training_dropout(inputs: tuple[str, ...], op: str, graph: Graph) -> bool:
    return op == "Dropout" and len(inputs) > 2 and any(graph.constants.get(inputs[2], ()))


def _versions(graph: Graph) -> str:
    return f"IR {graph.ir_version}, opset {graph.opset}"


def _size(graph: Graph) -> str:
    external = len({entry.location for entry in graph.external})
    files = f" and {external} weight files" if external else ", weights inside"
    return f"{graph.path.name} {megabytes(graph.file_bytes)}{files}"


def _graphs(e: Evidence, what: Callable[[Graph], str]) -> Verdict:
    if not e.graphs:
        return skipped(NO_GRAPH)
    return passed("; ".join(dict.fromkeys(what(graph) for _, graph in e.each_graph())))
