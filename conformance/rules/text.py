"""Rules of the models that take token ids."""

from collections.abc import Iterator
from itertools import pairwise

from conformance.evidence import Evidence
from conformance.graph import Graph, Node
from conformance.look import change, describe, is_finite, same
from conformance.rulebook import Level, Verdict, failed, passed, rule, skipped
from conformance.rules.common import NO_RUN
from conformance.rules.contract import NO_GRAPH

TRACKS = ("segmentation", "retrieval")
# Padding may move an embedding by rounding only; a mask not at all but for a few pixels.
PADDING_TOLERANCE = 1e-3
INT64 = 7  # TensorProto.INT64
_MOVES = {"Slice", "Gather", "Squeeze", "Unsqueeze", "Reshape", "Flatten", "Identity", "Split"}


@rule(
    "TXT-1",
    Level.DOCUMENTED,
    tracks=TRACKS,
    source="the task: the answer is about the text that is fed",
    remedy="trace with real token ids; check that the text was not folded into a constant",
)
def text_matters(e: Evidence) -> Verdict:
    """Different texts give different answers."""
    runs = e.runs("text")
    for again in e.runs("retext"):
        first = e.pair(again)
        runs += [run for run in (first, again) if run is not None and run not in runs]
    if len(runs) < 2:
        return skipped(NO_RUN)
    if all(same(a.output, b.output) for a, b in pairwise(runs)):
        seen = f"the same for {len(runs)} texts: {describe(runs[0].output)}"
        return failed("an answer that depends on the text", seen, runs[0].where)
    different = len({run.output.tobytes() for run in runs})
    return passed(f"{different} different answers to {len(runs)} texts")


@rule(
    "TXT-2",
    Level.ADVICE,
    tracks=TRACKS,
    source="erratum E23: the tokenizer pads with the end-of-text token, many encoders with zeros",
    remedy="mask or replace the ids after the first end-of-text token inside the model",
)
def padding_ignored(e: Evidence) -> Verdict:
    """The tokens after the first end-of-text token do not change the answer."""
    for run in filter(is_finite, e.runs("padding")):
        first = e.pair(run)
        if first is not None and is_finite(first):
            moved = change(first, run)
            if not moved <= PADDING_TOLERANCE:
                seen = f"{moved:.2g} of the answer moves when the padding is 0 and not 49407"
                return failed("an answer without the padding", seen, run.where)
            return passed(f"moves by {moved:.2g} when the padding changes")
    return skipped(NO_RUN)


@rule(
    "TXT-3",
    Level.ADVICE,
    tracks=TRACKS,
    source="rules pages: texts are padded or cut to 77 tokens",
    remedy="keep all 77 positions: do not slice the ids or the positional embedding",
)
def long_texts_read(e: Evidence) -> Verdict:
    """The last words of a text of 72 tokens still change the answer."""
    pair = e.runs("tail")
    if len(pair) < 2:
        return skipped(NO_RUN)
    if text_matters(e).outcome != "pass":
        return skipped("no text is read at all (TXT-1)")
    if same(pair[0].output, pair[1].output):
        return failed(
            "answers that differ", "the last word of a long text is not read", pair[0].where
        )
    return passed("two texts that differ in their 70th token give different answers")


@rule(
    "TXT-4",
    Level.ADVICE,
    needs="graph",
    tracks=TRACKS,
    source="retrieval participants: such a Cast fails on the NPU; --truncate_64bit_io does not",
    remedy="use the ids as they come; give the compiler --truncate_64bit_io where they are int64",
)
def no_cast_to_int64(e: Evidence) -> Verdict:
    """Token ids are not cast from int32 to int64 inside the graph."""
    texts = [(part.text, graph) for part, graph in e.each_graph() if part.text]
    for text, graph in texts:
        fed = {value.name: value.dtype for value in graph.inputs}
        for node in _readers(graph, str(text.name)):
            widens = node.op == "Cast" and node.attributes.get("to") == INT64
            if widens and fed.get(str(text.name)) == "int32":
                return failed("int32 ids throughout", f"{node.label} makes them int64")
    return passed("no such Cast") if texts else skipped(NO_GRAPH)


def _readers(graph: Graph, name: str) -> Iterator[Node]:
    """The nodes that see the token ids themselves, behind slices and reshapes as well."""
    names, seen = [name], set[str]()
    while names:
        current = names.pop()
        seen.add(current)
        for node in graph.consumers(current):
            yield node
            if node.op in _MOVES and node.inputs[0] == current:
                names += [output for output in node.outputs if output not in seen]
