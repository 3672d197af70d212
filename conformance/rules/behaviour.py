"""Rules of every track: how a model behaves when it runs, and whether its export does the same."""

import numpy as np

from conformance.contract.evidence import Evidence, Run
from conformance.contract.look import change, describe, first_offence, same, value_range
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
from conformance.submission.graph import Graph
from reference.tracks import Part, format_shape

NO_RUN = "no probe came back with an answer to the contract (COM-8, COM-9)"
NO_EXPORT = "rewrite what cannot be exported, or export it yourself and give the .onnx file"
OVERFLOW = "bound what goes into an exponential, a power or a division: it leaves float32's range"
# Float32 sums taken in another order: 1e-3 of the output's range.
EXPORT_TOLERANCE = 1e-3
# A module in half precision was seen to be 3 steps off its export.
EXPORT_STEPS = 16
# Of a number near 1.
STEPS = {"float16": 2.0**-10, "bfloat16": 2.0**-7}


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
        return could_not_run(error, step)
    broken = _by_part(e, [run for run in attempts if run.error])
    offences = (
        failed("an answer", f"{run.error}{_more(others)}", run.where, _reproduce(e, run.part))
        for run, *others in broken
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
    shown_by="broken",
    source="the metrics: one NaN makes a depth score 0 and a similarity meaningless",
    remedy="look for divisions, logarithms and square roots without an epsilon, and -inf masks",
)
def finite(e: Evidence) -> Verdict:
    """Every value is finite on photographs, noise and texts."""
    return _finite(e, [run for run in e.runs() if run.probe.role != "constant"])


@rule(
    "COM-11",
    Level.DOCUMENTED,
    shown_by="broken",
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
    shown_by="repeats",
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
    shown_by="differences",
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
        failed("an ONNX export", f"of the {part} part: {problem}", remedy=NO_EXPORT)
        for part, problem in e.export_errors.items()
    ]
    worst: dict[str, tuple[float, Verdict]] = {}
    for own, exported in pairs:
        off, offence = _departure(own, exported, export_tolerance(e.graphs[own.part.name]))
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
        return np.inf, failed("an answer of the export too", problem, own.where, NO_EXPORT)
    off = change(own, exported)
    if off <= tolerance:
        return off, passed("within")
    seen = f"off by {off:.2g}: {describe(own.output)}, exported {describe(exported.output)}"
    return off, failed(f"a difference of at most {tolerance:.2g}", seen, own.where)


def export_tolerance(graph: Graph) -> float:
    """The difference that rounding may make to an export, as a share of the output's range."""
    computed = {graph.value(name).dtype for node in graph.nodes for name in node.outputs}
    step = max((step for dtype, step in STEPS.items() if dtype in computed), default=0.0)
    return max(EXPORT_TOLERANCE, EXPORT_STEPS * step)


def _reproduce(e: Evidence, part: Part) -> str:
    runtime = {"onnx": "onnxruntime", "tflite": "LiteRT"}
    where = runtime.get(e.submission.models[part.name].format, "PyTorch")
    return f"reproduce it in {where} with this probe's inputs"


def _finite(e: Evidence, runs: list[Run]) -> Verdict:
    broken = [run for run in runs if not np.isfinite(run.output).all()]
    offences = (
        failed(
            "finite values",
            f"{first_offence(~np.isfinite(run.output), run.output)}{_more(others)}",
            run.where,
            "" if np.isnan(run.output).any() else OVERFLOW,
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
