"""What COM-5 knows of operators: the table against the compiler, and what stands beside it."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from conformance.selftest import make_operators
from conformance.selftest.facts import GRAPH, judge, with_standard
from conformance.selftest.make_operators import Result, Variant, all_variants, compile_all
from conformance.selftest.operator_models import OPSETS, as_model, written
from conformance.submission.graph import Graph, Node, Value, read_graph
from conformance.submission.operators import Entry, npu_hazards, read_table, survey, table
from reference.tests.npu_models import needs_compiler

REPEATABLE = settings(derandomize=True, deadline=None, database=None, max_examples=200)
FLOAT, INT8, UINT8 = TensorProto.FLOAT, TensorProto.INT8, TensorProto.UINT8


def disagreements(results: list[Result]) -> list[str]:
    """Where the table says other than the compiler; what it does not know is no disagreement."""
    wrong = []
    for result in results:
        entry, found = table().get(result.variant.op), dict(result.variant.traits)
        refusal = entry.refusal(found) if entry else None
        said = True if refusal else False if entry and entry.takes(found) else None
        if said is not None and said != bool(result.reason):
            wrong.append(f"{result.variant.op} {sorted(found.items())}: {result.reason}")
    return wrong


@needs_compiler
def test_the_table_is_what_the_compiler_does(tmp_path: Path, monkeypatch) -> None:
    """On some of the variants, chosen by chance."""
    draw = random.Random(1)
    some = draw.sample([each for opset in OPSETS for each in written(opset)], 60)
    monkeypatch.setattr(make_operators, "operators", lambda only: some)
    monkeypatch.setenv("LPCVC_CACHE", str(tmp_path / "cache"))
    results = compile_all(all_variants(), tmp_path)
    assert len(results) > 40
    assert disagreements(results) == []


@needs_compiler
@pytest.mark.slow
def test_the_whole_table(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("LPCVC_CACHE", str(tmp_path / "cache"))
    assert disagreements(compile_all(all_variants(), tmp_path)) == []


def test_the_table_has_the_operators_of_vision_and_text() -> None:
    assert len(table()) > 120
    for op in ("Conv", "MatMul", "Softmax", "Resize", "LayerNormalization", "Gather", "Reshape"):
        assert table()[op].taken["T" if "T" in table()[op].taken else "T1"] >= {"float32"}, op


TRAITS = st.fixed_dictionaries(
    {"mode": st.sampled_from("abc"), "rank": st.sampled_from("123"), "T": st.sampled_from("xy")}
)


@REPEATABLE
@given(st.lists(st.tuples(TRAITS, st.sampled_from(["", "no"])), min_size=1, max_size=20))
def test_few_words_say_what_was_measured(
    tmp_path_factory: pytest.TempPathFactory, measured: list[tuple[dict[str, str], str]]
) -> None:
    """No variant that is taken is called refused, nor the other way round."""
    once = {frozenset(traits.items()): reason for traits, reason in measured}
    results = [Result(Variant("Op", traits, ModelProto()), r) for traits, r in once.items()]
    path = tmp_path_factory.mktemp("table") / "operators.tsv"
    make_operators.write(results, path)
    entry = read_table(path)["Op"]
    for traits, reason in once.items():
        assert bool(entry.refusal(dict(traits))) is bool(reason)
        assert reason or entry.takes(dict(traits))


def test_what_was_never_tried_is_not_known() -> None:
    refused = frozenset({("x", "1")})
    entry = Entry({"rank": frozenset("34"), "mode": frozenset("a")}, ((refused, "no"),))
    assert entry.takes({"rank": "3", "mode": "a"})
    assert not entry.takes({"rank": "5", "mode": "a"})
    assert not entry.takes({"rank": "3", "mode": "a", "more": "1"})
    assert entry.refusal({"rank": "9", "x": "1"}) == (refused, "no")


def node(op: str, inputs: str, outputs: str = "y", **attributes: object) -> Node:
    return Node(outputs, op, "", tuple(inputs.split()), tuple(outputs.split()), attributes)


def graph(*nodes: Node, opset: int = 17, **shapes: tuple[int, ...]) -> Graph:
    values = {name: Value(name, "float32", shape) for name, shape in shapes.items()}
    return with_standard(replace(GRAPH, nodes=nodes, opsets={"": opset}, values=values))


def test_operators_that_are_not_known_are_counted_and_named() -> None:
    shape = (1, 2, 3, 4)
    made = graph(
        node("Teleport", "x", "a"), node("Relu", "x", "b"), node("Relu", "z", "c"),
        node("Elu", "z", "d"), opset=99, x=shape, b=shape,
    )  # fmt: skip
    verdict = judge("COM-5", made)
    assert verdict.outcome == "pass"
    assert verdict.seen == (
        "4 nodes, none known to fall back; 3 operators of 3 kinds not known: Elu, Relu, Teleport"
    )
    assert [each.op for each in survey(made).unknown] == ["Teleport", "Relu", "Elu"]


def test_what_is_constant_never_reaches_the_compiler() -> None:
    shape = {"x": (1, 2, 3, 4), "s": (4,), "i": (1, 4)}
    assert npu_hazards(graph(node("Shape", "x", "s"), node("NonZero", "s", "i"), **shape)) == []
    assert len(npu_hazards(graph(node("NonZero", "x", "i"), **shape))) == 1
    dynamic = graph(node("Shape", "q", "s"), node("NonZero", "s", "i"))
    assert [each.node.op for each in npu_hazards(dynamic)] == ["NonZero"]


def test_erf_is_refused_but_in_a_gelu() -> None:
    shapes = dict.fromkeys("xabcde", (1, 4, 8))
    bare = graph(node("Erf", "x", "a"), **shapes)
    assert [each.node.op for each in npu_hazards(bare)] == ["Erf"]
    gelu = graph(node("Div", "x w", "a"), node("Erf", "a", "b"), node("Add", "b w", "c"), **shapes)
    assert npu_hazards(gelu) == []


SCALE, ZERO = ("s", np.float32(0.1)), ("z", np.uint8(128))
ROWS = [("k", np.ones((8, 8, 3, 3), np.int8)), ("ks", np.ones(8, "f4")), ("kz", np.zeros(8, "i1"))]
EIGHT = [ROWS[1], ROWS[2]]
ONE_SCALE = [ROWS[0], ("ks", np.ones(1, "f4")), ("kz", np.zeros(1, "i1"))]


def quantised(text: str, weights: list, tmp_path: Path) -> list[str]:
    """The hazards of `Conv x k -> y; ...`, by operator and output."""
    nodes = []
    for line in text.split(";"):
        op, *inputs, _, output = line.split()
        attributes = {"axis": 0} if op == "DequantizeLinear" and "ks" in inputs else {}
        nodes.append(helper.make_node(op, inputs, [output], output, **attributes))
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, [1, 8, 8, 8])],
        [helper.make_tensor_value_info("y", FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in [SCALE, ZERO, *weights]],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "q.onnx")
    return [each.node.name for each in npu_hazards(read_graph(tmp_path / "q.onnx"))]


ENTER = "QuantizeLinear x s z -> q; DequantizeLinear q s z -> d; DequantizeLinear k ks kz -> w;"
LEAVE = "QuantizeLinear c s z -> p; DequantizeLinear p s z -> y"
ZERO_IS_LOWEST = ("l", np.uint8(0))


@pytest.mark.parametrize(
    ("text", "weights", "hazards"),
    [
        (f"{ENTER} Conv d w -> c; {LEAVE}", ROWS, []),
        (f"{ENTER} Conv d w -> e; Relu e -> c; {LEAVE}", ROWS, ["w"]),
        (f"{ENTER} Conv d w -> e; Relu e -> c; {LEAVE.replace('s z -> p', 's l -> p')}",
         [*ROWS, ZERO_IS_LOWEST], []),
        (f"{ENTER} Conv d w -> y", ROWS, ["w"]),
        ("DequantizeLinear k ks kz -> w; Conv x w -> y", ROWS, ["w"]),
        ("DequantizeLinear k ks kz -> w; Conv x w -> y", ONE_SCALE, []),
        (f"{ENTER} Add d w -> c; {LEAVE}", [("k", np.ones((8, 8, 8), "i1")), *ROWS[1:]], ["w"]),
        ("QuantizeLinear x ks kz -> q; DequantizeLinear q ks kz -> y", EIGHT, ["q", "y"]),
    ],
    ids=["quantised", "relu apart", "relu within", "float behind", "weight", "one", "sum", "both"],
)  # fmt: skip
def test_scales_for_each_channel(text: str, weights: list, hazards: list[str], tmp_path) -> None:
    """As measured: only in a product between (de)quantisations."""
    assert quantised(text, weights, tmp_path) == hazards


@pytest.mark.parametrize(
    ("made", "reason", "remedy"),
    [
        (node("Resize", "x  s", mode="linear", antialias=1), "anti-aliasing", "antialias=False"),
        (node("Trilu", "x"), "`Trilu` are not supported", "constant triangle"),
        (node("CumSum", "x w", exclusive=1), "exclusive", "x.cumsum(dim) - x"),
        (node("Asinh", "x"), "not supported", "write Asinh with operators"),
        (node("Clip", "x x"), "dynamic min/max", "make constants of the inputs"),
        (node("ReduceMin", "x", keepdims=0, axes=[]), "empty list of axes", "name the axes"),
        (node("QLinearMatMul", "x w w w w w w w"), "QOperator form", "QuantFormat.QDQ"),
        (node("DynamicQuantizeLinear", "x"), "AI Hub's converter has no", "lpcvc quantize"),
    ],
    ids=lambda value: value.op if isinstance(value, Node) else None,
)
def test_each_hazard_has_a_remedy_of_its_own(made: Node, reason: str, remedy: str) -> None:
    if made.op == "Resize":
        made = replace(made, inputs=("x", "", "w"))
    opset = 13 if made.op == "ReduceMin" else 18
    (hazard,) = npu_hazards(graph(made, opset=opset, x=(1, 2, 4, 4), y=(1, 2, 4, 4), w=(4,)))
    assert reason in hazard.reason
    assert remedy in hazard.remedy


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn"])
def test_types_that_the_compiler_does_not_have(dtype: str) -> None:
    made = graph(node("Relu", "x"))
    made = replace(made, values={"x": Value("x", dtype, (1, 2))})
    (hazard,) = npu_hazards(made)
    assert "no such type" in hazard.reason
    assert "model.float()" in hazard.remedy


def test_a_variant_is_one_operator_and_runs_on_the_host() -> None:
    one = next(written(17))
    model = as_model(one)
    assert model is not None
    assert [node.name for node in model.graph.node if node.op_type == "Conv"] == ["node"]
    assert as_model(replace(one, inputs=one.inputs[:1])) is None
