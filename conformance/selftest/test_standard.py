"""COM-4 against ONNX's registry and what onnxruntime itself refuses."""

import json
import random
from dataclasses import replace
from pathlib import Path

import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper

from conformance.selftest.facts import GRAPH, judge
from conformance.selftest.operator_models import as_model, written
from conformance.submission.forms import as_data, from_data, read_standard
from conformance.submission.graph import Node, Value, read_graph
from conformance.submission.standard import find_offences

# Not LayerNormalization, of which onnxruntime had its own before ONNX had one, and no function:
# in those, types are refused further inside.
OPERATORS = {"Clip", "GridSample", "Gemm", "Pad", "ReduceMax", "Resize", "TopK", "Trilu"}


def seen(*nodes: Node, opset: int = 17, **values: str):
    """COM-4's verdict on these operators; `values` are the types of tensors."""
    known = {name: Value(name, dtype, (1,)) for name, dtype in values.items()}
    opsets = {"": opset} if opset >= 0 else {}
    return judge("COM-4", replace(GRAPH, nodes=nodes, opsets=opsets, values=known))


def node(op: str, *inputs: str, domain: str = "", name: str = "n", **attributes: object) -> Node:
    return Node(name, op, domain, inputs or ("x",), ("y",), attributes)


@pytest.mark.parametrize(
    ("made", "opset", "told", "remedy"),
    [
        (node("FusedThing"), 17, "no operator of that name", "write FusedThing with standard"),
        (node("relu"), 17, "no operator of that name", "write relu with standard"),
        (node("Gelu"), 17, "not in opset 17", "opset_version>=20"),
        (node("Gelu"), 20, "", ""),
        (node("GroupNormalization", "x", "s", "b", num_groups=2), 17, "not in", "version>=18"),
        (node("GroupNormalization", "x", "s", "b", num_groups=2), 18, "", ""),
        (node("Upsample", "x", "s"), 17, "removed from ONNX in opset 10", "opset 9"),
        (node("Upsample", "x", "s"), 9, "", ""),
        (node("Scatter", "x", "i", "u"), 13, "removed from ONNX in opset 11", "opset 9"),
        (node("ReduceMax", "x", "a"), 13, "2 inputs", "opset_version>=18"),
        (node("ReduceMax", "x", axes=[1]), 18, "no attribute 'axes'", "form of opset 13"),
        (node("Relu", "x", alpha=1.0), 17, "no attribute 'alpha'", "onnx.checker"),
        (node("Relu", "x", __note=1), 17, "", ""),
        (node("Softmax", "x", axis=1.0), 17, "'axis' is no INT", "onnx.checker"),
        (node("Cast", "x"), 17, "'to' is missing", "onnx.checker"),
        (node("Add", "x"), 17, "1 inputs", "onnx.checker"),
        (node("Add", "x", ""), 17, "'B' is missing", "onnx.checker"),
        (node("Clip", "x", "", "x"), 17, "", ""),
        (node("Relu", "i"), 13, "takes no int64 as 'X'", "opset_version>=14 or"),
        (node("Sqrt", "i"), 17, "takes no int64 as 'X'", "cast"),
        (node("Mul", "x", "i"), 17, "float32 and int64, and must be the same", "cast"),
        (node("Relu"), 0, "opset 0 does not exist", "opset_version=17"),
        (node("Relu"), -1, "declares no opset", "opset_version=17"),
    ],
    ids=lambda value: value.op if isinstance(value, Node) else None,
)
def test_the_standard(made: Node, opset: int, told: str, remedy: str) -> None:
    verdict = seen(made, opset=opset, x="float32", i="int64")
    assert verdict.outcome == ("fail" if told else "pass"), verdict
    assert told in verdict.seen
    assert remedy.split(" or")[0] in verdict.remedy or "int32" in verdict.remedy


@pytest.mark.parametrize(
    ("op", "domain", "remedy"),
    [
        ("EPContext", "com.microsoft", "compiled already: give the model that was compiled"),
        ("QLinearAdd", "com.microsoft", "QuantFormat.QDQ"),
        ("QGemm", "com.microsoft", "QuantFormat.QDQ"),
        ("MatMulNBits", "com.microsoft", "QuantFormat.QDQ"),
        ("FusedConv", "com.microsoft", "from before onnxruntime's optimiser"),
        ("Conv", "com.microsoft.nchwc", "from before onnxruntime's optimiser"),
        ("Gelu", "com.microsoft", "ONNX has a Gelu of its own from opset 20 on"),
        ("ATen", "org.pytorch.aten", "without the ATen fallback, with 'trapz' written"),
        ("trapz", "aten", "without the ATen fallback, with 'trapz' written"),
        ("Scaler", "ai.onnx.ml", "the NPU has none of ai.onnx.ml"),
        ("nms", "torchvision", "write nms with standard operators"),
        ("Warp", "com.custom", "write Warp with standard operators"),
    ],
)
def test_other_domains_have_remedies_of_their_own(op: str, domain: str, remedy: str) -> None:
    verdict = seen(node(op, domain=domain, operator="trapz"))
    assert verdict.outcome == "fail"
    assert verdict.seen == f"{op} 'n': an operator of {domain}"
    assert remedy in verdict.remedy


def test_every_offence_is_told_at_once_and_counted() -> None:
    verdict = seen(
        node("Gelu", name="a"), node("Gelu", name="b"), node("Warp"), node("Q", domain="my.ops")
    )
    assert verdict.seen == (
        "2 Gelu nodes, first 'a': not in opset 17; Warp 'n': ONNX has no operator of that name;"
        " Q 'n': an operator of my.ops"
    )
    assert verdict.remedy.startswith("export with opset_version>=20; write Warp with")


def test_an_opset_newer_than_onnx_is_not_judged() -> None:
    newest = onnx.defs.onnx_opset_version()
    verdict = seen(node("Teleport"), node("Relu"), opset=newest + 2)
    assert verdict.outcome == "pass"
    assert verdict.seen.endswith(f"not known to onnx, which ends at opset {newest}: Teleport")
    assert seen(node("Upsample", "x", "s"), opset=newest + 2).outcome == "fail"


def test_the_standard_goes_from_process_to_process() -> None:
    """All of it: each operator in each of its forms."""
    versions: dict[str, list[int]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if not schema.domain:
            versions.setdefault(schema.name, []).append(schema.since_version)
    standard = read_standard([*versions, "Teleport"])
    told = {op: [form.since for form in forms] for op, forms in standard.forms.items()}
    assert told == {**{op: sorted(own) for op, own in versions.items()}, "Teleport": []}
    assert from_data(json.loads(json.dumps(as_data(standard)))) == standard


def damaged(model: ModelProto, draw: random.Random) -> str:
    """Changes one thing about the operator that is called `node`."""
    node = next(node for node in model.graph.node if node.name == "node")
    changes = ["nothing", "opset", "attribute", "input", "no input", "output", "name", "type"]
    change = draw.choice(changes)
    if change == "opset":
        model.opset_import[0].version = draw.randint(7, 23)
    elif change == "attribute":
        given = {attribute.name for attribute in node.attribute}
        name = draw.choice([n for n in ("axes", "axis", "mode", "alpha") if n not in given])
        node.attribute.append(helper.make_attribute(name, 1))
    elif change == "input":
        node.input.append(node.input[0])
    elif change == "no input":
        node.input.pop()
    elif change == "output":
        node.output.append("more")
    elif change == "name":
        node.op_type = draw.choice(["Fused", "Upsample", "Scatter", "Gelu", "relu"])
    elif change == "type":
        value = draw.choice(list(model.graph.input))
        value.type.tensor_type.elem_type = draw.choice(
            [TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL, TensorProto.DOUBLE]
        )
    del model.graph.value_info[:]
    return change


def refused(path: Path) -> bool:
    """Whether onnxruntime calls the graph invalid when it loads it."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes share no other base
        return "INVALID_GRAPH" in str(error) or "bound to different types" in str(error)
    return False


def test_what_is_refused_here_onnxruntime_refuses(tmp_path: Path) -> None:
    """And the other way round, for models that are damaged in one place."""
    draw = random.Random(0)
    path = tmp_path / "my.onnx"
    told = {True: 0, False: 0}
    all_written = [each for opset in (17, 23) for each in written(opset)]
    some = [each for each in all_written if each.node.op_type in OPERATORS]
    for model in filter(None, map(as_model, draw.sample(some, 120))):
        change = damaged(model, draw)
        onnx.save(model, path)
        offences = find_offences(read_graph(path))
        label = f"{change}: {offences or model.graph.node}"
        assert bool(offences) == refused(path), label
        told[bool(offences)] += 1
    assert min(told.values()) > 15, told
