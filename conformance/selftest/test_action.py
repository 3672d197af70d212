"""Action recognition held to its contract: both layouts, and what the suites make of clips."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conformance.contract.pictures import answer, difference
from conformance.device.jobs import dataset
from conformance.selftest.assess import assess, assess_models
from conformance.selftest.facts import GRAPH, answered, judge_answers
from conformance.selftest.models import conforming
from conformance.submission.graph import Value
from conformance.verbs.data import check_dataset
from conformance.verbs.quantize import _examples, _pictures
from reference.action.contract import ACTION_2026, ACTION_2026_NCTHW
from reference.data import fixture

pytestmark = pytest.mark.usefixtures("one_process")

SAMPLES = fixture("samples/action")
ASTRONAUT, CHELSEA = "astronaut", "chelsea"


def logits(*best: float, seed: int = 0) -> np.ndarray:
    row = np.random.default_rng(seed).uniform(-1, 1, (1, 92)).astype(np.float32)
    row[0, : len(best)] = best
    return row


def test_the_other_layout_is_told_of_with_its_flag(tmp_path: Path) -> None:
    first = conforming("action-2026-ncthw")
    seen = assess_models(ACTION_2026, {"model": first}, tmp_path)["ACT-2"]
    assert (seen.outcome, seen.seen) == ("fail", "video float32 1x3x16x112x112")
    assert seen.remedy == (
        "take 1x16x112x112x3 and begin forward() with x = x.permute(0, 4, 1, 2, 3) (the axes in"
        " another order); or hold it to action-2026-ncthw, compiled with --target_runtime"
        " qnn_context_binary --force_channel_last_input video; `lpcvc fix` can do this"
    )


def test_and_the_other_way_round(tmp_path: Path) -> None:
    last = conforming("action-2026")
    seen = assess_models(ACTION_2026_NCTHW, {"model": last}, tmp_path)["ACT-2"]
    assert seen.remedy.endswith(
        "or hold it to action-2026, compiled with --target_runtime qnn_context_binary;"
        " `lpcvc fix` can do this"
    )


def test_what_is_compiled_with_the_flag_is_uploaded_channels_last() -> None:
    (part,) = ACTION_2026_NCTHW.parts
    clip = np.arange(3 * 16 * 112 * 112, dtype=np.float32).reshape(1, 3, 16, 112, 112)
    (sent,) = dataset(ACTION_2026_NCTHW, [{"video": clip}])["video"]
    assert sent.shape == (1, 16, 112, 112, 3)
    assert sent.flags.c_contiguous
    assert (sent == clip.transpose(0, 2, 3, 4, 1)).all()
    assert ACTION_2026_NCTHW.input_specs(part) == {"video": ((1, 3, 16, 112, 112), "float32")}
    last = clip.reshape(1, 16, 112, 112, 3)
    assert dataset(ACTION_2026, [{"video": last}])["video"][0].shape == last.shape


def test_which_inputs_are_fed_channels_last() -> None:
    assert ACTION_2026.fed_channels_last == frozenset()
    assert ACTION_2026_NCTHW.fed_channels_last == {"video"}
    two = replace(ACTION_2026, compile_options="--force_channel_last_input a,b --quantize_io")
    assert two.fed_channels_last == {"a", "b"}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (logits(9, 8, 7, 6, 5), ""),
        (logits(200, 40, 30, 20, 10), "5 of the largest logits apart"),
        (logits(1, 2, 3, 4, 5) * np.float32(1e-9), "1 of the largest logits apart"),
        (np.zeros((1, 92), np.float32), ""),
    ],
)
def test_softmax_keeps_the_order(row: np.ndarray, told: str) -> None:
    seen = judge_answers("ACT-8", ACTION_2026, {ASTRONAUT: row})
    assert seen.outcome == ("fail" if told else "pass")
    assert told in seen.expected


def test_answers_are_drawn_beside_four_frames() -> None:
    run, other = (
        answered(ACTION_2026, {ASTRONAUT: row}).runs("photo")[0]
        for row in (logits(9, 8), logits(8, 9))
    )
    drawn = answer(ACTION_2026, run)
    assert drawn is not None
    assert "1: air jump rope, " in drawn.alt
    assert drawn.chart is not None
    apart = difference(ACTION_2026, run, other, "this machine", "NPU")
    assert apart is not None
    assert "air jump rope and alternating forward lunges; largest difference 1 of" in apart.caption


def test_clips_to_calibrate_on() -> None:
    (part,) = ACTION_2026.parts
    folder = _pictures(SAMPLES, {".mp4"})
    assert len(folder) == 4
    graph = replace(GRAPH, inputs=(Value("video", "float32", (1, 16, 112, 112, 3)),))
    made = list(_examples(ACTION_2026, part, graph, folder[:1], [], lambda text: None))
    assert [feeds["video"].shape for feeds in made] == [(1, 16, 112, 112, 3)]


@pytest.mark.parametrize("track", [ACTION_2026, ACTION_2026_NCTHW], ids=lambda track: track.id)
def test_the_sample_set_is_checked(track) -> None:
    text, code = check_dataset(track, SAMPLES)
    assert (text.splitlines()[0].partition(": ")[2], code) == ("4 items, 0 errors, 0 warnings", 0)


def test_odd_clips_are_told_of(tmp_path: Path) -> None:
    (tmp_path / "squats").mkdir()
    (tmp_path / "squats/empty.mp4").write_bytes(b"")
    (tmp_path / "squats/cut.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    text, code = check_dataset(ACTION_2026, tmp_path)
    assert code == 1
    assert "2 items, 2 errors" in text
    assert "empty.mp4' is empty" in text
    assert "cut.mp4' is no video that can be decoded" in text


def test_a_factory_of_each_layout(tmp_path: Path) -> None:
    """PyTorch is fed in the layout of the edition and exported in it."""
    model = "conformance.selftest.peers_clips:Stacked"
    verdicts = assess(ACTION_2026_NCTHW, [model], tmp_path)
    assert verdicts["COM-13"].outcome == "pass"
    assert verdicts["ACT-2"].seen == "1x3x16x112x112"
