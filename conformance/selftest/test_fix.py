"""`lpcvc fix` on the command line: what it says, what it writes, and what it leaves alone."""

import contextlib
import io
import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto

from conformance.cli import main
from conformance.rulebook import all_rules
from conformance.selftest.assess import assess, broken
from conformance.selftest.hostile_files import READ, REFUSED
from conformance.selftest.models import conforming, write
from conformance.selftest.mutants.mutant import FLOAT, HALF, INT32, INT64, cast
from conformance.selftest.surgery import (
    Change,
    add_weight,
    after,
    both,
    redeclare,
    rename_input,
    step,
    versions,
)
from reference.depth.contract import DEPTH_2025
from reference.ort import load
from reference.retrieval.contract import RETRIEVAL_2026

pytestmark = pytest.mark.usefixtures("one_process")

PROOF = pytest.mark.slow
FIRST = step("Transpose", perm=[0, 3, 1, 2])
MANY = both(
    after("image", FIRST, shape=(1, 480, 640, 3)),
    redeclare("image", shape=("batch", "height", "width", 3)),
    rename_input("image", "input"),
    after("depth", cast(HALF), dtype=HALF),
    add_weight("unread", np.zeros(1000, np.float32)),
    versions(ir=12),
)


def save(change: Change, path: Path, track: str = "depth", part: str = "model") -> ModelProto:
    model = conforming(track, part)
    change(model)
    onnx.save(model, path)
    return model


def fix(*words: str, track: str = "depth") -> int:
    return main(["fix", *words, "--track", track])


@pytest.fixture(scope="module")
def mended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder in which `my.onnx` was mended to `out/fixed.onnx`, and what was said."""
    folder, said = tmp_path_factory.mktemp("mended"), io.StringIO()
    save(MANY, folder / "my.onnx")
    shutil.copy(folder / "my.onnx", folder / "before.onnx")
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.chdir(folder)
        assert fix("my.onnx", "-o", "out/fixed.onnx") == 0
    return folder, said.getvalue().splitlines()


def test_what_it_says(mended: tuple[Path, list[str]], tmp_path: Path) -> None:
    """Each change with its rule, then the answers, the rules and nothing more."""
    folder, (*lines, parity, was, now) = mended
    assert lines == [
        "depth-2025, my.onnx -> out/fixed.onnx: mended",
        "  COM-7   1 unread weights, 4.0 kB, 'unread', are left out",
        "  COM-2   input float32 ?x?x?x3 is fixed to 1x480x640x3",
        "  DEP-6   depth float16 1x1x480x640 is returned as float32, by a Cast",
        "  DEP-1   input 'input' is called 'image'",
        "  COM-3   IR 12 becomes 10: AI Hub reads 11 at most",
        "  DEP-2   image float32 1x480x640x3 takes 1x3x480x640, by a Transpose to [0, 2, 3, 1]",
    ]
    assert parity.startswith("  parity  4 probes in onnxruntime: at most 0.000")
    assert parity.endswith(" of the range apart")
    assert was.startswith("  before  6 broken (COM-2, COM-3, ")
    assert now.startswith("  after   0 broken, ")
    assert now.endswith(", 0 not checked")
    assert (folder / "my.onnx").read_bytes() == (folder / "before.onnx").read_bytes()
    assert [path.name for path in (folder / "out").iterdir()] == ["fixed.onnx"]
    verdicts = assess(DEPTH_2025, [str(folder / "out" / "fixed.onnx")], tmp_path)
    assert {id: v.outcome for id, v in verdicts.items() if v.outcome != "pass"} == {}


def test_what_was_mended_stays_as_it_is(
    mended: tuple[Path, list[str]], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(mended[0] / "out" / "fixed.onnx", place)
    assert fix("fixed.onnx", "-o", "again.onnx") == 0
    assert capsys.readouterr().out == "depth-2025, fixed.onnx -> again.onnx: nothing to mend\n"
    assert (place / "again.onnx").read_bytes() == (place / "fixed.onnx").read_bytes()


def test_the_answers_are_those_of_before(mended: tuple[Path, list[str]]) -> None:
    """Held against onnxruntime without the suite in between."""
    folder, _ = mended
    image = np.random.default_rng(1).random((1, 3, 480, 640), np.float32) * 255
    (was,) = load(str(folder / "my.onnx"))[1]({"input": image.transpose(0, 2, 3, 1)})
    (now,) = load(str(folder / "out" / "fixed.onnx"))[1]({"image": image})
    assert was.dtype == np.float16
    assert now.dtype == np.float32
    assert float(np.abs(was - now).max()) < 1e-3


def test_what_cannot_be_mended_is_said(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    resize = step("Resize", "", "", np.array([1, 3, 480, 640]), mode="linear")
    save(both(after("image", resize, shape=(1, 3, 518, 518)), versions(ir=12)), place / "my.onnx")
    assert fix("my.onnx", "-o", "fixed.onnx") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "  COM-3   IR 12 becomes 10: AI Hub reads 11 at most"
    assert lines[2].startswith("  parity  not compared: ")
    assert lines[3].startswith("  before  2 broken (COM-3, DEP-2), ")
    assert lines[4].startswith("  after   1 broken (DEP-2), ")
    assert lines[5].startswith("  left    DEP-2 (required) FAIL: image float32 1x3x518x518, expec")
    assert lines[6] == "    -> take 480x640 and resize to 518x518 inside forward()"
    assert onnx.load("fixed.onnx").ir_version == 10


def test_both_parts_exchanged(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is mended as the part that it is; one that conforms is copied."""
    save(rename_input("text", "ids"), place / "a.onnx", "retrieval", "text")
    save(lambda model: None, place / "b.onnx", "retrieval", "image")
    assert fix("image=a.onnx", "text=b.onnx", "-o", "out", track="retrieval") == 0
    out = capsys.readouterr().out
    assert "retrieval-2026 text, a.onnx -> out/text.onnx: mended\n" in out
    assert "  RET-2   given as image, it takes a text and is the text part\n" in out
    assert "  RET-1   input 'ids' is called 'text'\n" in out
    assert "retrieval-2026 image, b.onnx -> out/image.onnx: as it was\n" in out
    assert (place / "out/image.onnx").read_bytes() == (place / "b.onnx").read_bytes()
    assert broken(assess(RETRIEVAL_2026, ["out"], place / "work")) == set()


def test_one_part_alone(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change = after("text", cast(INT32), dtype=FLOAT)
    save(change, place / "t.onnx", "retrieval", "text")
    assert fix("t.onnx", "-o", "text.onnx", track="retrieval") == 0
    assert "RET-3   text float32 1x77 takes int32, by a Cast to float32" in capsys.readouterr().out


def test_int64_ids_become_int32_where_the_contract_wants_them(place: Path) -> None:
    """Nowhere else: retrieval of 2026 takes both."""
    both_ways = after("text_input", cast(INT32), dtype=INT64)
    save(both_ways, place / "d.onnx", "retrieval-2026-draft", "text")
    assert fix("d.onnx", "-o", "fixed.onnx", track="retrieval-2026-draft") == 0
    kind = onnx.load("fixed.onnx").graph.input[0].type.tensor_type.elem_type
    assert kind == TensorProto.INT32


@pytest.mark.parametrize("change", [lambda model: None, rename_input("image", "x")])
def test_external_weights_come_along(change: Change, place: Path) -> None:
    model = conforming("depth")
    change(model)
    (place / "in").mkdir()
    onnx.save(model, "in/m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    assert fix("in/m.onnx", "-o", "out/m.onnx") == 0
    assert os.listdir("out") == ["m.onnx"]
    assert broken(assess(DEPTH_2025, ["out/m.onnx"], place / "work")) == set()


def test_weights_that_are_missing_are_refused(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = conforming("depth")
    onnx.save(model, "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    (place / "w.bin").unlink()
    assert fix("m.onnx", "-o", "out/m.onnx") == 2
    assert capsys.readouterr().err.startswith("lpcvc: COM-1: 'w.bin', which tensor 'luma' and 4 ")
    assert not (place / "out").exists()


@pytest.mark.parametrize("how", ["name", "link", "hard link", "weights"])
def test_a_model_is_never_written_over(
    how: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = "m.onnx" if how == "name" else "other.onnx"
    model = conforming("depth")
    rename_input("image", "x")(model)
    if how == "weights":
        onnx.save(model, "m.onnx", save_as_external_data=True, location=out, size_threshold=0)
    else:
        onnx.save(model, "m.onnx")
    if how == "link":
        Path(out).symlink_to("m.onnx")
    if how == "hard link":
        os.link("m.onnx", out)
    before = Path(out).read_bytes(), Path("m.onnx").read_bytes()
    assert fix("m.onnx", "-o", out) == 2
    assert capsys.readouterr().err == f"lpcvc: {out} is what is to be mended; choose another OUT\n"
    assert (Path(out).read_bytes(), Path("m.onnx").read_bytes()) == before


@pytest.mark.parametrize(
    ("words", "track", "told"),
    [
        (["image.onnx", "text.onnx", "-o", "a.onnx"], "retrieval", "a.onnx is one file and 2 mod"),
        (["image.onnx", "image=image.onnx", "-o", "out"], "retrieval", "2 models are given for th"),
        (["none.onnx", "-o", "out"], "depth", "no such file: none.onnx"),
        (["mine:build", "-o", "out"], "depth", "no module is called 'mine'"),
        (["image.onnx", "-o", "out"], "aigc", "aigc-2026 takes a package"),
        (["image.onnx", "-o", "image.onnx/out"], "retrieval", "image.onnx/out/image.onnx cannot"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str], track: str, told: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(RETRIEVAL_2026, place)
    assert fix(*words, track=track) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[-1].startswith(f"lpcvc: {told}"), said.err


def test_hostile_files_are_refused_in_a_line(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, (made, told) in REFUSED.items():
        data = made if isinstance(made, bytes) else made.SerializeToString()
        (place / "m.onnx").write_bytes(data)
        assert fix("m.onnx", "-o", "out.onnx") == 2, name
        assert told in capsys.readouterr().err, name


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ("a sequence", "negative sizes") else PROOF)
        for name in READ
    ],
)
def test_files_that_can_be_read_end_in_a_line_or_in_rules(
    name: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """None ends in a traceback, and none in a file without a word of what is wrong with it."""
    (place / "m.onnx").write_bytes(READ[name].SerializeToString())
    code = fix("m.onnx", "-o", "out.onnx", "--timeout", "20")
    said = capsys.readouterr()
    left = [line.split()[1] for line in said.out.splitlines() if line.startswith("  left ")]
    assert code == (1 if left else 2)
    assert set(left) <= all_rules().keys()
    assert left or said.err.splitlines()[-1].startswith("lpcvc: ")
