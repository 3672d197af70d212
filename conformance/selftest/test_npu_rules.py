"""The rules of the NPU: on conforming models none breaks, and each defect breaks its own."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto

from conformance.contract.evidence import Run
from conformance.npu.assessment import NpuAssessment
from conformance.npu.evidence import npu_probes
from conformance.rulebook import Gate, Level, Verdict, all_rules, npu_rules_for
from conformance.selftest.assess import broken
from conformance.selftest.gate import counts, run_gate
from conformance.selftest.models import DEFAULT_TRACKS, conforming, write
from conformance.selftest.mutants import MUTANTS, Mutant
from conformance.selftest.mutants.mutant import cast
from conformance.selftest.surgery import after, both, constant, redeclare, side, step
from conformance.subject import opened
from conformance.submission.opening import open_submission
from reference.depth.contract import DEPTH_2025
from reference.npu.devices import find_device
from reference.npu.latency import Estimate
from reference.npu.toolchain import find_toolchain
from reference.registry import all_tracks
from reference.retrieval.contract import RETRIEVAL_2026
from reference.segmentation.contract import SEGMENTATION_2025
from reference.tracks import Track

pytestmark = pytest.mark.usefixtures("one_process")

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
    own = NpuAssessment(chosen, opened(track, submission), scratch)
    return {r.id: own.verdict(r) for r in own.rules if not rules or r.id in rules}


def conforming_specs(track: Track, folder: Path) -> list[str]:
    return [f"{part}={path}" for part, path in write(track, folder).items()]


@pytest.mark.parametrize("track", DEFAULT_TRACKS, ids=lambda track: track.id)
def test_conforming_models_compile_whole(track: Track, tmp_path: Path) -> None:
    verdicts = compiled(track, conforming_specs(track, tmp_path), tmp_path, rules=STATIC)
    assert {id: v.seen for id, v in verdicts.items() if v.outcome != "pass"} == {}
    assert verdicts["NPU-2"].seen.endswith("nodes, all on the NPU")


def test_a_conforming_model_keeps_every_rule(tmp_path: Path) -> None:
    """But for advice: its pool of three channels is simulated to take 190 ms."""
    write(RETRIEVAL_2026, tmp_path)
    options = ["--track=retrieval", "--submission=image=image.onnx", "--submission=text=text.onnx"]
    gate = run_gate(tmp_path, *options, suite="npu")
    assert gate.code == 0, gate.out
    assert counts(gate)["passed"] == len(npu_rules_for(RETRIEVAL_2026)) - 1 == 9
    assert "retrieval-2026 on XR2 Gen 2 (Proxy), image.onnx text.onnx: 9 pass, 1 warn" in gate.out
    assert "NPU-8 (advice)" in gate.out


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
        "ERROR: unknown device 'Galaxy S99'; the closest are Samsung Galaxy S26, Samsung Galaxy"
        " S25, Samsung Galaxy S24; lpcvc devices lists all 24"
    ]


# These are hazards elsewhere: inside a graph float64 is computed in float16, AI Hub's converter has
# no dynamic quantisation, older compilers no QOperator forms, and all axes are named beforehand.
ELSEWHERE = ("float64", "dynamic quantisation", "QOperator", "all axes")
HAZARDS = [
    m for m in MUTANTS if "COM-5" in m.rules and not any(word in m.name for word in ELSEWHERE)
]
# Each once by default, in the smallest of the models that have it.
BY_SIZE = ("segmentation", "pidnet", "depth", "classification", "retrieval")
BY_DEFAULT = {
    m.name: m for m in sorted(HAZARDS, key=lambda m: BY_SIZE.index(m.track.partition("-")[0]))
}


@pytest.mark.parametrize(
    "mutant",
    [
        pytest.param(
            mutant,
            id=f"{mutant.track}-{mutant.name}",
            marks=[] if mutant in BY_DEFAULT.values() else [pytest.mark.slow],
        )
        for mutant in HAZARDS
    ],
)
def test_known_hazards_do_leave_the_npu(mutant: Mutant, tmp_path: Path) -> None:
    """What COM-5 knows of operators is what the compiler does."""
    track = all_tracks()[mutant.track]
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
    assert broken(verdicts) == {"NPU-4", "NPU-8"}
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
        ((15.0, 15.0), "skip", "undecided: estimate 30 ms (24..36), unclear"),
        ((14.0, 15.0), "pass", "estimate 29 ms (23.2..34.8), likely within"),
        ((21.0, 22.0), "skip", "undecided: estimate 43 ms (34.4..51.6), unclear"),
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
    assert not Gate().fails(rule.level)
    assert all(all_tracks()[id].budget_ms for id in ("retrieval-2026", "depth-2025"))
    assert not {all_tracks()[id].budget_ms for id in ("segmentation-2025", "pidnet")} - {None}
    draft = SimpleNamespace(track=all_tracks()["retrieval-2026-draft"])
    assert rule.check(draft).seen == "the track has no limit in milliseconds"
