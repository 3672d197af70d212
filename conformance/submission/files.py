"""The models in one file or folder, none of their code run; AIMET's exports become QDQ, and
TensorFlow's models ONNX.
"""

import os
import stat
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from conformance.submission.factory import check_factory, split_factory
from conformance.submission.foreign import (
    FORMATS,
    HEAD_BYTES,
    by_files,
    mode_of,
    no_file,
    not_a_file,
    pickle,
    refusal,
    unreadable,
)
from conformance.submission.graph import TFLITE_FILES
from conformance.submission.model import Model
from reference.archive import MOST_ENTRIES, is_litter, open_zip, unpack
from reference.errors import SubmissionError
from reference.litert.network import usable_network
from reference.npu.aimet import aimet_to_qdq
from reference.process import Limits
from reference.tensorflow.convert import KERAS_FILES, SAVED_MODEL, tensorflow_to_onnx

# What torch.export.save has written for the program, in its second and in its first form.
_PROGRAMS = ("models/model.json", "serialized_exported_program.json")


def models_in(
    target: str,
    scratch: Path,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> list[Model]:
    """Every model of a target, at least one, of no part yet; raises as `open_submission` does."""
    path, mode = Path(target), mode_of(target)
    if mode is None:
        if split_factory(target):
            check_factory(target)
            state = Path(tempfile.mkdtemp(dir=made(scratch), prefix="state-")) / "state.pt"
            return [Model("", "factory", target, str(state))]
        raise no_file(target)
    if stat.S_ISDIR(mode):
        return _open_folder(path, called(target), scratch, limits)
    if not stat.S_ISREG(mode):
        raise not_a_file(path, mode)
    try:
        return _open_file(path, scratch, limits)
    except OSError as error:
        raise unreadable(target, error) from None


def _open_folder(folder: Path, name: str, scratch: Path, limits: Limits) -> list[Model]:
    """The models of a folder; one with AIMET's encodings beside it is quantised as they say."""
    refused = refusal(folder)
    if refused and folder.suffix != ".onnx":
        raise refused
    files = _files(folder, name)
    models = [path for path in files if path.suffix.lower() == ".onnx"]
    encodings = [path for path in files if path.suffix == ".encodings"]
    saved = [path.parent for path in files if path.name == SAVED_MODEL]
    if saved and not models:
        return [_converted(each, scratch, limits) for each in saved]
    if not models:
        raise by_files(name, files)
    for path in models:
        _read_head(path)
    chosen = [(model, _encodings_of(model, models, encodings, name)) for model in models]
    return [
        Model("", "onnx", str(_quantised(model, own, scratch, limits) if own else model))
        for model, own in chosen
    ]


def _files(folder: Path, name: str) -> list[Path]:
    """The files of a folder and those below it, sorted, without what macOS leaves there."""
    found: list[Path] = []
    try:
        for place, folders, names in os.walk(folder, onerror=_raise):
            folders[:] = [each for each in folders if each != "__MACOSX"]
            paths = (Path(place, each) for each in names)
            found += [path for path in paths if not is_litter(path) and path.is_file()]
            if len(found) > MOST_ENTRIES:
                raise SubmissionError(
                    f"{name} holds more than {MOST_ENTRIES} files", "give the model's own folder"
                )
    except OSError as error:
        raise unreadable(name, error) from None
    return sorted(found)


def _raise(error: OSError) -> None:
    raise error


def _encodings_of(
    model: Path, models: Sequence[Path], encodings: Sequence[Path], name: str
) -> Path | None:
    """AIMET's encodings of one model of a folder; of several models they go by its name."""
    own = encodings
    if len(models) > 1:
        own = [path for path in encodings if path.with_suffix(".onnx") == model]
    if len(own) > 1 or (encodings and not own):
        listed = ", ".join(path.name for path in encodings)
        raise SubmissionError(
            f"{name} must hold exactly one .encodings file for {model.name} and holds {listed}",
            "keep the two files of one export, and nothing else of AIMET's",
        )
    return own[0] if own else None


def _quantised(model: Path, encodings: Path, scratch: Path, limits: Limits) -> Path:
    folder = Path(tempfile.mkdtemp(dir=made(scratch), prefix="qdq-"))
    return aimet_to_qdq(model, encodings, folder / model.name, limits=limits)


def _converted(model: Path, scratch: Path, limits: Limits) -> Model:
    """A model of TensorFlow, as the ONNX that is made of it."""
    folder = Path(tempfile.mkdtemp(dir=made(scratch), prefix="tensorflow-"))
    name = model.resolve().name if model.is_dir() else model.stem
    output = folder / f"{name}.onnx"
    return Model("", "onnx", str(tensorflow_to_onnx(model, output, limits=limits)))


def _open_file(path: Path, scratch: Path, limits: Limits) -> list[Model]:
    suffix = path.suffix.lower()
    head = _read_head(path)
    if suffix in TFLITE_FILES:
        usable_network(path)
        return [Model("", "tflite", str(path))]
    if suffix in KERAS_FILES[1:]:  # HDF5
        return [_converted(path, scratch, limits)]
    if suffix not in {".onnx", ".keras", ".zip", ".pt", ".pth", ".pt2"}:
        raise SubmissionError(
            f"{path.name} has no extension that says what it is", f"it takes {FORMATS}"
        )
    if suffix == ".onnx":
        return [Model("", "onnx", str(path))]
    if not zipfile.is_zipfile(path):
        if suffix in {".pt", ".pth"} and head[:1] == b"\x80":
            raise pickle(path)
        raise SubmissionError(
            f"{path.name} is not a {suffix} archive or was cut short",
            "export or copy the file again and compare its size",
        )
    if suffix == ".keras":
        return [_converted(path, scratch, limits)]
    if suffix == ".zip":
        folder = Path(tempfile.mkdtemp(dir=made(scratch), prefix="zip-")) / path.stem
        return _open_folder(unpack(path, folder, path.name), path.name, scratch, limits)
    with open_zip(path, path.name) as archive:
        names = archive.namelist()
    if any(name.endswith(_PROGRAMS) for name in names):
        return [Model("", "exported", str(path))]
    if suffix == ".pt2":
        raise SubmissionError(
            f"{path.name} holds no exported program", "write it with torch.export.save"
        )
    if not any("/code/" in name for name in names):
        raise pickle(path)
    return [Model("", "torchscript", str(path))]


def _read_head(path: Path) -> bytes:
    """The first bytes of a file; raises SubmissionError where they or its name say: no model."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    refused = refusal(path, head)
    if refused:
        raise refused
    if not head:
        raise SubmissionError(f"{path.name} is empty", "export the model again")
    return head


def called(target: str) -> str:
    """What messages call a target: the last part of its path."""
    return Path(target).name or target


def made(folder: Path) -> Path:
    """The folder, which is there then."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder
