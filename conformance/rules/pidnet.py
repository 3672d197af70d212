"""Rules of the PidNet model card beyond the shapes."""

import numpy as np

from conformance.evidence import Evidence
from conformance.graph import elements, nbytes
from conformance.look import value_range
from conformance.rulebook import Level, Verdict, failed, passed, rule, skipped
from conformance.rules.common import NO_RUN
from conformance.rules.contract import NO_GRAPH

TRACKS = ("pidnet",)
PARAMETERS = 7_625_715
SIZE_MIB = 29.1
# Folding batch norms into convolutions removes about 0.2 %; an auxiliary head adds 1.2 %.
TOLERANCE = 0.01


@rule(
    "PID-7",
    Level.DOCUMENTED,
    tracks=TRACKS,
    source="AI Hub recipe: the mask output is logits, compared with PyTorch's by PSNR",
    remedy="leave softmax and argmax to the caller",
)
def logits(e: Evidence) -> Verdict:
    """The output is logits, neither probabilities nor class numbers."""
    runs = e.runs("photo")
    for run in runs:
        sums = np.asarray(run.output, dtype=np.float64).sum(axis=1)
        if np.allclose(sums, 1, atol=1e-3) and (run.output >= 0).all():
            return failed("logits", "probabilities: they sum to 1 over the classes", run.where)
    return passed(value_range(runs)) if runs else skipped(NO_RUN)


@rule(
    "PID-8",
    Level.DOCUMENTED,
    needs="graph",
    tracks=TRACKS,
    source="model card: 7.62M parameters; the inference form has 7,625,715 (erratum E24)",
    remedy="export the inference form of PIDNet-S with 19 classes, without auxiliary heads",
)
def parameter_count(e: Evidence) -> Verdict:
    """The model has the card's 7.62 M parameters, within 1 %."""
    for _, graph in e.each_graph():
        used = graph.used()
        count = sum(elements(v) for v in graph.weights.values() if v.name in used)
        seen = f"{count:,} weights in the graph"
        if abs(count - PARAMETERS) > TOLERANCE * PARAMETERS:
            return failed(f"{PARAMETERS:,}", seen)
        return passed(seen)
    return skipped(NO_GRAPH)


@rule(
    "PID-9",
    Level.DOCUMENTED,
    needs="graph",
    tracks=TRACKS,
    source="model card: 29.1 MB, which are MiB of float32 weights (erratum E15)",
    remedy="store weights as float32, float16 or int8; check for weights stored twice",
)
def weight_size(e: Evidence) -> Verdict:
    """The weights take no more than the card's 29.1 MiB, within 1 %."""
    for _, graph in e.each_graph():
        size = sum(nbytes(value) for value in graph.weights.values()) / 2**20
        if size > SIZE_MIB * (1 + TOLERANCE):
            return failed(f"{SIZE_MIB} MiB", f"{size:.1f} MiB of weights")
        return passed(f"{size:.1f} MiB of weights")
    return skipped(NO_GRAPH)
