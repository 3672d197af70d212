"""Each defect breaks exactly the rules it should, and conforming models break none."""

import shutil

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from conformance.rulebook import all_rules
from conformance.selftest.assess import assess, assess_models, broken
from conformance.selftest.matrix import attempt, label
from conformance.selftest.models import MODEL_TRACKS, conforming
from conformance.selftest.mutants import MUTANTS, Mutant, packages
from conformance.selftest.packages import TEAM, write_folder, zipped
from conformance.selftest.surgery import after, both, bypass, constant, redeclare, step
from reference.depth.contract import DEPTH_2025
from reference.registry import all_tracks
from reference.retrieval.contract import RETRIEVAL_2026
from reference.segmentation.contract import SEGMENTATION_2025
from reference.tracks import Track


def test_a_conforming_package_keeps_every_rule(tmp_path) -> None:
    track = all_tracks()["aigc-2026"]
    for spec in (write_folder(tmp_path), zipped(tmp_path / TEAM)):
        verdicts = assess(track, [str(spec)], tmp_path / spec.name[4:])
        assert {id: v.outcome for id, v in verdicts.items() if v.outcome != "pass"} == {}
        assert len(verdicts) == 18


@pytest.mark.parametrize("track", MODEL_TRACKS, ids=lambda track: track.id)
def test_conforming_models_pass_every_rule(track: Track, tmp_path) -> None:
    verdicts = assess_models(track, {}, tmp_path)
    assert {id: v.outcome for id, v in verdicts.items() if v.outcome != "pass"} == {}


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("mutant", MUTANTS, ids=label)
def test_mutant_breaks_exactly_its_rules(mutant: Mutant, tmp_path) -> None:
    assert attempt(mutant, tmp_path).report == ""


def test_every_rule_has_a_mutant() -> None:
    shared = {
        rule.id
        for rule in all_rules().values()
        for mutant in [*MUTANTS, *packages.ALL]
        if rule.id in mutant.rules
    }
    # A rule with one check for all tracks needs one of them broken.
    checks = {all_rules()[id].check for id in shared}
    contract = [rule for rule in all_rules().values() if rule.needs in ("graph", "runs", "package")]
    assert [rule.id for rule in contract if rule.check not in checks] == []


def test_mutants_are_many_and_have_names_of_their_own() -> None:
    assert len(MUTANTS) >= 120
    assert len({label(mutant) for mutant in MUTANTS}) == len(MUTANTS)
    assert {mutant.track for mutant in MUTANTS} == set(all_tracks())


def test_int64_token_ids_are_allowed_in_retrieval(tmp_path) -> None:
    """Erratum E2: the pipeline compiles int64 ids with --truncate_64bit_io."""
    model = conforming("retrieval", "text")
    both(
        redeclare("text", dtype=TensorProto.INT64),
        constant("end", lambda end: end.astype(np.int64)),
    )(model)
    verdicts = assess_models(RETRIEVAL_2026, {"text": model}, tmp_path)
    assert broken(verdicts) == set()
    assert verdicts["RET-3"].seen == "float32; int64"
    assert verdicts["COM-8"].outcome == "pass", "the ids are fed as the model declares them"


def test_answers_of_another_shape_are_judged_no_further(tmp_path) -> None:
    model = conforming("segmentation")
    pool = step("AveragePool", kernel_shape=[2, 2], strides=[2, 2])
    after("bright", pool)(model)
    bypass("content", "bright_step_0")(model)
    verdicts = assess_models(SEGMENTATION_2025, {"model": model}, tmp_path)
    assert broken(verdicts) == {"COM-9"}
    skipped = {id for id, verdict in verdicts.items() if verdict.outcome == "skip"}
    assert skipped >= {"SEG-7", "SEG-8", "SEG-9", "IMG-1", "IMG-2", "TXT-1", "COM-10", "COM-12"}


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_external_data_in_a_folder_or_a_zip(form: str, tmp_path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    file = folder / "depth.onnx"
    onnx.save(
        conforming("depth"),
        file,
        save_as_external_data=True,
        location="depth.data",
        size_threshold=0,
    )
    spec = str(folder)
    if form == "zip":
        spec = shutil.make_archive(str(tmp_path / "mine"), "zip", tmp_path, "mine")
    verdicts = assess(DEPTH_2025, [spec], tmp_path / "work")
    assert broken(verdicts) == set()
    assert "and 1 weight files" in verdicts["COM-1"].seen
