"""What `--submission` opens: files, folders and zips, and which part each is."""

import os
import shutil
import zipfile
from pathlib import Path

import onnx
import pytest
import torch
from onnx import helper

from conformance.selftest.models import conforming, write
from conformance.selftest.opening import opened, refused
from conformance.submission.files import models_in
from conformance.submission.model import Model, Submission
from conformance.submission.opening import open_models, open_submission
from reference.depth.contract import DEPTH_2025
from reference.errors import SubmissionError
from reference.retrieval.contract import RETRIEVAL_2026


def both(folder: Path, image: str = "image_encoder", text: str = "text_encoder") -> Path:
    """A folder as the dynamo exporter leaves it: both encoders, each with `.onnx.data`."""
    folder.mkdir(parents=True)
    for part, name in (("image", image), ("text", text)):
        onnx.save(
            conforming(RETRIEVAL_2026, part),
            folder / f"{name}.onnx",
            save_as_external_data=True,
            location=f"{name}.onnx.data",
            size_threshold=0,
        )
    return folder


def litter(folder: Path) -> None:
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "my.onnx").write_bytes(b"x")
    (folder / "._my.onnx").write_bytes(b"x")
    (folder / ".DS_Store").write_bytes(b"x")


@pytest.mark.parametrize("form", ["folder", "zip", "nested zip", "folder called .onnx"])
def test_both_encoders_in_one_place(form: str, place: Path) -> None:
    folder = both(place / ("my.onnx" if form.endswith(".onnx") else "exported_onnx"))
    litter(folder)
    target = "my.onnx/" if form.endswith(".onnx") else "exported_onnx/"
    if "zip" in form:
        inner = {"root_dir": place, "base_dir": "exported_onnx"} if form != "zip" else {}
        target = Path(shutil.make_archive("my", "zip", **(inner or {"root_dir": folder}))).name
    expected = {"image": "image_encoder.onnx", "text": "text_encoder.onnx"}
    assert opened(target) == expected
    # By part too, and one part at a time.
    assert opened(f"image={target}", f"text={target}") == expected
    (text,) = open_models(RETRIEVAL_2026, "text", target, place / "scratch")
    assert text.path.name == "text_encoder.onnx"


def test_two_files_are_told_apart(place: Path) -> None:
    """By what they take: names and order do not count."""
    both(place / "x", image="text", text="image")
    expected = {"image": "text.onnx", "text": "image.onnx"}
    assert opened("x/text.onnx", "x/image.onnx") == expected
    assert opened("x/image.onnx", "x/text.onnx") == expected
    assert opened("x/image.onnx", "image=x/text.onnx") == expected


def test_swapped_files_are_told_as_such(place: Path) -> None:
    both(place / "x", image="text", text="image")
    assert refused("text=x/text.onnx", "image=x/image.onnx", track=RETRIEVAL_2026) == (
        "text and image are swapped; give image=x/text.onnx text=x/image.onnx"
    )
    assert "given twice" not in refused("image=x/image.onnx", track=RETRIEVAL_2026)
    twice = ("image=x/image.onnx", "text=x/image.onnx")
    assert opened(*twice) == {"image": "image.onnx", "text": "image.onnx"}, "for the rules to judge"


def test_of_other_forms_the_one_that_is_left(place: Path) -> None:
    write(RETRIEVAL_2026, place)
    (place / "mine.py").write_text("text = a = b = c = None\n")
    model = open_submission(RETRIEVAL_2026, ["mine:text", "image=image.onnx"], place).models["text"]
    assert (model.format, model.target) == ("factory", "mine:text")
    assert "'mine:a' does not say which it is" in refused("mine:a", "mine:b", track=RETRIEVAL_2026)
    third = refused("image=image.onnx", "text=text.onnx", "mine:c", track=RETRIEVAL_2026)
    assert "'mine:c' does not say which it is" in third


def test_what_two_parts_cannot_be(place: Path) -> None:
    write(RETRIEVAL_2026, place)
    shutil.copy("image.onnx", "again.onnx")
    again = refused("image.onnx", "again.onnx", track=RETRIEVAL_2026)
    assert "image.onnx and again.onnx both take a picture; name each: image=FILE text=FILE" in again
    assert "text is missing" in refused("image.onnx", track=RETRIEVAL_2026)
    one = helper.make_graph(
        [helper.make_node("Shape", [name], [f"{name}_size"]) for name in ("image", "text")],
        "both",
        [
            helper.make_tensor_value_info("image", 1, [1, 3, 224, 224]),
            helper.make_tensor_value_info("text", 6, [1, 77]),
        ],
        [helper.make_tensor_value_info(f"{name}_size", 7, None) for name in ("image", "text")],
    )
    onnx.save(helper.make_model(one), "one.onnx")
    told = refused("one.onnx", track=RETRIEVAL_2026)
    assert "one.onnx takes a picture and a text, image float32 1x3x224x224, text int32" in told
    assert "both encoders in one file; export each to a file of its own" in told
    onnx.save(conforming(DEPTH_2025), "depth.onnx")
    three = place / "three"
    both(three)
    shutil.copy("image.onnx", three / "old.onnx")
    assert "both take a picture" in refused("three", track=RETRIEVAL_2026)
    assert "three holds 2 .onnx files, image_encoder.onnx, old.onnx, and image is one" in refused(
        "image=three", "text=text.onnx", track=RETRIEVAL_2026
    )


def test_a_track_of_one_model_says_what_it_found(place: Path) -> None:
    both(place / "two")
    told = refused("two")
    assert "two holds 2 .onnx files, image_encoder.onnx, text_encoder.onnx, and depth-2025" in told


@pytest.mark.parametrize("name", ["depth.onnx", "depth.zip", "depth.pt", "plain"])
def test_a_folder_is_a_folder_whatever_its_name(name: str, place: Path) -> None:
    """Also where it is met on the way: the search for models takes files alone."""
    inner = place / "outer" / name
    inner.mkdir(parents=True)
    onnx.save(
        conforming(DEPTH_2025),
        inner / "model.onnx",
        save_as_external_data=True,
        location=".data",
        size_threshold=0,
    )
    litter(inner)
    assert opened(f"outer/{name}", track=DEPTH_2025) == {"model": "model.onnx"}
    assert opened("outer", track=DEPTH_2025) == {"model": "model.onnx"}
    packed = shutil.make_archive("packed", "zip", place / "outer")
    assert opened(packed, track=DEPTH_2025) == {"model": "model.onnx"}


def test_encodings_go_with_their_model(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of each belong together; of several models each takes what has its name."""

    def quantised(model: Path, encodings: Path, output: Path, **_: object) -> Path:
        output.write_text(f"{model.name} by {encodings.name}")
        return output

    monkeypatch.setattr("conformance.submission.files.aimet_to_qdq", quantised)

    def files(*names: str) -> list[str]:
        shutil.rmtree("aimet", ignore_errors=True)
        Path("aimet").mkdir()
        for name in names:
            (Path("aimet") / name).write_text(name)
        found = models_in("aimet", place / "scratch")
        return [model.path.read_text() for model in found]

    assert files("a.onnx") == ["a.onnx"]
    assert files("a.onnx", "my.encodings") == ["a.onnx by my.encodings"]
    two = files("a.onnx", "a.encodings", "b.onnx", "b.encodings")
    assert two == ["a.onnx by a.encodings", "b.onnx by b.encodings"]
    for names in (
        ["a.onnx", "a.encodings", "my.encodings"],
        ["a.onnx", "b.onnx", "b.encodings", "my.encodings"],
    ):
        with pytest.raises(SubmissionError) as told:
            files(*names)
        assert "must hold exactly one .encodings file for a.onnx" in told.value.problem
        assert "my.encodings" in told.value.problem


def test_models_of_tensorflow_are_converted(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Keras file, and a SavedModel or one for each part, as a folder and as a zip."""

    def converted(model: Path, output: Path, **_: object) -> Path:
        part = "text" if "text" in model.name else "image"
        onnx.save(conforming(RETRIEVAL_2026, part), output)
        return output

    monkeypatch.setattr("conformance.submission.files.tensorflow_to_onnx", converted)
    for part in ("image_part", "text.part"):
        (place / "both" / part / "variables").mkdir(parents=True)
        (place / "both" / part / "saved_model.pb").write_bytes(b"x")
    expected = {"image": "image_part.onnx", "text": "text.part.onnx"}
    assert opened("both") == expected
    assert opened("both/image_part", "both/text.part") == expected
    assert opened(shutil.make_archive("my", "zip", "both")) == expected
    Path("text.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with zipfile.ZipFile("image.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    assert opened("image.keras", "text.h5") == {"image": "image.onnx", "text": "text.onnx"}


def test_the_pytorch_side_of_a_part() -> None:
    factory, onnx_file = Model("text", "factory", "mine:Text"), Model("image", "onnx", "a.onnx")
    archive = Model("image", "torchscript", "a.pt")
    alone = Submission("mine", {"image": onnx_file, "text": factory})
    assert alone.original("image") is None
    assert alone.original("text") is factory
    assert alone.torch
    beside = Submission("mine", {"image": onnx_file}, {"image": archive})
    assert beside.original("image") is archive
    assert not beside.torch


def test_a_folder_of_everything_is_not_searched(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conformance.submission.files.MOST_ENTRIES", 10)
    for number in range(11):
        (place / f"{number}.txt").touch()
    assert "holds more than 10 files; give the model's own folder" in refused(str(place))


def test_programs_go_by_what_is_in_them(place: Path) -> None:
    module = torch.nn.Conv2d(3, 1, 1)
    program = torch.export.export(module, (torch.zeros(1, 3, 4, 4),))
    torch.export.save(program, place / "my.pt2")
    shutil.copy("my.pt2", "renamed.pt")
    for name in ("my.pt2", "renamed.pt"):
        assert open_submission(DEPTH_2025, [name], place).models["model"].format == "exported"
    torch.jit.script(module).save(place / "script.pt")
    shutil.copy("script.pt", "script.pt2")
    assert open_submission(DEPTH_2025, ["script.pt"], place).models["model"].format == "torchscript"
    assert "script.pt2 holds no exported program; write it with" in refused("script.pt2")
    with zipfile.ZipFile("empty.pt", "w") as archive:
        archive.writestr("a/data.pkl", b"x")
    assert "empty.pt is a pickle" in refused("empty.pt")


@pytest.mark.parametrize("target", [".", "..", "a=b.onnx", "\x1b]0;title\x07.onnx"])
def test_a_label_is_never_empty_and_never_steers(target: str, place: Path) -> None:
    inner = place / "inner"
    inner.mkdir()
    os.chdir(inner)
    onnx.save(conforming(DEPTH_2025), inner / "a=b.onnx")
    if target.startswith("\x1b"):
        shutil.copy("a=b.onnx", target)
    label = open_submission(DEPTH_2025, [target], place / "scratch").label
    assert label.isprintable()
    assert label
