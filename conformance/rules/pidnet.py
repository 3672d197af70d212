"""Rules of the PidNet model card beyond the shapes."""

from conformance.contract.evidence import Evidence
from conformance.rulebook import Level, Verdict, failed, passed, rule, skipped
from conformance.rules.contract import NO_GRAPH
from conformance.rules.logits import judge_logits
from conformance.submission.graph import Value, elements, nbytes

KERNELS = 7_601_376
SMALL = 64  # elements of a constant that is no kernel yet, such as a colour matrix
SIZE_MIB = 29.1
# Batch norms, folded or not, are 0.3 % of the weights.
TOLERANCE = 0.01


@rule(
    "PID-7",
    Level.DOCUMENTED,
    source="AI Hub recipe: the mask output is logits, compared with PyTorch's by PSNR",
    remedy="leave softmax, sigmoid and argmax to the caller",
)
def logits(e: Evidence) -> Verdict:
    """The output is logits, neither probabilities nor class numbers.

    Probabilities lie in [0, 1], or sum to one number everywhere, whatever they are scaled by; so do
    the exponentials of their logarithms. The graph tells as well: nothing but scales and shapes
    lies between the squashing operator and the output.
    """
    return judge_logits(e)


@rule(
    "PID-8",
    Level.DOCUMENTED,
    shown_by="facts",
    of_onnx=True,
    needs="graph",
    source="model card: 7.62M parameters; the inference form has 7,625,715 (erratum E24)",
    remedy="export the inference form of PIDNet-S with 19 classes, without auxiliary heads",
)
def parameter_count(e: Evidence) -> Verdict:
    """The kernels have 7,601,376 weights, as those of the inference form of PIDNet-S.

    The other 24,339 of its 7,625,715 parameters are one a channel: exports fold them away or add to
    them, so that they are not counted. The card rounds to 7.62 M.
    """
    for _, graph in e.each_graph():
        used = graph.used()
        weights = [value for value in graph.weights.values() if value.name in used]
        kernels = sum(elements(value) for value in weights if _is_kernel(value))
        whole = sum(map(elements, weights))
        seen = f"{kernels:,} weights in kernels, {whole / 1e6:.2f} M in all"
        if kernels != KERNELS:
            heads = kernels - KERNELS
            more = f"{abs(heads):,} too {'many' if heads > 0 else 'few'}"
            return failed(f"{KERNELS:,}", f"{seen}: {more}")
        return passed(seen)
    return skipped(NO_GRAPH)


def _is_kernel(value: Value) -> bool:
    spread = sum(size != 1 for size in value.shape or ()) > 1
    return spread and elements(value) > SMALL


@rule(
    "PID-9",
    Level.DOCUMENTED,
    shown_by="facts",
    of_onnx=True,
    needs="graph",
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
