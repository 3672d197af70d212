"""Rules on made-up facts: boundaries, wording and remedies that whole models reach badly."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conformance.contract.evidence import Run
from conformance.contract.probes import TEXTS, Probe
from conformance.rulebook import Verdict, all_rules
from conformance.rules import contract
from conformance.selftest.facts import (
    DEPTH,
    GRAPH,
    IMAGE,
    answered,
    evidence,
    judge,
    judge_answers,
)
from conformance.submission.graph import External, Node, Value
from reference.depth.contract import DEPTH_2025
from reference.errors import SubmissionError
from reference.pidnet.contract import PIDNET
from reference.retrieval.contract import RETRIEVAL_2026
from reference.segmentation.contract import SEGMENTATION_2025


def constant(value: float) -> np.ndarray:
    array = np.zeros((1, 1, 480, 640), np.float32)
    array[..., 0, 0] = 1
    array[..., 5, 7] = value
    return array


def test_extra_inputs_are_to_be_removed_and_other_names_changed() -> None:
    extra = replace(GRAPH, inputs=(IMAGE, Value("scale", "float32", (1,))))
    assert judge("DEP-1", extra).remedy == "remove the extra inputs: scale"
    assert judge("DEP-1", extra).seen == "image, scale"
    twice = replace(GRAPH, inputs=(IMAGE, IMAGE))
    assert judge("DEP-1", twice).remedy == "remove the extra inputs: one name stands twice"
    renamed = replace(GRAPH, inputs=(replace(IMAGE, name="x"),))
    assert judge("DEP-1", renamed).remedy == contract.NAME_INPUTS
    assert judge("DEP-1", replace(GRAPH, inputs=())).seen == "no input"
    assert "none was left" in judge("DEP-1", replace(GRAPH, inputs=())).remedy
    seg = replace(GRAPH, inputs=(replace(IMAGE, name="image_input"),))
    assert judge("SEG-1", seg, SEGMENTATION_2025).remedy.startswith("use text_input in forward()")


def test_what_tensorflow_made_is_mended_in_keras() -> None:
    last = replace(IMAGE, name="input_1", shape=(1, 480, 640, 3))
    flat = Value("output_0", "float32", (1, 480, 640))
    graph = replace(GRAPH, made_by="tf2onnx", inputs=(last,), outputs=(flat,))
    assert judge("DEP-1", graph).remedy == (
        "name the inputs in Keras: keras.Input((3, 480, 640), name='image')"
    )
    assert judge("DEP-2", graph).remedy == (
        "begin with keras.Input((3, 480, 640), name='image') and keras.layers.Permute((2, 3, 1))"
    )
    assert judge("DEP-5", graph).remedy == "end with keras.layers.Reshape((1, 480, 640))"
    mask = replace(graph, outputs=(Value("output_0", "float32", (1024, 1024)),))
    assert judge("SEG-10", mask, SEGMENTATION_2025).remedy == (
        "return a dict in Keras: keras.Model(inputs, {'pred_mask': output})"
    )
    small = replace(graph, inputs=(replace(last, shape=(1, 240, 320, 3)),))
    assert judge("DEP-2", small).remedy == contract.EXACT_INPUT


def test_the_option_for_channels_last_is_named_where_it_decides() -> None:
    option = "--force_channel_last_input image"
    last = replace(IMAGE, shape=(1, 480, 640, 3))
    graph = replace(GRAPH, inputs=(last,))
    assert option not in judge("DEP-2", graph).remedy
    fed_last = replace(DEPTH_2025, compile_options=option)
    assert judge("DEP-2", graph, fed_last).remedy.endswith(
        f"; or compile it without {option}: it takes its channels last as it is"
    )
    (part,) = DEPTH_2025.parts
    parts = (replace(part, inputs=(replace(part.inputs[0], shape=last.shape),)),)
    own = replace(DEPTH_2025, name="own", parts=parts)
    assert judge("DEP-2", GRAPH, own).remedy.endswith(
        f"; or compile it with {option}, which feeds its channels last"
    )


def test_both_encoders_in_one_file_are_to_be_parted() -> None:
    text = Value("text", "int32", (1, 77))
    embeddings = (Value("a", "float32", (1, 16)), Value("b", "float32", (1, 16)))
    both = replace(GRAPH, inputs=(IMAGE, text), outputs=embeddings)
    for rule in ("RET-1", "RET-4"):
        assert judge(rule, both, RETRIEVAL_2026).remedy == contract.ONE_FILE_EACH
    assert judge("RET-4", replace(both, inputs=(IMAGE,)), RETRIEVAL_2026).remedy == (
        contract.ONE_TENSOR
    )


def test_every_offence_is_reported_at_once() -> None:
    wide = replace(IMAGE, name="image_input", shape=(1, 1024, 1024, 3), dtype="float64")
    ids = Value("text_input", "int64", (2, 77))
    graph = replace(GRAPH, inputs=(wide, ids))
    shapes = judge("SEG-2", graph, SEGMENTATION_2025)
    assert shapes.seen == "image_input float64 1x1024x1024x3; text_input int64 2x77"
    assert shapes.remedy == (
        "take 1x3x1024x1024 and begin forward() with x = x.permute(0, 2, 3, 1)"
        " (the axes in another order);"
        " take 2x1x77 and begin forward() with x = x.squeeze(1) (axis 1)"
    )
    assert judge("SEG-3", graph, SEGMENTATION_2025).remedy == (
        "export with a float32 picture, and begin forward() with a cast to float64;"
        " export with int32 ids, and cast to int64 inside forward() if need be"
    )
    parts = judge("RET-5", GRAPH, RETRIEVAL_2026)
    assert (
        parts.seen
        == "depth float32 1x1x480x640 (image model); depth float32 1x1x480x640 (text model)"
    )
    assert judge("DEP-1").seen == "image"


def test_parts_are_named_where_there_are_several() -> None:
    wrong = replace(GRAPH, inputs=())
    assert judge("DEP-1", wrong).where == ""
    both = judge("RET-1", wrong, RETRIEVAL_2026)
    assert both.seen == "no input (image model); no input (text model)"
    image = replace(GRAPH, outputs=(Value("embedding", "float32", (1, 16)),))
    own = evidence(image, RETRIEVAL_2026)
    own.graphs["text"] = GRAPH
    assert all_rules()["RET-5"].check(own).where == "text model"


def test_inputs_of_other_names_are_taken_in_order() -> None:
    other = (replace(IMAGE, name="x"), Value("y", "int64", (1,)))
    assert judge("DEP-2", replace(GRAPH, inputs=other)).outcome == "pass"
    assert judge("DEP-3", replace(GRAPH, inputs=other)).outcome == "pass"
    assert judge("DEP-2", replace(GRAPH, inputs=other[::-1])).seen == "y int64 1"


@pytest.mark.parametrize("count", [0, 1, 2])
def test_one_output(count: int) -> None:
    verdict = judge("DEP-4", replace(GRAPH, outputs=(DEPTH,) * count))
    assert verdict.outcome == ("pass" if count == 1 else "fail")
    assert verdict.seen.startswith("depth" if count == 1 else f"{count} outputs")


@pytest.mark.parametrize("rule", ["DEP-5", "DEP-6"])
def test_what_is_said_of_an_output(rule: str) -> None:
    assert judge(rule).seen == {"DEP-5": "1x1x480x640", "DEP-6": "float32"}[rule]
    assert judge(rule, replace(GRAPH, outputs=())).seen == "none"
    other = Value("more", "int64", (5,))
    assert judge(rule, replace(GRAPH, outputs=(DEPTH, other))) == judge(rule), "DEP-4's matter"
    assert judge(rule, replace(GRAPH, outputs=(other,))).outcome == "fail"


def test_output_names() -> None:
    mask = Value("mask", "float32", (1, 19, 128, 256))
    for outputs in ((mask,), (mask, DEPTH)):
        assert judge("PID-10", replace(GRAPH, outputs=outputs), PIDNET).seen == "mask"
    assert judge("PID-10", replace(GRAPH, outputs=()), PIDNET).seen == "none"
    pred = Value("pred_mask", "float32", (1024, 1024))
    assert judge("SEG-10", replace(GRAPH, outputs=(pred,)), SEGMENTATION_2025).outcome == "pass"


@pytest.mark.parametrize(
    ("ir", "opset", "kept"),
    [(11, 23, True), (10, 22, True), (12, 23, False), (11, 24, False), (3, 7, True)],
)
def test_versions(ir: int, opset: int, kept: bool) -> None:
    verdict = judge("COM-3", replace(GRAPH, ir_version=ir, opsets={"": opset}))
    assert (verdict.outcome == "pass") is kept
    assert verdict.seen == f"IR {ir}, opset {opset}"


@pytest.mark.parametrize(
    ("domain", "op", "kept"),
    [
        ("", "Relu", True),
        ("com.microsoft", "QuantizeLinear", True),
        ("com.microsoft", "DequantizeLinear", True),
        ("com.microsoft", "FusedConv", False),
        ("ai.onnx.contrib", "QuantizeLinear", False),
        ("zz", "QuantizeLinear", False),
    ],
)
def test_domains(domain: str, op: str, kept: bool) -> None:
    node = Node("n", op, domain, ("image",), ("depth",))
    assert (judge("COM-4", replace(GRAPH, nodes=(node,))).outcome == "pass") is kept


@pytest.mark.parametrize(
    ("op", "inputs", "kept"),
    [
        ("Dropout", ("image", "ratio", "yes"), False),
        ("Dropout", ("image", "ratio", "no"), True),
        ("Dropout", ("image", "yes"), True),
        ("Dropout", ("image",), True),
        ("Where", ("image", "ratio", "yes"), True),
        ("Clip", ("image", "ratio", "yes"), True),
        ("RandomUniform", (), False),
        ("RandomUniformLike", ("image",), False),
        ("RandomNormal", (), False),
        ("RandomNormalLike", ("image",), False),
        ("Bernoulli", ("image",), False),
        ("Multinomial", ("image",), False),
    ],
)
def test_random_operators(op: str, inputs: tuple, kept: bool) -> None:
    node = Node("n", op, "", inputs, ("depth",))
    constants = {"ratio": (0.5,), "yes": (1.0,), "no": (0.0,)}
    graph = replace(GRAPH, nodes=(node,), constants=constants)
    assert (judge("COM-6", graph).outcome == "pass") is kept


def test_hazards_are_counted_by_operator_and_each_has_its_remedy() -> None:
    nodes = [Node(f"n{i}", "NonZero", "", ("image",), ("depth",)) for i in range(4)]
    nodes.insert(1, Node("n", "Loop", "", ("image",), ("y",)))
    verdict = judge("COM-5", replace(GRAPH, nodes=tuple(nodes)))
    assert verdict.seen.startswith("4 NonZero nodes, first 'n0': its output has no fixed shape")
    assert verdict.seen.endswith("; Loop 'n': loops and their bodies run on the CPU")
    assert verdict.remedy.startswith("write the selection as arithmetic")
    assert verdict.remedy.endswith("; unroll the loop before the export")


def test_unused_weights_are_counted_and_the_first_is_named() -> None:
    weights = {**GRAPH.weights, **{n: Value(n, "float32", (500, 500)) for n in ("x", "y")}}
    verdict = judge("COM-7", replace(GRAPH, weights=weights))
    assert verdict.seen == "2 unused weights, 2.0 MB, first 'x'"
    assert judge("COM-7").seen == "2 weights, all used"


@pytest.mark.parametrize(
    ("location", "size", "told"),
    [
        ("w.bin", 100, ""),
        ("w.bin", 99, "has 99 bytes: cut short"),
        ("w.bin", 101, ""),
        ("none.bin", 0, "is missing"),
        ("../outside.bin", 0, "leads outside the folder"),
    ],
)
def test_external_data(location: str, size: int, told: str, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "w.bin").write_bytes(bytes(size))
    (tmp_path / "outside.bin").write_bytes(bytes(100))
    external = (External("w", location, 100),)
    verdict = judge("COM-1", replace(GRAPH, path=inner / "my.onnx", external=external))
    assert verdict.outcome == ("fail" if told else "pass")
    assert verdict.seen.endswith(told or "my.onnx 1.0 kB and 1 weight files")
    assert judge("COM-1").seen == "my.onnx 1.0 kB, weights inside"


def test_static_shapes_are_counted() -> None:
    assert judge("COM-2").seen == "2 tensors, all fixed"
    assert judge("COM-2", replace(GRAPH, inputs=(IMAGE,) * 2)).seen == "3 tensors, all fixed"
    assert judge("COM-2", replace(GRAPH, outputs=(replace(DEPTH, shape=None),))).outcome == "fail"


@pytest.mark.parametrize(
    ("off", "kept"), [(0.0, True), (5e-4, True), (1e-3, True), (2e-3, False), (0.9, False)]
)
def test_the_export_may_differ_by_a_thousandth(off: float, kept: bool) -> None:
    own, exported = constant(0.0) * 1000, constant(off) * 1000
    own = answered(DEPTH_2025, {"coffee": own}, {"coffee": exported})
    verdict = all_rules()["COM-13"].check(own)
    assert (verdict.outcome == "pass") is kept
    assert verdict.seen.startswith(
        f"difference at most {off:.2g} over 1 probes" if kept else f"off by {off:.2g}: float32"
    )


def test_the_export_must_answer_where_the_model_does() -> None:
    answers = {"coffee": constant(0.0), "black": constant(0.5)}
    check = all_rules()["COM-13"].check
    assert check(answered(DEPTH_2025, answers)).seen == "none"
    black = {"black": constant(0)}
    assert check(answered(DEPTH_2025, black)).outcome == "skip", "no photograph answered"
    own = answered(DEPTH_2025, answers, answers)
    own.export_errors["model"] = "unknown operator"
    assert check(own).seen == "of the model part: unknown operator"
    own.unrunnable["model"] = ("loading", SubmissionError("it crashed", "mend it"))
    assert check(own).outcome == "skip"


def test_time_is_told_a_probe_and_what_could_not_be_run_on_one_line() -> None:
    check = all_rules()["COM-8"].check
    own = answered(DEPTH_2025, {"coffee": constant(0), "black": constant(0)})
    own.runtimes = {"model": "onnxruntime 1.0 CPU"}
    assert check(own).seen == "2 probes, 2.50 s each on this host, onnxruntime 1.0 CPU"
    own.unrunnable["model"] = ("loading x", SubmissionError("it crashed", "mend it"))
    assert check(own) == Verdict(
        "fail", "could not be run: it crashed (loading x)", remedy="mend it"
    )


@pytest.mark.parametrize(("first", "second"), [(0.5, 0.25), (0.25, 0.5)])
def test_two_runs_that_differ_say_where(first: float, second: float) -> None:
    answers = {"astronaut": constant(first), "astronaut again": constant(second)}
    verdict = judge_answers("COM-12", DEPTH_2025, answers)
    assert verdict.seen == f"differs in 1 of 307200 values, first at (0, 0, 5, 7): {second}"
    assert verdict.where == "probe 'astronaut again'"
    answers["astronaut again"] = constant(first)
    assert judge_answers("COM-12", DEPTH_2025, answers).outcome == "pass"
    del answers["astronaut again"]
    assert judge_answers("COM-12", DEPTH_2025, answers).outcome == "skip"


@pytest.mark.parametrize(("first", "second"), [(8, 16), (16, 8)])
def test_two_runs_of_different_widths_are_both_described(first: int, second: int) -> None:
    name = repr(TEXTS[0])
    answers = {name: np.ones((1, first), "f4"), f"{name} again": np.ones((1, second), "f4")}
    verdict = judge_answers("COM-12", RETRIEVAL_2026, answers)
    assert verdict.outcome == "fail"
    assert verdict.seen == f"float32 1x{first}, 1..1, then float32 1x{second}, 1..1"


def test_only_missing_weights_stop_everything() -> None:
    assert [id for id, rule in all_rules().items() if rule.fatal] == ["COM-1"]


def test_a_run_is_named_by_probe_and_part() -> None:
    probe = Probe("coffee", "photo", dict)
    assert Run(DEPTH_2025.parts[0], probe, (), 0).where == "probe 'coffee'"
    assert Run(RETRIEVAL_2026.part("image"), probe, (), 0).where == "image model, probe 'coffee'"
