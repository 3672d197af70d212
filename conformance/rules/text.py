"""Rules of the models that take token ids."""

from collections.abc import Iterable, Iterator
from itertools import compress, pairwise

from conformance.contract.evidence import Evidence, Run
from conformance.contract.look import change, describe, is_finite, same, told_apart
from conformance.rulebook import Level, Verdict, failed, passed, rule, skipped, takes_text, together
from conformance.rules.behaviour import NO_RUN
from conformance.rules.contract import NO_GRAPH, of_part
from conformance.submission.graph import Graph, Node, Value
from reference.tracks import Part

# Padding may move an embedding by rounding only; a mask not at all but for a few pixels.
PADDING_TOLERANCE = 1e-3
INT64 = 7  # TensorProto.INT64
VOCABULARY = 49408  # CLIP's tokens
# Operators through which token ids go as they are.
_PASS_THROUGH = {
    "Cast",
    "Flatten",
    "Gather",
    "Identity",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
}


@rule(
    "TXT-1",
    Level.DOCUMENTED,
    when=takes_text,
    source="the task: the answer is about the text that is fed",
    remedy="trace with real token ids; check that the text was not folded into a constant",
)
def text_matters(e: Evidence) -> Verdict:
    """Different texts of one length give different answers.

    Texts of other lengths would be told apart by the attention mask, or by where they end.
    """
    again = [(e.pair(run), run) for run in e.runs("retext")]
    pairs = [(one, other) for one, other in again if one and is_finite(one) and is_finite(other)]
    pairs += pairwise(filter(is_finite, e.runs("tail")))
    if not pairs:
        return skipped(NO_RUN)
    apart = [told_apart(one, other) for one, other in pairs]
    if not any(apart):
        first = pairs[0][0]
        seen = f"the same for texts of one length, {_listed(pairs)}: {describe(first.output)}"
        return failed("an answer that depends on the text", seen, first.where)
    return passed(f"told apart: {_listed(compress(pairs, apart))}")


@rule(
    "TXT-2",
    Level.ADVICE,
    when=takes_text,
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
    when=takes_text,
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
    of_onnx=True,
    needs="graph",
    when=takes_text,
    source="retrieval participants: such a Cast fails on the NPU; --truncate_64bit_io does not",
    remedy="use the ids as they come; give the compiler --truncate_64bit_io where they are int64",
)
def no_cast_to_int64(e: Evidence) -> Verdict:
    """Token ids are not cast from int32 to int64 inside the graph."""
    texts = [(part, text, graph) for part, text, graph in _texts(e)]
    offences = (
        failed("int32 ids throughout", f"{node.label} makes them int64", of_part(part))
        for part, text, graph in texts
        if text.dtype == "int32"
        for node in _readers(graph, text.name)
        if node.op == "Cast" and node.attributes.get("to") == INT64
    )
    return together(offences) or (passed("no such Cast") if texts else skipped(NO_GRAPH))


@rule(
    "TXT-5",
    Level.REQUIRED,
    of_onnx=True,
    needs="graph",
    when=takes_text,
    source="each text ends with CLIP's token 49407; an index beyond the table ends a forward pass",
    remedy="give the table a row for each of CLIP's 49408 tokens, or clip the ids in the graph",
)
def token_ids_in_range(e: Evidence) -> Verdict:
    """No token id can point beyond the table that it indexes."""
    return judge_tables(e.each_graph())


def judge_tables(graphs: Iterable[tuple[Part, Graph]]) -> Verdict:
    """Whether each table that is indexed with the token ids as they come has a row for all."""
    tables = [(part, *table) for part, graph in graphs for table in _tables(part, graph)]
    offences = (
        failed(f"{VOCABULARY} rows", f"{rows} rows, read by {node}", of_part(part))
        for part, node, rows in tables
        if rows < VOCABULARY
    )
    if not tables:
        return passed("no table is indexed with the token ids as they come")
    return together(offences) or passed(
        f"tables of {', '.join(str(rows) for _, _, rows in tables)} rows"
    )


def _tables(part: Part, graph: Graph) -> Iterator[tuple[str, int]]:
    """The weights that are indexed with the token ids as they come, with their rows."""
    ids = {str(part.text.name)} if part.text else set()
    for node in graph.nodes:
        source = node.inputs[0] if node.inputs else ""
        if source in ids and node.op in _PASS_THROUGH:
            ids.update(node.outputs)
        elif node.op == "Gather" and ids & set(node.inputs[1:2]) and source in graph.weights:
            shape, axis = graph.weights[source].shape or (), node.attributes.get("axis", 0)
            if isinstance(axis, int) and -len(shape) <= axis < len(shape):
                yield node.label, shape[axis] or 0


def _texts(e: Evidence) -> Iterator[tuple[Part, Value, Graph]]:
    """The parts that take a text, with the input of their graph that does."""
    for part, graph in e.each_graph():
        if part.text is not None:
            own = (value for value in graph.inputs if value.name == part.text.name)
            yield part, next(own, Value("", "unknown", None)), graph


def _readers(graph: Graph, name: str) -> Iterator[Node]:
    """The nodes that see the token ids, also where they were moved or reckoned with as int32."""

    def through(node: Node, ids: str) -> bool:
        if node.op == "Cast":
            return False
        moved = node.op in _PASS_THROUGH and node.inputs[0] == ids
        return moved or any(graph.value(output).dtype == "int32" for output in node.outputs)

    return graph.reached(name, through)


def _listed(pairs: Iterable[tuple[Run, Run]]) -> str:
    return "; ".join(f"{one.probe.name} and {other.probe.name}" for one, other in pairs)
