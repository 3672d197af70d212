"""What people hand over as a package for Genie: one line each, and nothing lost."""

import shutil
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conformance.cli import main
from conformance.rulebook import rules_of
from conformance.selftest.assess import assess
from conformance.selftest.gate import run_gate
from conformance.selftest.mutants.packages import EMBEDDING
from conformance.selftest.packages import (
    FOLDER,
    INPUTS,
    LANGUAGE,
    TEAM,
    compiles,
    language,
    vision,
    write_folder,
    zipped,
)
from conformance.submission.opening import open_submission
from reference.aigc.inputs import PATCH_VALUES, prepare_image, rounded, tokens
from reference.aigc.package import INPUTS as NAME
from reference.aigc.package import VISION, open_package, read_inputs
from reference.data import fixture
from reference.errors import SubmissionError
from reference.process import Limits
from reference.registry import find_track

AIGC = find_track("aigc")


def refused(spec: Path | str, tmp_path: Path) -> str:
    with pytest.raises(SubmissionError) as caught:
        open_submission(AIGC, [str(spec)], tmp_path / "scratch")
    assert len(str(caught.value).splitlines()) == 1
    assert not list(tmp_path.glob("*outside*"))
    return str(caught.value)


def entry(name: str, mode: int = 0o644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
    return info


def with_entry(tmp_path: Path, info: zipfile.ZipInfo, data: bytes = b"") -> Path:
    path = zipped(write_folder(tmp_path))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(info, data)
    return path


@pytest.mark.parametrize(
    ("info", "told"),
    [
        (entry(f"{TEAM}/../outside.raw"), "leads outside the folder"),
        (entry("/outside.raw"), "leads outside the folder"),
        (entry(f"{TEAM}/mask2.raw", stat.S_IFLNK | 0o777), "is a link"),
        (entry(f"{TEAM}/{'x' * 300}"), "is too long for a name"),
    ],
    ids=["dots", "absolute", "link", "long"],
)
def test_entries_that_are_not_taken(info: zipfile.ZipInfo, told: str, tmp_path: Path) -> None:
    assert told in refused(with_entry(tmp_path, info, b"/etc/passwd"), tmp_path)


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reference.archive.unpack.__defaults__", (2**20,))
    path = with_entry(tmp_path, entry(f"{TEAM}/mask.bin"), b"\0" * 2**21)
    assert path.stat().st_size < 2**18
    assert "more than the 0.000977 GiB that it may" in refused(path, tmp_path)


def test_what_is_no_package(tmp_path: Path) -> None:
    (tmp_path / "team.zip").write_bytes(b"PK\3\4 cut short")
    assert refused(tmp_path / "team.zip", tmp_path).startswith("team.zip is no zip, or was cut")
    assert refused(tmp_path / "none.zip", tmp_path).startswith("no such file: ")
    assert "no model is named" in refused("", tmp_path)
    with pytest.raises(SubmissionError, match="takes one package and 2 are given"):
        open_submission(AIGC, ["a", "b"], tmp_path)


def test_a_damaged_zip_is_said_to_be_so(tmp_path: Path) -> None:
    path = zipped(write_folder(tmp_path))
    with zipfile.ZipFile(path) as archive:
        where = archive.getinfo(f"{TEAM}/{EMBEDDING}").header_offset + 100
    data = bytearray(path.read_bytes())
    data[where : where + 8] = b"\xff" * 8
    path.write_bytes(data)
    assert refused(path, tmp_path).startswith("team.zip cannot be unpacked (")


def test_a_link_in_a_folder(tmp_path: Path) -> None:
    team = write_folder(tmp_path)
    (team / "mask.raw").rename(tmp_path / "elsewhere.raw")
    (team / "mask.raw").symlink_to(tmp_path / "elsewhere.raw")
    assert refused(team, tmp_path) == "team holds 'mask.raw', which is a link; put the file there"


def test_an_empty_folder_is_judged(tmp_path: Path) -> None:
    (tmp_path / TEAM).mkdir()
    verdicts = assess(AIGC, [str(tmp_path / TEAM)], tmp_path)
    assert {id for id, v in verdicts.items() if v.outcome == "fail"} == {"AIG-2"}
    assert verdicts["AIG-2"].seen.startswith(f"ar*-ar*-cl*/*.serialized.bin, {'serialized_bin'}")
    assert verdicts["AIG-6"].seen == "not looked at: inputs.json cannot be read, see AIG-5"


def test_files_one_folder_too_deep_are_found_and_told(tmp_path: Path) -> None:
    write_folder(tmp_path / TEAM)
    verdicts = assess(AIGC, [str(zipped(tmp_path / TEAM))], tmp_path)
    assert {id for id, v in verdicts.items() if v.outcome == "fail"} == {"AIG-1"}
    assert verdicts["AIG-1"].seen == "they stand in team/team/"


def test_a_zip_of_a_mac_loses_nothing(tmp_path: Path) -> None:
    path = with_entry(tmp_path, entry(f"{TEAM}/{FOLDER}/.DS_Store"), b"Bud1")
    package = open_package(path, tmp_path, Limits())
    assert package.litter == (f"{FOLDER}/.DS_Store",)
    assert len(package.files) == 9 - 1
    assert package.place == TEAM


def test_remedies_of_an_embedding_of_another_size(tmp_path: Path) -> None:
    team = write_folder(tmp_path)
    for size, told in ((512, "it has the size of float16"), (960, "it has 30 rows")):
        (team / EMBEDDING).write_bytes(bytes(size))
        verdict = assess(AIGC, [str(team)], tmp_path / str(size))["AIG-6"]
        assert verdict.remedy.startswith(told)
        assert verdict.expected == "1024 bytes, float32 32x8"


@pytest.mark.skipif(not compiles(), reason="no compiler for this platform")
def test_a_package_of_qwen25_in_two_files_keeps_every_rule(tmp_path: Path) -> None:
    """What nobody may be turned away for: the other masks, and a model in two files."""
    team = write_folder(tmp_path)
    masks = ("full_attention_mask", "window_attention_mask")
    for name in masks:
        shutil.copy(team / "mask.raw", team / f"{name}.raw")
    (team / "mask.raw").unlink()
    fed = ("pixel_values", "position_ids_cos", "position_ids_sin", *masks)
    (team / VISION).write_bytes(vision(fed))
    (team / LANGUAGE).unlink()
    for part in (1, 2):
        names = (f"ar4_cl32_{part}_of_2", f"ar1_cl32_{part}_of_2")
        file = team / FOLDER / f"weight_sharing_model_{part}_of_2.serialized.bin"
        file.write_bytes(language(names))
    verdicts = assess(AIGC, [str(team)], tmp_path)
    assert {id: v.seen for id, v in verdicts.items() if v.outcome != "pass"} == {}
    assert verdicts["AIG-14"].seen.count("_of_2") == 4


def test_numbers_of_the_sample() -> None:
    """README of the sample: 342 x 512 pixels, 216 tokens."""
    assert (rounded(342, 512), tokens(342, 512)) == ((336, 504), 216)
    assert rounded(14, 42) == (28, 56), "halves go to the even multiple, and none to nothing"
    assert 151936 * 1536 * 4 == 933_494_784


def test_patches_are_those_of_transformers() -> None:
    processors = pytest.importorskip("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl")
    picture = Image.open(fixture("photos/coffee.png")).convert("RGB")
    for size in ((342, 512), (56, 84)):
        tall, wide = rounded(*size)
        resized = picture.resize((wide, tall))
        made = processors.Qwen2VLImageProcessorPil()(images=resized, return_tensors="np")
        ours = prepare_image(picture, *size)
        assert ours.shape == (4 * tokens(*size), PATCH_VALUES)
        assert np.array_equal(ours, made["pixel_values"])


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("run_veg_n_tokens", True, "has True as run_veg_n_tokens; write a whole number there"),
        ("run_veg_n_tokens", 0, "has 0 as run_veg_n_tokens; write a size there"),
        ("run_veg_n_tokens", 2**31, "has 2147483648 as"),
        ("llm_config", None, "has None as llm_config; write a text there"),
        ("genie_config", [], "has no genie_config/dialog/tokenizer"),
    ],
)
def test_inputs_of_another_type(key: str, value: object, told: str) -> None:
    with pytest.raises(SubmissionError) as caught:
        read_inputs(INPUTS | {key: value})
    assert str(caught.value).startswith(f"{NAME} {told}")


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5000, "\ufeff{}", "{'a': 1}", "[]", "1e999"])
def test_json_that_is_none(text: str, tmp_path: Path) -> None:
    team = write_folder(tmp_path)
    (team / NAME).write_text(text)
    with pytest.raises(SubmissionError, match=r"inputs.json is no JSON"):
        _ = open_package(team, tmp_path, Limits()).inputs


def test_a_package_has_its_own_rules_alone() -> None:
    assert {rule.needs for rule in rules_of(AIGC)} == {"package"}
    assert not {rule for rule in rules_of(find_track("depth")) if rule.needs == "package"}


def test_suites_that_run_models_say_one_line(tmp_path: Path) -> None:
    zipped(write_folder(tmp_path))
    asked = ("--track=aigc", "--submission=team.zip", "--report=report")
    told = run_gate(tmp_path, *asked, suite="npu or parity or device")
    assert told.code == 0
    words = " ".join(told.out.split())
    assert words.count(": nothing to compile or to run: a package is held to its rules") == 1


@pytest.mark.parametrize(
    "command",
    [
        ["check", "team.zip", "--track", "aigc"],
        ["compile", "team.zip", "--track", "aigc"],
        ["estimate", "team.zip", "--track", "aigc"],
        ["quantize", "team.zip", "out.onnx", "--track", "aigc"],
        ["submit", "--track", "aigc", "--submission", "team.zip", "--team", "we"],
        ["export", "--track", "aigc", "out"],
    ],
    ids=lambda command: command[0],
)
def test_verbs_that_run_models_say_one_line(
    command: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        assert main(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    wanted = "no reference model" if command[0] == "export" else "takes a package, in which"
    assert f"aigc-2026 {wanted}" in line or f"aigc-2026 has {wanted}" in line


def test_a_folder_of_answers_is_scored(capsys: pytest.CaptureFixture[str]) -> None:
    data = str(fixture("samples/aigc"))
    given = ["--track", "aigc", "--data", data, "--submission"]
    assert main(["score", *given, f"{data}/answers"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "aigc-2026, answers: 5 of 6 answers"
    assert lines[2].startswith("  winner's estimator  0.4844, without the similarity")
    assert lines[-1].startswith("  Fake/sign: it is no JSON (")
    for more, told in (
        ([f"{data}/answers", "--workers", "2"], "--workers is of models that run, and the answers"),
        ([f"{data}/annotation.json"], "is not one folder of answers"),
    ):
        assert main(["score", *given, *more]) == 2
        assert told in capsys.readouterr().err
