"""Rules on made-up facts: boundaries, wording and remedies that whole models reach badly."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conformance.evidence import Evidence, Run
from conformance.graph import External, Graph, Node, Value
from conformance.probes import Probe, probes_for
from conformance.rulebook import Verdict, all_rules
from conformance.rules.contract import shape_hint
from conformance.submission import Model, Submission
from reference.errors import SubmissionError
from reference.process import Limits
from reference.tracks import DEPTH_2025, PIDNET, RETRIEVAL_2026, SEGMENTATION_2025, Track

IMAGE = Value("image", "float32", (1, 3, 480, 640))
DEPTH = Value("depth", "float32", (1, 1, 480, 640))
GRAPH = Graph(
    path=Path("my.onnx"),
    file_bytes=1000,
    ir_version=8,
    opsets={"": 17},
    inputs=(IMAGE,),
    outputs=(DEPTH,),
    nodes=(Node("net", "Conv", "", ("image", "w", "b"), ("depth",)),),
    weights={"w": Value("w", "float32", (1, 3, 3, 3)), "b": Value("b", "float32", (1,))},
    constants={},
    values={},
    external=(),
)


def evidence(graph: Graph | None = None, track: Track = DEPTH_2025) -> Evidence:
    models = {part.name: Model(part.name, "onnx", "my.onnx") for part in track.parts}
    own = Evidence(track, Submission("made up", models), Path(), lambda text: None, Limits())
    own.graphs = {part.name: graph or GRAPH for part in track.parts}
    return own


def judge(rule: str, graph: Graph | None = None, track: Track = DEPTH_2025) -> Verdict:
    return all_rules()[rule].check(evidence(graph, track))


def answered(answers: dict[str, np.ndarray], exported: dict[str, np.ndarray]) -> Evidence:
    """Depth evidence of a PyTorch model and of its export, by the name of the probe."""
    own = evidence()
    part = DEPTH_2025.parts[0]
    for key, arrays in (("own", answers), ("export", exported)):
        probes = [probe for probe in probes_for(DEPTH_2025, part) if probe.name in arrays]
        own._attempts["model", key] = [
            Run(part, probe, (arrays[probe.name],), 2.0) for probe in probes
        ]
    return own


def constant(value: float) -> np.ndarray:
    array = np.zeros((1, 1, 480, 640), np.float32)
    array[..., 0, 0] = 1
    array[..., 5, 7] = value
    return array


HINTS = [
    ((3, 480, 640), (1, 3, 480, 640), "add the batch axis: x.unsqueeze(0)"),
    ((1, 1024, 1024), (1024, 1024), "drop the leading axis: x.squeeze(0)"),
    ((1, 1, 1024, 1024), (1024, 1024), "drop the leading axes: x.squeeze(0).squeeze(0)"),
    ((1, 480, 640), (1, 1, 480, 640), "add the batch axis: x.unsqueeze(0)"),
    ((4, 480, 640), (4, 1, 480, 640), "add the channel axis: x.unsqueeze(1)"),
    ((1, 480, 640, 3), (1, 3, 480, 640), "the model is channels last"),
    ((1, 3, 640, 480), (1, 3, 480, 640), "height and width are swapped"),
    ((1, 3, 518, 518), (1, 3, 480, 640), ""),
    ((2, 1024, 1024), (1024, 1024), ""),
    ((2, 1, 1024, 1024), (1024, 1024), ""),
    ((1, 2, 1024, 1024), (1024, 1024), ""),
    ((), (1, 3, 480, 640), ""),
    (None, (1, 3, 480, 640), ""),
]


@pytest.mark.parametrize(("found", "wanted", "hint"), HINTS)
def test_shape_hints(found, wanted, hint) -> None:
    told = shape_hint(found, wanted)
    assert told.startswith(hint)
    assert bool(told) == bool(hint)


def test_extra_inputs_are_to_be_removed_and_other_names_changed() -> None:
    extra = replace(GRAPH, inputs=(IMAGE, Value("scale", "float32", (1,))))
    assert judge("DEP-1", extra).remedy == "remove the extra inputs"
    assert judge("DEP-1", extra).seen == "image, scale"
    renamed = replace(GRAPH, inputs=(replace(IMAGE, name="x"),))
    assert judge("DEP-1", renamed).remedy == ""
    assert judge("DEP-1", replace(GRAPH, inputs=())).seen == "no input"
    assert judge("DEP-1").seen == "image"


def test_parts_are_named_where_there_are_several() -> None:
    wrong = replace(GRAPH, inputs=())
    assert judge("DEP-1", wrong).where == ""
    assert judge("RET-1", wrong, RETRIEVAL_2026).where == "image model"


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
    assert judge(rule, replace(GRAPH, outputs=(DEPTH, other))).outcome == "pass", "DEP-4's matter"
    assert judge(rule, replace(GRAPH, outputs=(other,))).outcome == "fail"


def test_output_names() -> None:
    mask = Value("mask", "float32", (1, 19, 128, 256))
    assert judge("PID-10", replace(GRAPH, outputs=(mask,)), PIDNET).seen == "mask"
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
        ("", "Gelu", True),
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


@pytest.mark.parametrize(
    ("count", "told"), [(1, ""), (3, ""), (4, " (+1 more)"), (6, " (+3 more)")]
)
def test_three_hazards_are_named_and_the_rest_counted(count: int, told: str) -> None:
    nodes = tuple(Node(f"n{i}", "NonZero", "", ("image",), ("depth",)) for i in range(count))
    seen = judge("COM-5", replace(GRAPH, nodes=nodes)).seen
    assert seen.count("NonZero") == min(count, 3)
    assert seen.endswith(told or "CPU")
    first = (Node("n", "OneHot", "", ("image",), ("y",)), *nodes)
    assert "arange" in judge("COM-5", replace(GRAPH, nodes=first)).remedy, "that of the first"


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
    assert judge("COM-2", replace(GRAPH, outputs=(replace(DEPTH, shape=None),))).outcome == "fail"


@pytest.mark.parametrize(("off", "kept"), [(0.0, True), (5e-4, True), (2e-3, False), (0.9, False)])
def test_the_export_may_differ_by_a_thousandth(off: float, kept: bool) -> None:
    own = answered({"coffee": constant(0.0)}, {"coffee": constant(off)})
    verdict = all_rules()["COM-13"].check(own)
    assert (verdict.outcome == "pass") is kept
    assert verdict.seen.startswith(
        f"difference at most {off:.2g} over 1 probes" if kept else f"off by {off:.2g}: float32"
    )


def test_the_export_must_answer_where_the_model_does() -> None:
    answers = {"coffee": constant(0.0), "black": constant(0.5)}
    check = all_rules()["COM-13"].check
    assert check(answered(answers, {})).seen == "none"
    assert check(answered({"black": constant(0)}, {})).outcome == "skip", "no photograph answered"
    own = answered(answers, answers)
    own.export_errors["model"] = "unknown operator"
    assert check(own).seen == "of the model part: unknown operator"
    own.unrunnable["model"] = ("loading", SubmissionError("it crashed", "mend it"))
    assert check(own).outcome == "skip"


def test_time_is_told_a_probe_and_what_could_not_be_run_on_one_line() -> None:
    check = all_rules()["COM-8"].check
    own = answered({"coffee": constant(0), "black": constant(0)}, {})
    own.runtimes = {"model": "onnxruntime 1.0 CPU"}
    assert check(own).seen == "2 probes, 2.00 s each on this host, onnxruntime 1.0 CPU"
    own.unrunnable["model"] = ("loading x", SubmissionError("it crashed", "mend it"))
    assert check(own) == Verdict(
        "fail", "could not be run: it crashed (loading x)", remedy="mend it"
    )


def test_two_runs_that_differ_say_where() -> None:
    check = all_rules()["COM-12"].check
    other = constant(0.25)
    verdict = check(answered({"astronaut": constant(0.5), "astronaut again": other}, {}))
    assert verdict.seen == "differs in 1 of 307200 values, first at (0, 0, 5, 7): 0.25"
    assert verdict.where == "probe 'astronaut again'"
    same = check(answered({"astronaut": other, "astronaut again": other.copy()}, {}))
    assert same.outcome == "pass"
    assert check(answered({"astronaut": other}, {})).outcome == "skip"


def test_a_run_is_named_by_probe_and_part() -> None:
    probe = Probe("coffee", "photo", dict)
    assert Run(DEPTH_2025.parts[0], probe, (), 0).where == "probe 'coffee'"
    assert Run(RETRIEVAL_2026.part("image"), probe, (), 0).where == "image model, probe 'coffee'"


def mask_evidence(**masks: np.ndarray) -> Evidence:
    own = evidence(track=SEGMENTATION_2025)
    part = SEGMENTATION_2025.parts[0]
    own._attempts["model", "own"] = [
        Run(part, probe, (masks[probe.name],), 0.0)
        for probe in probes_for(SEGMENTATION_2025, part)
        if probe.name in masks
    ]
    return own


def mask(*values: float) -> np.ndarray:
    """A mask of zeros with values from the left upper corner on."""
    array = np.zeros((1024, 1024), np.float32)
    array[0, : len(values)] = values
    return array


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ((-0.5, 0.5), "this looks like logits"),
        ((-0.5, 255.0), "this looks like logits"),
        ((0.25, 0.75), "this looks like probabilities"),
        ((0.25, 1.0), "this looks like probabilities"),
        ((255.0,), "divide a 0/255 mask by 255"),
        ((255.0, 3.0), "divide a 0/255 mask by 255"),
        ((2.0,), ""),
        ((300.0,), ""),
    ],
)
def test_what_was_returned_instead_of_a_mask(values: tuple, told: str) -> None:
    verdict = all_rules()["SEG-7"].check(mask_evidence(coffee=mask(*values)))
    assert verdict.outcome == "fail"
    assert verdict.remedy.startswith(told)
    assert bool(verdict.remedy) == bool(told)


def test_mask_pixels_in_the_padding_are_counted() -> None:
    """Coffee is 1024x682; of eight mask pixels two lie below it."""
    array = mask(1, 1, 1, 1, 1, 1)
    array[682, :2] = 1
    verdict = all_rules()["SEG-8"].check(mask_evidence(coffee=array))
    assert verdict.seen == "2 mask pixels outside the 682x1024 picture, 25% of the mask"
    array[682, :2] = 0.5
    assert all_rules()["SEG-8"].check(mask_evidence(coffee=array)).outcome == "pass"
    array[:] = 0
    array[681, 1023] = 1
    assert all_rules()["SEG-8"].check(mask_evidence(coffee=array)).outcome == "pass"


def test_the_share_of_the_mask_is_told() -> None:
    check = all_rules()["SEG-9"].check
    half = np.zeros((1024, 1024), np.float32)
    half[:256] = 1
    half[256:512] = 0.5
    empty, full = np.zeros_like(half), np.ones_like(half)
    assert check(mask_evidence(coffee=half, rocket=full)).seen == "coffee 25%, rocket 100%"
    assert check(mask_evidence(coffee=empty, rocket=full)).outcome == "fail"
    assert check(mask_evidence(coffee=empty, rocket=half)).outcome == "pass"


@pytest.mark.parametrize(("count", "kept"), [(7_549_458, True), (7_549_457, False)])
def test_parameters_within_a_hundredth(count: int, kept: bool) -> None:
    weights = {"w": Value("w", "float32", (count,))}
    assert (judge("PID-8", replace(GRAPH, weights=weights), PIDNET).outcome == "pass") is kept
    more = {"w": Value("w", "float32", (2 * 7_625_715 - count,))}
    assert (judge("PID-8", replace(GRAPH, weights=more), PIDNET).outcome == "pass") is kept
    unread = {**weights, "x": Value("x", "float32", (10**6,))}
    assert judge(
        "PID-8", replace(GRAPH, weights=unread), PIDNET
    ).seen == f"{count:,} weights in" + (" the graph")


@pytest.mark.parametrize(("mib", "kept"), [(29.0, True), (29.39, True), (29.4, False)])
def test_weights_within_a_hundredth_of_the_cards_size(mib: float, kept: bool) -> None:
    weights = {"w": Value("w", "float32", (int(mib * 2**18),))}
    verdict = judge("PID-9", replace(GRAPH, weights=weights), PIDNET)
    assert (verdict.outcome == "pass") is kept
    assert verdict.seen == f"{mib:.1f} MiB of weights"


def depth_answer(sky: float, ground: float) -> np.ndarray:
    """A map of 0.5 with an upper third and a lower eighth of their own, between 0 and 1."""
    array = np.full((1, 1, 480, 640), 0.5, np.float32)
    array[..., :160, :] = sky
    array[..., 420:, :] = ground
    array[..., 200, :2] = 0, 1
    return array


@pytest.mark.parametrize(
    ("sky", "ground", "outcome", "told"),
    [
        (0.9, 0.2, "pass", "sky 0.90, ground 0.20"),
        (0.2, 0.9, "fail", "sky 0.20, ground 0.90"),
        (0.45, 0.5, "pass", "undecided: sky 0.45, ground 0.50"),
        (0.375, 0.5, "fail", "sky 0.38, ground 0.50"),
    ],
)
def test_direction_of_depth(sky: float, ground: float, outcome: str, told: str) -> None:
    verdict = all_rules()["DEP-8"].check(answered({"rocket": depth_answer(sky, ground)}, {}))
    assert (verdict.outcome, verdict.seen) == (outcome, told)
    other = answered({"coffee": depth_answer(0.2, 0.9)}, {})
    assert all_rules()["DEP-8"].check(other).outcome == "skip", "judged by the rocket alone"


def test_flat_maps() -> None:
    check = all_rules()["DEP-9"].check
    ramp = np.linspace(0, 1, 480 * 640, dtype=np.float32).reshape(1, 1, 480, 640)
    assert check(answered({"coffee": ramp}, {})).seen == "at least 90% of the range"
    squeezed = ramp * 0.1
    squeezed[..., -1, -1] = 1
    assert check(answered({"coffee": squeezed}, {})).outcome == "fail"
    assert check(answered({"coffee": ramp * 0 + 0.5}, {})).outcome == "fail"
    assert check(answered({"noise": squeezed}, {})).outcome == "skip", "photographs alone"
