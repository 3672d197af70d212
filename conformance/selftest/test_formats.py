"""What is handed over instead of a model, and the line that fits each."""

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import helper

from conformance.selftest.models import conforming
from conformance.selftest.opening import refused
from reference.depth.contract import DEPTH_2025

COMPILED = "is compiled already, for one device; give the model that was compiled"
WEIGHTS = "holds weights and no model; load them into your module and export that to ONNX"
STATE_DICT = (
    "{0} holds weights and no model; with the code of the model, `lpcvc export FILE.py:FACTORY"
    " my.onnx --track TRACK --weights {0}` makes one"
)
UNOPENED = "is an archive of a kind that is not opened; unpack it"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("my.bin", b"\0" * 99, COMPILED),
        ("my.dlc", b"PK\3\4", COMPILED),
        ("libmy.so", b"\x7fELF", COMPILED),
        ("MY.BIN", b"\0" * 99, COMPILED),
        ("my.engine", b"ftrt", COMPILED),
        ("my.trt", b"ptrt", COMPILED),
        ("pytorch_model.bin", b"PK\3\4", STATE_DICT.format("pytorch_model.bin")),
        ("my.onnx", b"\x1c\0\0\0TFL3", "my.onnx is TFLite by another name; call it my.tflite"),
        (
            "frozen.pb",
            b"\x0a",
            "frozen.pb is a frozen graph of TensorFlow, which does not say what",
        ),
        (
            "my.h5",
            b"\x80\4",
            "my.h5 is a pickle, not a model of Keras, and unpickling it could run",
        ),
        ("my.onnx", b"\x89HDF\r\n\x1a\n", "my.onnx is HDF5 by another name; call it my.h5"),
        ("my.keras", b"PK\3\4", "my.keras is not a .keras archive or was cut short"),
        ("my.safetensors", b"x", STATE_DICT.format("my.safetensors")),
        ("my.ckpt", b"PK\3\4", STATE_DICT.format("my.ckpt")),
        ("my.npz", b"PK\3\4", WEIGHTS),
        ("my.pkl", b"\x80\4", "my.pkl is a pickle, not TorchScript"),
        ("my.ort", b"x", "is in onnxruntime's own format; give the .onnx file"),
        ("my.mlmodel", b"x", "is a model of Core ML; export the original to ONNX"),
        ("my.xml", b"x", "is a model of OpenVINO; export"),
        ("my.tar.gz", b"\x1f\x8b", f"my.tar.gz {UNOPENED}"),
        ("my.tgz", b"\x1f\x8b", UNOPENED),
        ("my.rar", b"Rar!", UNOPENED),
        ("my.7z", b"7z", UNOPENED),
        ("my.ipynb", b"{}", "is a notebook; export the model in it"),
        ("my.py", b"x", "my.py is Python code; give my.py:FACTORY, which makes a model"),
        (
            "my.py",
            b"class Net: ...\ndef build(): ...\ndef _own(): ...\n",
            "my.py is Python code; give my.py:build or my.py:Net, which makes a model",
        ),
        ("my.onnx.data", b"x", "my.onnx.data holds the weights of an .onnx file; give that"),
        ("my.encodings", b"{}", "is AIMET's encodings alone; give the folder"),
        ("my.onnx", b"version https://git-lfs.github.com/spec/v1\noid", "run git lfs pull"),
        ("my.pt", b"version https://git-lfs.github.com/spec/v1\noid", "run git lfs pull"),
        ("my.zip", b"<!DOCTYPE html><title>404", "my.zip is a web page; download"),
        ("my", b"\x08\x0a", "my has no extension that says what it is; it takes .onnx"),
        ("my.onnx", b"", "my.onnx is empty; export the model again"),
        ("my.zip", b"PK\3\4 and no more", "my.zip is not a .zip archive or was cut short"),
        ("my.pt", b"\x80\2}q\0.", "my.pt is a pickle, not TorchScript"),
    ],
)
def test_what_is_handed_over_instead_of_a_model(
    name: str, content: bytes, told: str, place: Path
) -> None:
    (place / name).write_bytes(content)
    assert told in refused(name)
    if content and not name.endswith((".data", ".py", ".encodings", ".zip", ".pt", ".onnx")):
        folder = place / "folder"
        folder.mkdir()
        shutil.copy(name, folder)
        assert "folder holds no .onnx file" in refused("folder"), "and where it is met in a folder"


def test_a_folder_that_is_a_model_of_another_framework(place: Path) -> None:
    (place / "saved").mkdir()
    (place / "saved" / "saved_model.pb").write_bytes(b"x")
    told = "saved_model.pb is one file of a SavedModel; give its folder"
    assert refused("saved/saved_model.pb") == told
    (place / "keras").mkdir()
    (place / "keras" / "my.keras").write_bytes(b"x")
    assert "keras holds no .onnx file; give my.keras itself, not its folder" in refused("keras")
    (place / "my.mlpackage").mkdir()
    (place / "my.mlpackage" / "Manifest.json").write_text("{}")
    assert "my.mlpackage is a model of Core ML" in refused("my.mlpackage")
    (place / "hf").mkdir()
    (place / "hf" / "config.json").write_text("{}")
    (place / "hf" / "model.safetensors").write_bytes(b"x")
    told = f"hf holds no .onnx file; {STATE_DICT.format('model.safetensors')}"
    assert told in refused("hf")
    (place / "nothing").mkdir()
    assert "nothing holds no file; it takes .onnx" in refused("nothing")
    (place / "torch").mkdir()
    (place / "torch" / "my.pt").write_bytes(b"x")
    assert "torch holds no .onnx file; give my.pt itself, not its folder" in refused("torch")


def test_a_graph_that_is_compiled_already(place: Path) -> None:
    node = helper.make_node(
        "EPContext", ["image"], ["depth"], domain="com.microsoft", ep_cache_context=b"x" * 9999
    )
    value = [helper.make_tensor_value_info(name, 1, [1]) for name in ("image", "depth")]
    onnx.save(
        helper.make_model(helper.make_graph([node], "g", value[:1], value[1:])), "my_ctx.onnx"
    )
    assert "my_ctx.onnx is compiled already, for one device (EPContext); give" in refused(
        "my_ctx.onnx"
    )


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("no.onnx", "no such file: no.onnx; check the path; it takes .onnx"),
        ("dept.onnx", "no such file: dept.onnx; is it depth.onnx?"),
        ("https://example.org/my.onnx", "is an address and nothing is downloaded"),
        ("s3://bucket/my.onnx", "is an address and nothing is downloaded"),
        (
            "jp4kr0kvg",
            "which may be an id of AI Hub; give the file that was uploaded: qai_hub.get_j",
        ),
        ("mnj7w9x8q", "qai_hub.get_model(ID).download(FILE)"),
        ("my.py:build", "no such file: my.py; check the path"),
        ("pkg/my.py:build", "no such file: pkg/my.py; check the path"),
        ("my:build()", "my:build() is no module:factory; write my:build"),
        ("~nobody/my.onnx", "the shell leaves ~ as it is after ="),
        ("", "no model is named; it takes .onnx"),
        ("depth.onnx/model.onnx", "no such file: depth.onnx/model.onnx"),
        ("n" * 300, "cannot be read (File name too long)"),
        ("d/" * 3000 + "my.onnx", "cannot be read (File name too long)"),
        ("my\0.onnx", "my\\x00.onnx is no path; leave out the null character"),
        ("dangling.onnx", "dangling.onnx is a link to nothing"),
        ("loop.onnx", "loop.onnx cannot be read (Too many levels of symbolic links)"),
        (os.fsdecode(b"\xff\xfe.onnx"), "\\udcff\\udcfe.onnx is a name that is not UTF-8; rename"),
        ("\x1b[31mred\nline.onnx", "no such file: \\x1b[31mred line.onnx"),
    ],
)
def test_what_names_nothing(target: str, told: str, place: Path) -> None:
    onnx.save(conforming(DEPTH_2025), "depth.onnx")
    (place / "dangling.onnx").symlink_to("nowhere")
    (place / "loop.onnx").symlink_to("loop.onnx")
    shutil.copy("depth.onnx", os.fsdecode(b"\xff\xfe.onnx"))
    assert told in refused(target)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as own:
        own.bind(str(path))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (fifo, "my.onnx is a pipe, not a file"),
        (unix_socket, "my.onnx is a socket, not a file"),
        (lambda path: path.symlink_to("/dev/zero"), "my.onnx is a device, not a file"),
    ],
)
def test_what_is_no_file_is_never_read(
    make: Callable[[Path], None], told: str, place: Path
) -> None:
    (place / "folder").mkdir()
    for path in (place / "my.onnx", place / "folder" / "my.onnx"):
        make(path)
    assert told in refused("my.onnx")
    assert refused("folder").startswith("folder holds no file")
    os.mkfifo("other.pt")
    assert "other.pt is a pipe" in refused("other.pt")


def test_what_may_not_be_read(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx.save(conforming(DEPTH_2025), "depth.onnx")
    (place / "folder").mkdir()

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", denied)
        assert "depth.onnx cannot be read (Permission denied)" in refused("depth.onnx")
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", denied)
        assert "folder cannot be read (Permission denied)" in refused("folder")
