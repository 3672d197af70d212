"""The rules of the device: on a conforming model none breaks, and each defect breaks its own."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest

from conformance.device.assessment import DeviceAssessment
from conformance.device.bench import Bench
from conformance.device.history import (
    Saved,
    SavedPart,
    compared,
    find_published,
    last_like,
    last_measured,
    read_saved,
    save,
)
from conformance.device.jobs import ORGANISERS, upload_form
from conformance.rulebook import Verdict, all_rules, device_rules_for
from conformance.selftest.assess import broken
from conformance.selftest.models import DEFAULT_TRACKS, conforming, write
from conformance.selftest.scripted_hub import MB, Script, ScriptedHub
from conformance.subject import opened
from conformance.submission.model import Model, Submission
from conformance.verbs.estimate import Question
from reference.depth.contract import DEPTH_2025
from reference.errors import SubmissionError
from reference.npu.anchors import published_anchors
from reference.pidnet.contract import PIDNET
from reference.retrieval.contract import RETRIEVAL_2026
from reference.segmentation.contract import SEGMENTATION_2025
from reference.tracks import Track

pytest.importorskip("qai_hub", reason="needs the hub extra")
pytestmark = pytest.mark.usefixtures("one_process")


def prepare(
    track: Track, folder: Path, script: Script, *, device: str = "", repeats: int = 1, **options
) -> DeviceAssessment:
    folder = Path(tempfile.mkdtemp(dir=folder))
    bench = options.pop("bench", None) or Bench(ScriptedHub(script), repeats, True)
    paths = write(track, folder)
    models = {part: Model(part, "onnx", str(path)) for part, path in paths.items()}
    return DeviceAssessment(
        bench,
        device or track.device,
        opened(track, Submission("made.onnx", models)),
        folder,
        reference=options.pop("reference", False),
        **options,
    )


def verdicts_of(own: DeviceAssessment, *ids: str) -> dict[str, Verdict]:
    """Those of the rules `ids`, or of all."""
    return {rule.id: own.verdict(rule) for rule in own.rules if not ids or rule.id in ids}


def hold(track: Track, folder: Path, script: Script, *ids: str, **options) -> dict[str, Verdict]:
    return verdicts_of(prepare(track, folder, script, **options), *ids)


@pytest.mark.parametrize("track", DEFAULT_TRACKS, ids=lambda track: track.id)
def test_conforming_models_break_nothing(track: Track, tmp_path: Path) -> None:
    script = Script([10.0, 12.0, 11.0], memory=(0, 90 * MB))
    verdicts = hold(track, tmp_path, script, repeats=3, reference=True)
    assert broken(verdicts) == set()
    parts = len(track.parts)
    assert verdicts["DEV-3"].seen == (
        f"{11 * parts} ms, {10 * parts}..{12 * parts} over 3 profile jobs"
    )
    assert verdicts["DEV-6"].seen == f"{2 * parts} on the NPU"
    assert ORGANISERS in verdicts["DEV-2"].seen


DEFECTS = {
    "refused": (Script(fails={"compile": "no such operator"}), {"DEV-1"}),
    "not shared": (Script(deaf=True), {"DEV-2"}),
    "cannot be profiled": (Script(fails={"profile": "out of memory"}), {"DEV-3"}),
    "over budget": (Script([33.4]), {"DEV-4"}),
    "more memory than the sample": (Script(memory=(0, 443 * MB)), {"DEV-5"}),
    "a layer on the CPU": (Script(units=("NPU", "CPU")), {"DEV-6"}),
    "no inference": (Script(fails={"inference": "timed out"}), {"DEV-7"}),
    "another shape": (Script(spoil=lambda x: x[:, 0]), {"DEV-7"}),
    "an answer is missing": (Script(drop=1), {"DEV-7"}),
    "beyond 1": (Script(spoil=lambda x: x * np.float32(1.00001)), {"DEV-8"}),
    "not finite": (Script(spoil=lambda x: np.where(x == x.max(), np.inf, x)), {"DEV-8", "DEV-9"}),
    "another answer": (Script(spoil=lambda x: 1 - x), {"DEV-10"}),
    "a flat map": (Script(spoil=lambda x: x * 0), {"DEV-10", "DEV-13"}),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_each_defect_breaks_its_own_rule(name: str, tmp_path: Path) -> None:
    script, expected = DEFECTS[name]
    device = "Samsung Galaxy S24 (Family)"
    verdicts = hold(DEPTH_2025, tmp_path, script, device=device)
    found = broken(verdicts)
    assert found - {"DEV-10"} == expected - {"DEV-10"}
    assert expected <= found


def test_no_sense_on_the_device_alone(tmp_path: Path) -> None:
    """It is said whose answer it is, and both ranges; an embedding of zeros is another case."""
    for emulated, where in [(True, "on the emulated device"), (False, "on the device")]:
        script = Script(spoil=lambda x: x * 0, emulated=emulated)
        verdict = hold(RETRIEVAL_2026, tmp_path, script)["DEV-13"]
        assert verdict.outcome == "fail"
        assert f"all zeros, float32 1x16 (0..0 over 2 probes) {where}; " in verdict.seen
        assert verdict.seen.count(" on the host") == 2, "one a part"
        assert "scale before the last layer" in verdict.remedy
    kept = hold(RETRIEVAL_2026, tmp_path, Script(spoil=lambda x: x.astype(np.float16) * 1.0))
    assert kept["DEV-13"].outcome == "skip", "of another type (DEV-7)"
    kept = hold(RETRIEVAL_2026, tmp_path, Script())
    assert kept["DEV-13"].seen.endswith(" over 5 probes on the device, as on the host")


def test_latency_at_the_budget(tmp_path: Path) -> None:
    budget = DEPTH_2025.budget_ms
    assert budget is not None
    for milliseconds, kept in [(budget, True), (budget + 0.01, False)]:
        verdict = hold(DEPTH_2025, tmp_path, Script([milliseconds]), "DEV-4")["DEV-4"]
        assert verdict.outcome == ("pass" if kept else "fail")


def test_the_parts_of_a_submission_add_up(tmp_path: Path) -> None:
    """18 ms each is 36 in all: over the 35 of the track."""
    verdict = hold(RETRIEVAL_2026, tmp_path, Script([18.0]), "DEV-4")["DEV-4"]
    assert verdict.outcome == "fail"
    assert verdict.seen == "36 ms"


@pytest.mark.parametrize(("own", "outcome"), [(30.0, "pass"), (30.1, "fail")])
def test_the_sample_is_the_budget_of_segmentation(own: float, outcome: str, tmp_path: Path) -> None:
    script = Script([own, 30.0])
    assessment = prepare(SEGMENTATION_2025, tmp_path, script)
    sample = prepare(SEGMENTATION_2025, tmp_path, script, bench=assessment._bench, reference=True)
    assessment.baseline = sample.entry
    verdict = verdicts_of(assessment, "DEV-4")["DEV-4"]
    assert verdict.outcome == outcome
    assert "it is the sample itself" in verdicts_of(sample, "DEV-4")["DEV-4"].seen


def test_a_card_s_row_is_a_regression_check(tmp_path: Path) -> None:
    """PidNet in float on the S24 as a DLC: 26.036 ms, 24 - 94 MB."""
    rows = ("DEV-5", "DEV-11")
    known = hold(PIDNET, tmp_path, Script([27.0], memory=(24 * MB, 94 * MB)), *rows)
    source = "AI Hub model card PidNet; toolchain not stated"
    assert known["DEV-11"].seen == f"27 ms, of 26.036 ms ({source})"
    assert known["DEV-5"].seen == "24 - 94 MB, of 94 MB"
    slower = hold(PIDNET, tmp_path, Script([27.5]), *rows)
    assert slower["DEV-11"].outcome == "fail"
    elsewhere = hold(PIDNET, tmp_path, Script(), *rows, device="XR2 Gen 2 (Proxy)")
    assert elsewhere["DEV-11"].outcome == elsewhere["DEV-5"].outcome == "skip"


def test_the_leaderboard_s_baseline_is_a_regression_check(tmp_path: Path) -> None:
    """Both parts together, as they are timed; nothing is known of their memory, or of the draft."""
    known = hold(RETRIEVAL_2026, tmp_path, Script([15.0], memory=(0, MB)), "DEV-5", "DEV-11")
    assert known["DEV-11"].seen.startswith("30 ms, of 30.712 ms (LPCVC 2026 Track 1 leaderboard")
    assert known["DEV-5"].outcome == "skip"
    slower = hold(RETRIEVAL_2026, tmp_path, Script([17.0]), "DEV-11")["DEV-11"]
    assert slower.outcome == "fail"
    of_parts = sum(anchor.ms for anchor, _ in published_anchors())
    published = find_published("retrieval-2026", "float", "XR2 Gen 2 (Proxy)", "qnn_dlc")
    assert published.milliseconds == pytest.approx(of_parts)
    assert find_published("retrieval-2026-draft", "float", "XR2 Gen 2 (Proxy)", "qnn_dlc") is None


def test_an_emulated_device_measures_nothing(tmp_path: Path) -> None:
    verdicts = hold(DEPTH_2025, tmp_path, Script([1e6], emulated=True))
    unmeasured = {id for id, v in verdicts.items() if v.seen.startswith("not measured")}
    assert unmeasured == {"DEV-4", "DEV-5", "DEV-11", "DEV-12"}
    assert verdicts["DEV-3"].seen == "emulated, no time is a device's"
    assert broken(verdicts) == set()


def test_jobs_are_submitted_kind_by_kind(tmp_path: Path) -> None:
    """All compile jobs before the first profile, whatever rule asks."""
    first = prepare(RETRIEVAL_2026, tmp_path, Script(), repeats=2)
    second = prepare(DEPTH_2025, tmp_path, Script(), bench=first._bench)
    verdicts_of(second)
    client = first._bench.hub.client
    kinds = ["compile"] * 3 + ["profile", "profile", "inference"] * 3
    assert client.calls == kinds
    assert client.options == [RETRIEVAL_2026.compile_options] * 2 + [DEPTH_2025.compile_options]
    verdicts_of(first)
    assert client.calls == kinds


def test_ids_are_uploaded_as_int32(tmp_path: Path) -> None:
    own = prepare(RETRIEVAL_2026, tmp_path, Script())
    verdicts_of(own)
    (text,) = [d for d in own._bench.hub.client.datasets if "text" in d]
    assert {array.dtype for array in text["text"]} == {np.dtype(np.int32)}
    assert {array.shape for array in text["text"]} == {(1, 77)}


@pytest.mark.parametrize(
    ("do", "reason", "remedy"),
    [
        (
            "compile",
            "Must use --truncate_64bit_io when input tensors have type int64.",
            "add --truncate_64bit_io to the options of that job",
        ),
        (
            "compile",
            "it needs more memory than its limit of 1.0 GiB; allow it more with --memory GIB",
            "allow it more with --memory, also of `lpcvc hub serve` where you have started one",
        ),
        (
            "profile",
            "it gave no answer for 9 s; allow it more with --timeout SECONDS",
            "allow it more with --timeout, also of `lpcvc hub serve` where you have started one",
        ),
    ],
)
def test_the_option_that_a_failure_names_is_the_remedy(
    do: str, reason: str, remedy: str, tmp_path: Path
) -> None:
    id = {"compile": "DEV-1", "profile": "DEV-3"}[do]
    assert hold(DEPTH_2025, tmp_path, Script(fails={do: reason}), id)[id].remedy == remedy


def test_results_are_kept_and_compared(tmp_path: Path) -> None:
    own = prepare(DEPTH_2025, tmp_path, Script([20.0, 22.0, 21.0]), repeats=3)
    assert verdicts_of(own)["DEV-12"].outcome == "skip"
    kept = own.saved()
    assert kept is not None
    assert (kept.milliseconds, kept.spread, kept.memory) == (21.0, (20.0, 22.0), (0, 400 * MB))
    file = tmp_path / "runs.json"
    save(file, [kept])
    save(file, [kept])
    assert read_saved(file) == [kept, kept]
    for milliseconds, outcome in [(22.05, "pass"), (22.06, "fail")]:
        again = hold(DEPTH_2025, tmp_path, Script([milliseconds]), previous=read_saved(file))
        assert again["DEV-12"].outcome == outcome


def saved(
    track: str = "depth-2025",
    emulated: bool = False,
    milliseconds: float | None = 2.0,
    units: dict[str, int] = {"NPU": 3},  # noqa: B006 - not changed
    digest: str = "ab",
) -> Saved:
    parts = {"model": SavedPart("j1", digest, milliseconds)}
    return Saved("2026-11-21T12:00:00+00:00", track, "a.onnx", "S24", "default", emulated,
                 milliseconds, None, None, units, parts)  # fmt: skip


def test_what_has_changed_since_is_one_line() -> None:
    head = "depth-2025 on S24 since 2026-11-21T12:00:00+00:00 (a.onnx): "
    old = saved()
    assert compared(old, None) == (
        "depth-2025 on S24: kept; there is no earlier run of it to compare with"
    )
    assert compared(saved(milliseconds=2.5), old) == (
        f"{head}2.5 ms, before 2 (+25.0%); layers 3 on the NPU; the same file"
    )
    now = saved(milliseconds=None, emulated=True, units={"CPU": 1, "NPU": 2}, digest="cd")
    assert compared(now, old) == (
        f"{head}no time was measured; layers 1 on the CPU, 2 on the NPU"
        " (3 on the NPU before); another file (model)"
    )


def test_the_last_of_the_same_kind_is_compared_with() -> None:
    runs = [saved(milliseconds=1.0), saved(milliseconds=3.0), saved(track="pidnet-2026")]
    runs.append(saved(emulated=True, milliseconds=None))
    assert last_like(runs, saved()) == runs[1]
    assert last_like(runs, saved(emulated=True)) == runs[3]
    assert last_like(runs[:3], saved(emulated=True)) is None


def test_an_emulated_run_is_no_baseline(tmp_path: Path) -> None:
    own = prepare(DEPTH_2025, tmp_path, Script(emulated=True))
    verdicts_of(own)
    kept = own.saved()
    assert kept is not None
    assert kept.emulated
    assert own.verdict(all_rules()["DEV-2"]).seen == (
        f"rehearsed on a local hub, where nobody is told: model with {ORGANISERS}"
    )
    assert own.label == "depth-2025 on Samsung Galaxy S24 (Family) (local AI Hub), made.onnx"
    assert kept.milliseconds is kept.spread is kept.memory is None
    assert last_measured([kept], kept.track, kept.device, kept.runtime) is None


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": 9, "runs": []}', '{"schema": 1, "runs": [{}]}']
)
def test_a_file_of_something_else(text: str, tmp_path: Path) -> None:
    file = tmp_path / "other.json"
    file.write_text(text)
    with pytest.raises(SubmissionError, match=r"other.json does not hold results of device runs"):
        read_saved(file)
    assert file.read_text() == text


def test_external_data_goes_in_a_folder_of_two(tmp_path: Path) -> None:
    """What the client takes: one .onnx and one .data, nothing else."""
    model = conforming("retrieval", "text")
    source = tmp_path / "given"
    source.mkdir()
    onnx.save(model, source / "a.onnx", save_as_external_data=True, location="weights.bin")
    made = upload_form(source / "a.onnx", tmp_path / "made")
    assert sorted(path.name for path in made.iterdir()) == ["model.data", "model.onnx"]
    shutil.rmtree(source)
    loaded = onnx.load(made / "model.onnx")
    assert [t.name for t in loaded.graph.initializer] == [t.name for t in model.graph.initializer]
    assert upload_form(made / "model.onnx", tmp_path / "again") != made


def test_every_rule_has_a_defect() -> None:
    listed = set().union(*(rules for _, rules in DEFECTS.values())) | {"DEV-11", "DEV-12"}
    assert listed == {rule.id for track in DEFAULT_TRACKS for rule in device_rules_for(track)}


def test_saved_is_what_a_person_can_read(tmp_path: Path) -> None:
    run = Saved("2026-11-21T12:00:00+00:00", "depth-2025", "a.onnx", "S24", "default", False, 2.0,
                (1.0, 3.0), None, {"NPU": 3}, {"model": SavedPart("j1", "ab", 2.0)})  # fmt: skip
    save(tmp_path / "runs.json", [run])
    assert '"milliseconds": 2.0,' in (tmp_path / "runs.json").read_text()


def test_what_a_device_measured_anchors_an_estimate(tmp_path: Path) -> None:
    """For the very same file alone; an emulated run anchors nothing."""
    own = prepare(PIDNET, tmp_path, Script([26.0, 28.0]), repeats=2)
    verdicts_of(own)
    kept = own.saved()
    assert kept is not None
    ((_, graph),) = own.evidence.each_graph()
    (anchor,) = Question((), "qnn_dlc", measured=[kept]).anchors_of(graph.path)
    assert (anchor.device.name, anchor.ms, anchor.runtime) == (
        "Samsung Galaxy S24",
        27.0,
        "qnn_dlc",
    )
    other = write(DEPTH_2025, tmp_path)["model"]
    assert Question((), "qnn_dlc", measured=[kept]).anchors_of(other) == []
    emulated = prepare(PIDNET, tmp_path, Script(emulated=True))
    verdicts_of(emulated)
    kept = emulated.saved()
    assert kept is not None
    assert Question((), "qnn_dlc", measured=[kept]).anchors_of(graph.path) == []
