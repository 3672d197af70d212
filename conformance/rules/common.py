"""Rules of every track: the file, its operators, and how it behaves when it runs."""

from collections.abc import Callable, Iterator

import numpy as np

from conformance.evidence import Evidence, Run
from conformance.graph import Graph, megabytes, nbytes
from conformance.look import change, describe, first_offence, same, value_range
from conformance.operators import npu_hazards
from conformance.rulebook import (
    Level,
    Verdict,
    could_not_run,
    failed,
    passed,
    rule,
    skipped,
    together,
)
from conformance.rules.contract import NO_GRAPH, of_part
from reference.tracks import format_shape

MAX_IR, MAX_OPSET = 11, 23
# The contrib operators that quantised exports need; Qualcomm's execution provider takes them.
CONTRIB = {"QuantizeLinear", "DequantizeLinear"}
RANDOM = {
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
}
# Float32 sums taken in another order: 1e-3 of the output's range.
EXPORT_TOLERANCE = 1e-3
# A module in half precision was seen to be 3 steps off its export.
EXPORT_STEPS = 16
STEPS = {"float16": 2.0**-10, "bfloat16": 2.0**-7}


@rule(
    "COM-1",
    Level.REQUIRED,
    needs="graph",
    fatal=True,
    source="AI Hub documentation, compiling models: ONNX with external weights; ONNX specification",
    remedy="keep the weight files beside the .onnx file, named by a relative path",
)
def external_data(e: Evidence) -> Verdict:
    """External weights exist, are complete, and lie inside the model's own folder."""
    for _, graph in e.each_graph():
        root = graph.path.resolve().parent
        for external in graph.external:
            file = root / external.location
            name = f"{external.location!r}, which tensor {external.tensor!r} needs,"
            if not file.resolve().is_relative_to(root):
                return failed("weights inside the folder", f"{name} leads outside the folder")
            if not file.is_file():
                return failed("weights beside the model", f"{name} is missing")
            if file.stat().st_size < external.end:
                size = file.stat().st_size
                return failed(f"{external.end} bytes", f"{name} has {size} bytes: cut short")
    return _graphs(e, _size)


@rule(
    "COM-2",
    Level.DOCUMENTED,
    needs="graph",
    source="the track's tensor table; measured: with a dynamic axis QNN takes no node at all",
    remedy="export without dynamic_axes, or use onnxruntime.tools.make_dynamic_shape_fixed",
)
def static_shapes(e: Evidence) -> Verdict:
    """All inputs and outputs have fixed sizes, the batch axis included.

    Qualcomm's compiler leaves every node of a graph with a dynamic axis to the CPU.
    """
    for _, graph in e.each_graph():
        for value in (*graph.inputs, *graph.outputs):
            if value.shape is None or None in value.shape:
                return failed("a fixed shape", value.label)
    return _graphs(e, lambda graph: f"{len(graph.inputs) + len(graph.outputs)} tensors, all fixed")


@rule(
    "COM-3",
    Level.DOCUMENTED,
    needs="graph",
    source="qai-hub-models 0.65.0 requires onnx<=1.18.0, which writes IR 11 and opset 23 at most",
    remedy="export with opset_version=17, and save with ir_version=10 or less",
)
def onnx_versions(e: Evidence) -> Verdict:
    """The file's ONNX versions are ones that AI Hub reads: IR 11 and opset 23 at most."""
    offences = (
        failed(f"IR <= {MAX_IR}, opset <= {MAX_OPSET}", _versions(graph), of_part(part))
        for part, graph in e.each_graph()
        if graph.ir_version > MAX_IR or graph.opset > MAX_OPSET
    )
    return together(offences) or _graphs(e, _versions)


@rule(
    "COM-4",
    Level.REQUIRED,
    needs="graph",
    source="measured: onnxruntime and Qualcomm's compiler reject unknown domains at load",
    remedy="export with standard operators: replace custom ops and onnxruntime-optimised nodes",
)
def standard_operators(e: Evidence) -> Verdict:
    """All operators are standard ONNX (contrib QuantizeLinear and DequantizeLinear allowed)."""
    for _, graph in e.each_graph():
        for node in graph.nodes:
            contrib = node.domain == "com.microsoft" and node.op in CONTRIB
            if node.domain and not contrib:
                return failed("domain ai.onnx", f"{node.domain}::{node.label}")
    return _graphs(e, lambda graph: f"{len(graph.nodes)} nodes, opset {graph.opset}")


@rule(
    "COM-5",
    Level.ADVICE,
    needs="graph",
    source="measured with onnxruntime-qnn 2.7.0 (QAIRT 2.51) for Snapdragon 8 Gen 3, float16",
    remedy="rewrite the operator; running on the CPU costs copies and latency",
)
def npu_operators(e: Evidence) -> Verdict:
    """No operator is one that Qualcomm's compiler is known to reject or leave to the CPU.

    NonZero, Loop, OneHot, NonMaxSuppression, 6-D elementwise arithmetic, 5-D GridSample, the
    mask-head Einsum `bqc,bchw->bqhw`, float64 and others; everything not listed compiles.
    """
    for _, graph in e.each_graph():
        hazards = npu_hazards(graph)
        if hazards:
            shown = "; ".join(f"{hazard.node.label}: {hazard.reason}" for hazard in hazards[:3])
            more = f" (+{len(hazards) - 3} more)" if len(hazards) > 3 else ""
            return failed("operators of the NPU", shown + more, remedy=hazards[0].remedy)
    return _graphs(e, lambda graph: f"{len(graph.nodes)} nodes, none known to fall back")


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


@rule(
    "COM-8",
    Level.REQUIRED,
    source="the evaluator runs the model on every image and text of the hidden test set",
    remedy="reproduce it in onnxruntime with this probe's inputs",
)
def runs_on_every_probe(e: Evidence) -> Verdict:
    """The model runs on every input that an evaluator may feed, without an error."""
    attempts = e.attempts()
    for step, error in e.unrunnable.values():
        return could_not_run(f"{error.problem} ({step})", error.remedy)
    broken = _by_part(e, [run for run in attempts if run.error])
    offences = (
        failed("an answer", f"{run.error}{_more(others)}", run.where) for run, *others in broken
    )
    seconds = sum(run.seconds for run in attempts) / len(attempts)
    runtimes = ", ".join(dict.fromkeys(e.runtimes.values()))
    seen = f"{len(attempts)} probes, {seconds:.2f} s each on this host, {runtimes}"
    return together(offences) or passed(f"{seen}{_renamed(e)}")


@rule(
    "COM-9",
    Level.REQUIRED,
    remedy="declare what the graph really returns: export again with fixed shapes",
)
def answers_as_declared(e: Evidence) -> Verdict:
    """What comes out at run time has the contract's shape and type on every probe."""
    runs = [run for run in e.attempts() if not run.error]
    offences = (
        failed(run.part.output.label, f"{describe(run.output)}{_more(others)}", run.where)
        for run, *others in _by_part(e, [run for run in runs if not run.keeps_contract])
    )
    if broken := together(offences):
        return broken
    shapes = dict.fromkeys(f"{r.output.dtype} {format_shape(r.output.shape)}" for r in runs)
    return passed("; ".join(shapes)) if runs else skipped(NO_RUN)


@rule(
    "COM-10",
    Level.REQUIRED,
    source="the metrics: one NaN makes a depth score 0 and a similarity meaningless",
    remedy="look for divisions, logarithms and square roots without an epsilon, and -inf masks",
)
def finite(e: Evidence) -> Verdict:
    """Every value is finite on photographs, noise and texts."""
    return _finite(e, [run for run in e.runs() if run.probe.role != "constant"])


@rule(
    "COM-11",
    Level.DOCUMENTED,
    source="erratum E12: min-max of a constant map is 0/0, in the sample depth model too",
    remedy="divide by (max - min).clamp(min=1e-6), not by max - min",
)
def finite_on_constant_images(e: Evidence) -> Verdict:
    """Every value is finite on all-black, all-white and all-grey images.

    The NPU can hide this: it answers 0 where the host answers NaN.
    """
    return _finite(e, e.runs("constant"))


@rule(
    "COM-12",
    Level.REQUIRED,
    source="the score that is published is of another run than the one you checked",
    remedy="call model.eval() before the export, and seed or remove whatever draws numbers",
)
def deterministic(e: Evidence) -> Verdict:
    """The same input gives the same output, to the bit."""
    pairs = [(first, run) for run in e.runs("repeat") if (first := e.pair(run)) is not None]
    offences = (
        failed("equal bits in two runs", _difference(first, run), run.where)
        for first, run in pairs
        if not same(first.output, run.output)
    )
    return together(offences) or (passed("two runs, equal bits") if pairs else skipped(NO_RUN))


@rule(
    "COM-13",
    Level.REQUIRED,
    kind="torch",
    source="AI Hub compiles PyTorch by way of ONNX; both forms must be one model",
    remedy="trace with torch.jit.trace in eval mode; data-dependent Python branches are frozen",
)
def export_agrees(e: Evidence) -> Verdict:
    """The ONNX export of a PyTorch submission gives the answers of the original.

    On photographs and texts, within 1e-3 of the output's range, or 16 steps of the lowest precision
    that the model computes in; of a mask, all but 0.1 % of pixels.
    """
    own_runs = [run for run in e.attempts("photo", "text") if not run.error]
    if e.unrunnable or not own_runs:
        return skipped(NO_RUN)
    pairs = [(own, e.exported(own)) for own in own_runs if own.part.name in e.graphs]
    offences = [
        failed("an ONNX export", f"of the {part} part: {problem}")
        for part, problem in e.export_errors.items()
    ]
    worst: dict[str, tuple[float, Verdict]] = {}
    for own, exported in pairs:
        off, offence = _departure(own, exported, _tolerance(e.graphs[own.part.name]))
        if not off <= worst.get(own.part.name, (-1.0, offence))[0]:
            worst[own.part.name] = off, offence
    offences += [offence for _, offence in worst.values() if offence.outcome == "fail"]
    furthest = max((off for off, _ in worst.values()), default=0.0)
    return together(offences) or passed(
        f"difference at most {furthest:.2g} over {len(pairs)} probes"
    )


@rule(
    "COM-14",
    Level.ADVICE,
    kind="torch",
    source="the model that is checked should be the one that is handed in",
    remedy="load your checkpoint in the factory, or call torch.manual_seed in it first",
)
def built_once(e: Evidence) -> Verdict:
    """Two calls of a factory give a model of the same weights.

    All checks are of the first call's, whose weights are taken along from process to process.
    """
    models = e.submission.models
    if not any(model.format == "factory" for model in models.values()):
        return passed("no factory: the file holds its weights")
    if not e.attempts():
        return skipped(NO_RUN)
    offences = (
        failed("equal weights", f"two calls of {models[part].target} differ in {name!r}")
        for part, name in e.built_anew.items()
    )
    return together(offences) or passed("two calls, equal weights")


def _departure(own: Run, exported: Run | None, tolerance: float) -> tuple[float, Verdict]:
    """How far an export's answer is off, and what is said of it."""
    if exported is None or exported.error:
        problem = exported.error if exported else "none"
        return np.inf, failed("an answer of the export too", problem, own.where)
    off = change(own, exported)
    if off <= tolerance:
        return off, passed("within")
    seen = f"off by {off:.2g}: {describe(own.output)}, exported {describe(exported.output)}"
    return off, failed(f"a difference of at most {tolerance:.2g}", seen, own.where)


def _tolerance(graph: Graph) -> float:
    """Of the difference that rounding makes: float16 and bfloat16 have steps of 2^-10 and 2^-7."""
    computed = {graph.value(name).dtype for node in graph.nodes for name in node.outputs}
    step = max((step for dtype, step in STEPS.items() if dtype in computed), default=0.0)
    return max(EXPORT_TOLERANCE, EXPORT_STEPS * step)


NO_RUN = "no probe came back with an answer to the contract (COM-8, COM-9)"


def _finite(e: Evidence, runs: list[Run]) -> Verdict:
    broken = [run for run in runs if not np.isfinite(run.output).all()]
    offences = (
        failed(
            "finite values",
            f"{first_offence(~np.isfinite(run.output), run.output)}{_more(others)}",
            run.where,
        )
        for run, *others in _by_part(e, broken)
    )
    if not runs:
        return skipped("no picture is fed, or no probe came back")
    return together(offences) or passed(value_range(runs))


def _by_part(e: Evidence, runs: list[Run]) -> list[list[Run]]:
    """Those of each part that has any."""
    parts = [[run for run in runs if run.part is part] for part in e.track.parts]
    return [own for own in parts if own]


def _more(others: list[Run]) -> str:
    return f"; likewise on {len(others)} more probes" if others else ""


def _renamed(e: Evidence) -> str:
    """Which inputs were fed although they are called otherwise."""
    fed = [
        f"{value.name!r} as {name}"
        for part, _ in e.each_graph()
        for name, value in (e.inputs(part) or {}).items()
        if value.name != name
    ]
    return f"; fed {', '.join(fed)}" if fed else ""


def _difference(a: Run, b: Run) -> str:
    if a.output.shape != b.output.shape:
        return f"{describe(a.output)}, then {describe(b.output)}"
    bad = a.output != b.output
    return f"differs in {first_offence(bad, b.output)}"


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
