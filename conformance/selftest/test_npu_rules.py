"""The rules of the NPU: on conforming models none breaks, and each defect breaks its own."""

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto

from conformance.assessment import NpuAssessment, fails_gate
from conformance.evidence import Run
from conformance.npu_evidence import npu_probes
from conformance.rulebook import Level, Verdict, all_rules, npu_rules_for
from conformance.selftest.assess import broken
from conformance.selftest.gate import counts, run_gate
from conformance.selftest.models import conforming, write
from conformance.selftest.mutants import MUTANTS, Mutant
from conformance.selftest.mutants.mutant import cast
from conformance.selftest.surgery import (
    Change,
    Step,
    after,
    both,
    constant,
    redeclare,
    side,
    step,
)
from conformance.submission import open_submission
from reference.npu.devices import find_device
from reference.npu.latency import Estimate
from reference.npu.toolchain import find_toolchain
from reference.tracks import DEFAULTS, DEPTH_2025, RETRIEVAL_2026, SEGMENTATION_2025, TRACKS, Track

STATIC = ("NPU-1", "NPU-2", "NPU-3", "NPU-5")
NO_FLOAT16 = "QCS6490 (Proxy)"


@pytest.fixture(scope="module", autouse=True)
def toolchain(tmp_path_factory: pytest.TempPathFactory) -> None:
    try:
        find_toolchain()
    except Exception as error:
        pytest.skip(str(error))
    patch = pytest.MonkeyPatch()
    patch.setenv("LPCVC_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


def compiled(
    track: Track, specs: list[str], folder: Path, device: str = "", rules: tuple[str, ...] = ()
) -> dict[str, Verdict]:
    """The verdicts of `rules`, or of all."""
    scratch = folder / "scratch"
    scratch.mkdir()
    submission = open_submission(track, specs, scratch)
    chosen = find_device(device or track.device)
    own = NpuAssessment(chosen, track, submission.label, lambda _: submission, scratch)
    return {r.id: own.verdict(r) for r in own.rules if not rules or r.id in rules}


def conforming_specs(track: Track, folder: Path) -> list[str]:
    return [f"{part}={path}" for part, path in write(track, folder).items()]


@pytest.mark.parametrize("track", DEFAULTS.values(), ids=lambda track: track.id)
def test_conforming_models_compile_whole(track: Track, tmp_path: Path) -> None:
    verdicts = compiled(track, conforming_specs(track, tmp_path), tmp_path, rules=STATIC)
    assert {id: v.seen for id, v in verdicts.items() if v.outcome != "pass"} == {}
    assert verdicts["NPU-2"].seen.endswith("nodes, all on the NPU")


def test_a_conforming_model_keeps_every_rule(tmp_path: Path) -> None:
    write(RETRIEVAL_2026, tmp_path)
    options = ["--track=retrieval", "--submission=image=image.onnx", "--submission=text=text.onnx"]
    gate = run_gate(tmp_path, *options, suite="npu")
    assert gate.code == 0, gate.out
    assert counts(gate)["passed"] == len(npu_rules_for(RETRIEVAL_2026)) - 1 == 9
    assert "retrieval-2026 on XR2 Gen 2 (Proxy), image.onnx text.onnx: 9 pass, 1 skip" in gate.out


def test_devices_are_chosen_by_name(tmp_path: Path) -> None:
    write(DEPTH_2025, tmp_path)
    options = ["--track=depth", "--submission=model.onnx", "--device=Samsung Galaxy S23"]
    gate = run_gate(tmp_path, *options, f"--device={NO_FLOAT16}", "-k", "NPU-3", suite="npu")
    assert gate.code == 1
    assert "depth-2025 on Samsung Galaxy S23, model.onnx: 1 pass" in gate.out
    assert f"depth-2025 on {NO_FLOAT16}, model.onnx: 1 FAIL" in gate.out
    assert "a float model, and QCS6490 has no float16" in gate.out
    assert " -m npu --track depth-2025 --submission model.onnx --device " in gate.out


def test_an_unknown_device_is_one_line(tmp_path: Path) -> None:
    gate = run_gate(tmp_path, "--track=depth", "--device=Galaxy S99", suite="npu")
    assert gate.code == 4
    assert gate.lines == [
        "ERROR: unknown device 'Galaxy S99'; choose one of: Samsung Galaxy S25, Samsung Galaxy S24,"
        " Samsung Galaxy S23"
    ]


# Inside a graph float64 does not leave the NPU: it is computed in float16 there.
HAZARDS = [m for m in MUTANTS if "COM-5" in m.rules and "float64" not in m.name]


@pytest.mark.parametrize("mutant", HAZARDS, ids=lambda m: f"{m.track}-{m.name}")
def test_known_hazards_do_leave_the_npu(mutant: Mutant, tmp_path: Path) -> None:
    """What COM-5 knows of operators is what the compiler does."""
    track = TRACKS[mutant.track]
    specs = mutant.submit(tmp_path)
    verdicts = compiled(track, specs, tmp_path, "Samsung Galaxy S24", STATIC)
    assert broken(verdicts) & {"NPU-1", "NPU-2"}


def submit(model: ModelProto, folder: Path, part: str = "text") -> list[str]:
    paths = write(RETRIEVAL_2026, folder)
    onnx.save(model, paths[part])
    return [f"{name}={path}" for name, path in paths.items()]


def test_a_table_that_is_too_short(tmp_path: Path) -> None:
    model = conforming("retrieval", "text")
    constant("table", lambda table: table[:-1])(model)
    verdicts = compiled(RETRIEVAL_2026, submit(model, tmp_path), tmp_path, rules=STATIC)
    assert broken(verdicts) == {"NPU-5"}
    assert verdicts["NPU-5"].seen.startswith("49407 rows, read by Gather ")
    assert verdicts["NPU-5"].where == "text model"


def test_ids_that_are_clipped_fit_any_table(tmp_path: Path) -> None:
    model = conforming("retrieval", "text")
    both(constant("table", lambda t: t[:100]), clip_ids)(model)
    verdicts = compiled(RETRIEVAL_2026, submit(model, tmp_path), tmp_path, rules=STATIC)
    assert broken(verdicts) == set()


def clip_ids(model: ModelProto) -> None:
    """The table is read with min(id, 99)."""
    gather = next(n for n in model.graph.node if n.op_type == "Gather" and n.input[0] == "table")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(99, np.int32), "last"))
    at = list(model.graph.node).index(gather)
    clipped = onnx.helper.make_node("Min", [gather.input[1], "last"], ["clipped"])
    gather.input[1] = "clipped"
    model.graph.node.insert(at, clipped)


def test_an_output_of_another_type(tmp_path: Path) -> None:
    model = conforming("retrieval", "text")
    both(after("embedding", cast(TensorProto.UINT8)), redeclare("embedding", dtype=2))(model)
    verdicts = compiled(RETRIEVAL_2026, submit(model, tmp_path), tmp_path)
    assert broken(verdicts) == {"NPU-4"}
    assert "uint8" in verdicts["NPU-4"].seen


def test_a_file_that_the_compiler_refuses(tmp_path: Path) -> None:
    model = conforming("retrieval", "image")
    side("embedding", "embedding", step("Slice", [0], [0], [1]), op="Concat", axis=1)(model)
    verdicts = compiled(RETRIEVAL_2026, submit(model, tmp_path, "image"), tmp_path)
    assert "NPU-1" in broken(verdicts)
    assert verdicts["NPU-1"].where == "image model"
    assert verdicts["NPU-4"].outcome == "skip"


Answers = np.ndarray | list[np.ndarray]


def made_up(track: Track, answer: Answers, host: Answers) -> SimpleNamespace:
    """An emulated answer to every probe, or one to each, and the host's."""
    (part,) = track.parts
    probes = npu_probes(track, part)
    runs, others = (
        [Run(part, p, (a[i] if isinstance(a, list) else a,), 0.0) for i, p in enumerate(probes)]
        for a in (answer, host)
    )
    return SimpleNamespace(
        track=track,
        runnable=True,
        runs=lambda *_: runs,
        cause=lambda part: "",
        host=SimpleNamespace(runs=lambda *_: others),
    )


ULP = np.float32(1) + np.finfo(np.float32).eps


@pytest.mark.parametrize(
    ("track", "value", "kept"),
    [
        (SEGMENTATION_2025, ULP, True),
        (SEGMENTATION_2025, np.nextafter(ULP, np.float32(2)), False),
        (SEGMENTATION_2025, np.float32(1e-7), True),
        (SEGMENTATION_2025, np.float32(-1e-6), False),
        (SEGMENTATION_2025, np.float32(0.5), False),
        (SEGMENTATION_2025, np.float32(255), False),
        (SEGMENTATION_2025, np.float32("nan"), False),
        (DEPTH_2025, ULP, True),
        (DEPTH_2025, np.float32(0.5), True),
        (DEPTH_2025, np.float32(1 + 2e-6), False),
        (DEPTH_2025, np.float32(-9e-7), True),
        (DEPTH_2025, np.float32(-2e-6), False),
        (DEPTH_2025, np.float32("nan"), False),
    ],
)
def test_values_at_their_bounds(track: Track, value: np.float32, kept: bool) -> None:
    shape = tuple(size or 1 for size in track.parts[0].output.shape)
    answer = np.zeros(shape, np.float32)
    answer[..., 3, 5] = value
    verdict = all_rules()["NPU-6"].check(made_up(track, answer, answer))
    assert verdict.outcome == ("pass" if kept else "fail")
    if not kept:
        assert "1 of " in verdict.seen
        assert verdict.where == "probe 'astronaut'"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", ["NPU", "host"])
def test_a_value_that_is_not_finite_on_either_side(place: str, bad: float) -> None:
    good = np.zeros((1, 1, 480, 640), np.float32)
    spoilt = good.copy()
    spoilt[0, 0, 3, 5] = bad
    answers = (spoilt, good) if place == "NPU" else (good, spoilt)
    verdict = all_rules()["NPU-7"].check(made_up(DEPTH_2025, *answers))
    assert verdict.outcome == "fail"
    assert verdict.seen.startswith(f"on the {place}: 1 of 307200 values, first at (0, 0, 3, 5)")
    assert all_rules()["NPU-7"].check(made_up(DEPTH_2025, good, good)).outcome == "pass"


def heavy(model: ModelProto) -> None:
    """The image goes through convolutions of 256 channels at its full size."""
    shapes = [(256, 3, 3, 3), (256, 256, 3, 3), (3, 256, 3, 3)]
    kernels = [np.full(shape, 1e-3, np.float32) for shape in shapes]
    after("image", *(step("Conv", kernel, pads=[1, 1, 1, 1]) for kernel in kernels))(model)


def test_a_model_that_is_likely_too_slow(tmp_path: Path) -> None:
    """The advice is broken where all of the interval is beyond the limit, on that device."""
    model = conforming("depth")
    heavy(model)
    onnx.save(model, tmp_path / "model.onnx")
    specs = [str(tmp_path / "model.onnx")]
    verdict = compiled(DEPTH_2025, specs, tmp_path, "QCS8275 (Proxy)", ("NPU-8",))["NPU-8"]
    assert verdict.outcome == "fail"
    assert verdict.expected == "at most 33.3 ms"
    assert re.fullmatch(
        r"estimate [\d.]+ ms \([\d.]+\), likely over; not a measurement", verdict.seen
    )


def test_a_model_that_is_likely_fast_enough(tmp_path: Path) -> None:
    specs = conforming_specs(DEPTH_2025, tmp_path)
    verdict = compiled(DEPTH_2025, specs, tmp_path, rules=("NPU-8",))["NPU-8"]
    assert verdict.outcome == "pass"
    assert verdict.seen.startswith("estimate ")
    assert verdict.seen.endswith(", likely within; not a measurement")


def guess(ms: float | None, low: float = 0.8, high: float = 1.2) -> Estimate:
    low, high = (None, None) if ms is None else (ms * low, ms * high)
    device = find_device("Samsung Galaxy S24")
    known = {"milliseconds": ms, "low": low, "high": high, "runtime": "qnn_dlc"}
    return Estimate(device, **known, **dict.fromkeys(REST, ""), reasons=("why",), notes=())


REST = ("confidence", "remedy", "anchor", "calibration", "toolchain")


@pytest.mark.parametrize(
    ("parts", "outcome", "seen"),
    [
        ((10.0, 10.0), "pass", "estimate 20 ms (16..24), likely within"),
        ((15.0, 15.0), "pass", "estimate 30 ms (24..36), unclear"),
        ((14.0, 15.0), "pass", "estimate 29 ms (23.2..34.8), likely within"),
        ((21.0, 22.0), "pass", "estimate 43 ms (34.4..51.6), unclear"),
        ((22.0, 22.0), "fail", "estimate 44 ms (35.2..52.8), likely over"),
        ((1.0, None), "skip", "no latency estimate for Samsung Galaxy S24, qnn_dlc: why"),
    ],
)
def test_the_parts_together_are_held_against_the_limit(
    parts: tuple[float | None, ...], outcome: str, seen: str
) -> None:
    estimates = dict(zip(("image", "text"), map(guess, parts), strict=True))
    evidence = SimpleNamespace(track=RETRIEVAL_2026, estimates=estimates)
    verdict = all_rules()["NPU-8"].check(evidence)
    assert (verdict.outcome, verdict.seen[: len(seen)]) == (outcome, seen)


def test_the_estimate_is_advice() -> None:
    """It fails no gate, and tracks without a limit in milliseconds do not have it."""
    rule = all_rules()["NPU-8"]
    assert rule.level is Level.ADVICE
    assert not fails_gate(rule.level, as_evaluated=False, strict=False)
    assert all(TRACKS[id].budget_ms for id in ("retrieval-2026", "depth-2025"))
    assert not {TRACKS[id].budget_ms for id in ("segmentation-2025", "pidnet")} - {None}
    draft = SimpleNamespace(track=TRACKS["retrieval-2026-draft"])
    assert rule.check(draft).seen == "the track has no limit in milliseconds"


def submit_depth(*changes: Change) -> Callable[[Path], list[str]]:
    def submitted(folder: Path) -> list[str]:
        model = conforming("depth")
        both(*changes)(model)
        onnx.save(model, folder / "model.onnx")
        return [str(folder / "model.onnx")]

    return submitted


def submit_part(part: str, *changes: Change) -> Callable[[Path], list[str]]:
    def submitted(folder: Path) -> list[str]:
        model = conforming("retrieval", part)
        both(*changes)(model)
        return submit(model, folder, part)

    return submitted


def shifted(offset: float) -> list[Step]:
    """The picture in [0, 1] up and down again."""
    return [step("Mul", 1 / 255), step("Add", offset), step("Sub", offset), step("Mul", 255.0)]


# On the host each makes sense; in float16 it is all zeros, flat, or the same for every input.
SENSELESS = {
    "a tiny embedding": (
        RETRIEVAL_2026,
        submit_part("image", after("embedding", step("Mul", 1e-9))),
        ("all zeros, float32 1x16", "Mul 'embedding' is "),
    ),
    "a text between two scales": (
        RETRIEVAL_2026,
        submit_part("text", after("embedding", step("Mul", 3e-9), step("Mul", 1e9))),
        ("all zeros, float32 1x16", "Mul 'embedding_step_0' is "),
    ),
    "an offset above float16": (
        DEPTH_2025,
        submit_depth(after("image", *shifted(1e5))),
        ("one answer to 2 different pictures", "Add 'image_step_1' is 1e+05..1e+05"),
    ),
    "an offset that eats the digits": (
        DEPTH_2025,
        submit_depth(after("image", *shifted(3e4))),
        ("one answer to 2 different pictures", ""),
    ),
}


@pytest.mark.parametrize("name", SENSELESS)
def test_what_makes_sense_on_the_host_alone(name: str, tmp_path: Path) -> None:
    track, submitted, (seen, cause) = SENSELESS[name]
    verdicts = compiled(track, submitted(tmp_path), tmp_path, rules=("NPU-9", "NPU-10"))
    verdict = verdicts["NPU-9"]
    assert verdict.outcome == "fail"
    assert seen in verdict.seen
    assert " on the emulated NPU; " in verdict.seen
    assert " on the host" in verdict.seen
    assert cause in verdict.seen
    assert "scale before the last layer" in verdict.remedy
    assert broken(verdicts) == ({"NPU-9", "NPU-10"} if cause else {"NPU-9"})
    assert all_rules()["NPU-9"].level is Level.REQUIRED
    assert all_rules()["NPU-10"].level is Level.ADVICE


def masks(threshold: float) -> list[np.ndarray]:
    """Of the probes of segmentation: noise above a threshold."""
    rng = np.random.default_rng(2)
    return [(rng.random((1024, 1024)) > threshold).astype(np.float32) for _ in range(4)]


def test_a_mask_that_is_empty_on_the_npu_alone() -> None:
    verdict = all_rules()["NPU-9"].check(made_up(SEGMENTATION_2025, masks(1), masks(0.7)))
    assert verdict.outcome == "fail"
    assert verdict.seen.startswith("empty masks for all 3 probes (0..0 over 3 probes) on the")
    assert all_rules()["NPU-9"].check(made_up(SEGMENTATION_2025, masks(1), masks(1))).seen == (
        "0..0 over 4 probes on the emulated NPU, as on the host"
    )


def test_a_padded_pool_that_the_compiler_puts_elsewhere(tmp_path: Path) -> None:
    """9x9 with a stride of 4, as PIDNet has it, and not the 3x3 beside it."""
    nine = {"kernel_shape": [9, 9], "strides": [4, 4], "pads": [4] * 4, "count_include_pad": 1}
    three = {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [1] * 4}
    small = step("Resize", "", "", np.array([1, 3, 64, 64]), mode="linear")
    full = step("Resize", "", "", np.array([1, 3, 480, 640]), mode="linear")
    pools = [step("AveragePool", **three), step("AveragePool", **nine)]
    specs = submit_depth(after("image", small, *pools, full))(tmp_path)
    verdict = compiled(DEPTH_2025, specs, tmp_path, rules=("NPU-11",))["NPU-11"]
    assert verdict.outcome == "fail"
    assert verdict.seen.startswith("AveragePool 'image_step_2' is off by ")
    assert "image_step_1" not in verdict.seen
    assert verdict.remedy == "write it as a depthwise convolution with constant weights"
    assert all_rules()["NPU-11"].level is Level.ADVICE


def test_reductions_that_onnxruntime_fails_on_compile_whole(tmp_path: Path) -> None:
    """`y.amin()` and `y.amax()` as the legacy exporter writes them."""

    def as_exported(model: ModelProto) -> None:
        for node in model.graph.node:
            if node.op_type in ("ReduceMin", "ReduceMax"):
                del node.attribute[:]
                node.attribute.append(onnx.helper.make_attribute("keepdims", 0))
                empty = onnx.AttributeProto(name="axes", type=onnx.AttributeProto.INTS)
                node.attribute.append(empty)

    specs = submit_depth(as_exported)(tmp_path)
    verdicts = compiled(DEPTH_2025, specs, tmp_path, rules=STATIC)
    assert broken(verdicts) == set()
    assert verdicts["NPU-1"].seen.count("onnxruntime's optimiser fails on its empty list") == 2


def partly_quantised(folder: Path) -> list[str]:
    """QDQ around one of the operators of the depth model."""
    scale, zero = np.float32(1 / 100), np.array(128, np.uint8)
    around = [step("QuantizeLinear", scale, zero), step("DequantizeLinear", scale, zero)]
    again = [step("QuantizeLinear", scale, zero), step("DequantizeLinear", scale, zero)]
    return submit_depth(after("normalised", *around, step("Relu"), *again))(folder)


def test_operators_are_quantised_and_not_graphs(tmp_path: Path) -> None:
    specs = partly_quantised(tmp_path)
    rules = ("NPU-1", "NPU-3")
    verdicts = compiled(DEPTH_2025, specs, tmp_path, rules=rules)
    assert verdicts["NPU-3"].seen == "SM8650 has float16; 1 of 12 operators are quantised"
    (tmp_path / "other").mkdir()
    verdicts = compiled(DEPTH_2025, specs, tmp_path / "other", NO_FLOAT16, rules)
    assert verdicts["NPU-3"].outcome == "fail"
    assert verdicts["NPU-3"].seen == (
        "1 of 12 operators are quantised: Sub 'centred', Div 'normalised', Conv 'conv_2' and 8 more"
        " compute in float, and QCS6490 has no float16"
    )
    assert verdicts["NPU-1"].outcome == "skip"
