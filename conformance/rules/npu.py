"""Rules of a compiled model: what Qualcomm's compiler makes of it for one device, what the emulated
NPU answers, and how fast it may be.
"""

from collections.abc import Sequence

from conformance.npu.evidence import NpuEvidence
from conformance.npu.pools import padded_pools
from conformance.rulebook import (
    Level,
    Verdict,
    could_not_run,
    failed,
    passed,
    rule,
    skipped,
    states_values,
    takes_text,
    together,
)
from conformance.rules.compiled import (
    SCALE,
    judge_answers,
    judge_finite,
    judge_sense,
    judge_values,
)
from conformance.rules.contract import of_part
from conformance.rules.text import judge_tables
from conformance.submission.graph import Node, megabytes
from conformance.submission.quantised import operators
from conformance.submission.remedies import hazard_remedies
from reference.errors import SubmissionError
from reference.npu.budget import OVER, UNCLEAR, add_up, judge
from reference.npu.latency import Estimate
from reference.npu.trace import CpuNode

NOT_COMPILED = "not run: there is nothing compiled to look at (NPU-1, NPU-3)"
NO_ANSWER = "no emulated answer of the contract's shape and type (NPU-4)"
_NAMES_SHOWN = 3


@rule(
    "NPU-1",
    Level.REQUIRED,
    needs="npu",
    source="the track's compile options: what AI Hub profiles and scores is a compiled model",
    remedy="read the compiler's log, which `lpcvc compile --output FOLDER` copies",
)
def compiles(e: NpuEvidence) -> Verdict:
    """Qualcomm's compiler makes a context binary of every part, and it fits the chip's memory."""
    if _no_float16(e):
        return skipped("not compiled: the chip has no float16 (NPU-3)")
    sizes, offences = [], []
    for part, _ in e.each_graph():
        compiled = e.compiled[part.name]
        if isinstance(compiled, SubmissionError):
            offences.append(could_not_run(compiled))
        elif compiled.failure:
            remedy = compiled.remedy
            offences.append(failed("a context binary", compiled.failure, of_part(part), remedy))
        else:
            size = megabytes(compiled.binary.stat().st_size)
            rewritten = f"; for onnxruntime: {'; '.join(compiled.notes)}" if compiled.notes else ""
            sizes.append(f"{compiled.placement.npu_ops} operators, {size}{rewritten}")
    if broken := together(offences):
        return broken
    return passed("; ".join(sizes)) if sizes else skipped("no ONNX graph to compile (COM-13)")


@rule(
    "NPU-2",
    Level.DOCUMENTED,
    shown_by="placement",
    needs="npu",
    source="a qnn_dlc or qnn_context_binary holds NPU operators only; errata E19",
    remedy="write the operator in another way: `lpcvc rules --explain COM-5` lists the known ones",
)
def whole(e: NpuEvidence) -> Verdict:
    """Every node runs on the NPU, none is left to the CPU."""
    parts = [(part, graph, e.compiled[part.name]) for part, graph in e.each_graph()]
    made = [(p, g, c) for p, g, c in parts if not isinstance(c, SubmissionError)]
    if _no_float16(e) or not made:
        return skipped(NOT_COMPILED)
    offences = []
    for part, graph, compiled in made:
        left = compiled.placement.cpu
        if left:
            known = hazard_remedies(graph)
            seen = f"{len(left)} nodes on the CPU: {_names(left)}: {left[0].reason}"
            remedies = dict.fromkeys(known.get(node.name) or node.remedy for node in left)
            remedy = "; ".join(filter(None, remedies))
            offences.append(failed("no node on the CPU", seen, of_part(part), remedy))
    if broken := together(offences):
        return broken
    return passed(f"{sum(len(c.placement.npu) for _, _, c in made)} nodes, all on the NPU")


@rule(
    "NPU-3",
    Level.REQUIRED,
    needs="npu",
    source="measured: QAIRT 2.51 says of some chips that they do not support FP16",
    remedy="quantise the model (w8a8), or choose a device whose NPU computes in float16",
)
def float16(e: NpuEvidence) -> Verdict:
    """What is not quantised of a model goes to a device whose NPU has float16."""
    seen = []
    offences = []
    for part, graph in e.each_graph():
        found = operators(graph)
        seen.append(found.label if found.quantised else "a float model")
        if found.floating and not e.device.float16:
            named = f": {_names(found.floating)} compute in float" if found.quantised else ""
            text = f"{seen[-1]}{named}, and {e.device.soc} has no float16"
            offences.append(failed("a quantised model", text, of_part(part)))
    if broken := together(offences):
        return broken
    if not seen:
        return skipped("no ONNX graph to compile (COM-13)")
    kinds = "; ".join(dict.fromkeys(seen))
    return passed(f"{e.device.soc} has float16; {kinds}" if e.device.float16 else kinds)


@rule(
    "NPU-4",
    Level.REQUIRED,
    needs="npu",
    remedy="return one float32 tensor of the contract's shape",
)
def answers(e: NpuEvidence) -> Verdict:
    """Compiled, the model takes the track's inputs and returns the contract's shape and type."""
    return judge_answers(e.attempts() if e.runnable else []) or skipped(NOT_COMPILED)


@rule(
    "NPU-5",
    Level.REQUIRED,
    of_onnx=True,
    when=takes_text,
    needs="npu",
    source="measured: an index beyond the table ends the inference, in the emulator as on the host",
    remedy="give the table a row for each of CLIP's 49408 tokens, or clip the ids in the graph",
)
def token_ids_in_range(e: NpuEvidence) -> Verdict:
    """No token id can point beyond the table that it indexes."""
    return judge_tables(e.each_graph())


@rule(
    "NPU-6",
    Level.REQUIRED,
    shown_by="broken",
    when=states_values,
    needs="npu",
    source="errata E22; measured: 1.0 comes back as 1.0000001",
    remedy="threshold or rescale as the last step, and keep what leads there within float16",
)
def values(e: NpuEvidence) -> Verdict:
    """On the NPU a mask is 0 or 1 to one unit in the last place, and depth in [0, 1] to 1e-6.

    So are the values of any other contract that states a range, to 1e-6 of it.
    """
    return judge_values(e.runs()) or _nothing(e)


@rule(
    "NPU-7",
    Level.DOCUMENTED,
    shown_by="broken",
    needs="npu",
    source="errata E12; measured: 0/0 is 0 on the NPU and NaN on the CPU: each can hide",
    remedy="guard divisions: add an epsilon, or select the divisor where it is not 0",
)
def finite(e: NpuEvidence) -> Verdict:
    """Every answer is finite on the host and on the NPU, to a constant image too."""
    runs = e.runs()
    host = e.host.runs() if runs else []
    return judge_finite({"the NPU": runs, "the host": host}) or _nothing(e)


@rule(
    "NPU-8",
    Level.ADVICE,
    shown_by="estimate",
    when=lambda track: track.budget_ms is not None,
    needs="npu",
    source="the track's limit; fixtures/latency: fitted to published latencies, never measured",
    remedy="see what takes the time with `lpcvc estimate --why`, and measure on AI Hub",
)
def estimated_latency(e: NpuEvidence) -> Verdict:
    """The estimated latency of all parts together may be within the limit of the track.

    It is an estimate with an interval, not a measurement. The rule is broken only where all of the
    interval is beyond the limit, and not judged where the limit lies in it.
    """
    budget = e.track.budget_ms
    if budget is None:
        return skipped("the track has no limit in milliseconds")
    found = []
    for part, estimate in e.estimates.items():
        if not isinstance(estimate, Estimate):
            return skipped(f"no latency estimate of the {part}: {estimate.problem}")
        if estimate.milliseconds is None:
            return skipped(f"{estimate.summary}; {estimate.remedy}")
        found.append(estimate)
    total = add_up(found)
    if not found or total is None:
        return skipped("no ONNX graph to estimate (COM-13)")
    ms, low, high = total
    word = judge(low, high, budget)
    seen = f"estimate {ms:.3g} ms ({low:.3g}..{high:.3g}), {word}; not a measurement"
    if word == UNCLEAR:
        return skipped(f"undecided: {seen}; a device of AI Hub measures it, -m device")
    return failed(f"at most {budget:.3g} ms", seen) if word == OVER else passed(seen)


def _no_float16(e: NpuEvidence) -> bool:
    return not e.device.float16 and any(operators(graph).floating for _, graph in e.each_graph())


def _names(nodes: Sequence[Node | CpuNode]) -> str:
    """The first few of them."""
    more = f" and {len(nodes) - _NAMES_SHOWN} more" if len(nodes) > _NAMES_SHOWN else ""
    return ", ".join(node.label for node in nodes[:_NAMES_SHOWN]) + more


@rule(
    "NPU-9",
    Level.REQUIRED,
    shown_by="differences",
    needs="npu",
    source="the metrics: no score can be made of one answer to everything; measured: QAIRT 2.51",
    remedy=SCALE,
)
def makes_sense(e: NpuEvidence) -> Verdict:
    """What makes sense on the host makes sense on the emulated NPU.

    No embedding is zero or constant there, no depth flat and no mask empty or full on every
    photograph, and the picture and the text change the answer.
    """
    runs = e.runs()
    host = e.host.runs() if runs else []
    return judge_sense(e.track, "on the emulated NPU", runs, host, e.cause) or _nothing(e)


@rule(
    "NPU-10",
    Level.ADVICE,
    of_onnx=True,
    needs="npu",
    source="IEEE 754: float16 ends at 65504, and below 6e-8 it holds 0",
    remedy="scale the tensor where it leaves the range of float16",
)
def in_range(e: NpuEvidence) -> Verdict:
    """On the host no tensor inside the model leaves the range of float16.

    Above 65504 it is wrong on the NPU, and below 6e-8, where all of it is, it is 0. A mask of
    attention that ends in a Softmax may, and so may what is quantised. Nodes inside If and Loop are
    not looked at.
    """
    offences, seen, unseen = [], 0, 0
    for part, _ in e.each_graph():
        ranges = e.ranges[part.name]
        if isinstance(ranges, SubmissionError):
            return skipped(f"{ranges.problem}: {ranges.remedy}")
        seen, unseen = seen + len(ranges.tensors), unseen + ranges.unseen
        offences += [
            failed("float16's 6e-8 to 65504", f"{each.node} is {each}", of_part(part), remedy)
            for each, remedy in e.out_of_range(part.name)
        ]
    if broken := together(offences):
        return broken
    if not seen:
        return skipped("no float tensor could be looked at")
    left = f"; {unseen} could not be looked at" if unseen else ""
    return passed(f"{seen} tensors, all within float16{left}")


@rule(
    "NPU-11",
    Level.ADVICE,
    of_onnx=True,
    needs="npu",
    source="erratum E31; measured each time: a pool alone, emulated and on the host",
    remedy="write the pool as a depthwise convolution with constant weights",
)
def pools_as_on_the_host(e: NpuEvidence) -> Verdict:
    """No padded pool is one that the compiler computes otherwise than the host.

    QAIRT 2.51 puts the windows of some elsewhere, such as 9x9 ones of stride 4. Not seen on a
    device.
    """
    if _no_float16(e):
        return skipped(NOT_COMPILED)
    offences, count = [], 0
    for part, graph in e.each_graph():
        wrong = e.wrong_pools[part.name]
        if isinstance(wrong, SubmissionError):
            return skipped(f"{wrong.problem}: {wrong.remedy}")
        count += len(padded_pools(graph))
        offences += [
            failed(
                "the host's values, to 5 % of the largest",
                f"{each.node.label} is off by {each.error:.2g}, of {each.highest:.2g} at most",
                of_part(part),
                each.remedy,
            )
            for each in wrong
        ]
    if broken := together(offences):
        return broken
    return passed(f"{count} padded pools, each tried alone" if count else "no padded float pool")


def _nothing(e: NpuEvidence) -> Verdict:
    return skipped(NO_ANSWER if e.runnable else NOT_COMPILED)
