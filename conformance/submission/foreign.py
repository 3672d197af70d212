"""What people hand over that is no model here, each with the line that fits it."""

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from shlex import quote

from conformance.submission.graph import TFLITE_FILES
from reference.closest import closest
from reference.errors import SubmissionError, one_line
from reference.tensorflow.convert import KERAS_FILES, SAVED_MODEL

FORMATS = (
    ".onnx, .zip or folder (ONNX with external data or AIMET's .encodings, SavedModel),"
    " .tflite, .keras, .h5, .pt (TorchScript), .pt2, module:factory, file.py:factory"
)

_COMPILED = "is compiled already, for one device", "give the model that was compiled"
_TF = "python -m tf2onnx.convert"
_TFLITE = "is TFLite by another name", "call it my.tflite"
_FROZEN = (
    "is a frozen graph of TensorFlow, which does not say what it takes",
    f"give the SavedModel's folder, or what {_TF} --graphdef FILE --inputs A:0 --outputs B:0"
    " --output my.onnx writes",
)
_EXPORT = "`lpcvc export FILE.py:FACTORY my.onnx --track TRACK --weights {}`"
_WEIGHTS = "holds weights and no model", "load them into your module and export that to ONNX"
_STATE_DICT = _WEIGHTS[0], f"with the code of the model, {_EXPORT} makes one"
_PICKLE = (
    "is a pickle, not TorchScript, and unpickling it could run any code",
    "save with torch.jit.trace(model, inputs).save(...)",
)
_KERAS_PICKLE = (
    "is a pickle, not a model of Keras, and unpickling it could run any code",
    "save with model.save('my.keras')",
)
_OTHER_FRAMEWORK = "is a model of {}", "export the original to ONNX"
_ARCHIVE = "is an archive of a kind that is not opened", "unpack it and give the folder, or zip it"

_BY_SUFFIX: dict[str, tuple[str, str]] = {
    **dict.fromkeys((".bin", ".dlc", ".so", ".serialized", ".nb", ".pte"), _COMPILED),
    **dict.fromkeys((".engine", ".plan", ".trt"), _COMPILED),
    ".ort": ("is in onnxruntime's own format", "give the .onnx file that it was made from"),
    ".pb": _FROZEN,
    **dict.fromkeys((".gguf", ".msgpack", ".npy", ".npz", ".pdparams", ".weights"), _WEIGHTS),
    **dict.fromkeys((".ckpt", ".safetensors", ".th"), _STATE_DICT),
    **dict.fromkeys((".pkl", ".pickle"), _PICKLE),
    ".data": ("holds the weights of an .onnx file", "give that file; they may lie beside it"),
    ".encodings": ("is AIMET's encodings alone", "give the folder that has the model too"),
    **dict.fromkeys(
        (".mlmodel", ".mlpackage", ".mlmodelc"),
        (_OTHER_FRAMEWORK[0].format("Core ML"), _OTHER_FRAMEWORK[1]),
    ),
    ".xml": (_OTHER_FRAMEWORK[0].format("OpenVINO"), _OTHER_FRAMEWORK[1]),
    ".pdmodel": (_OTHER_FRAMEWORK[0].format("PaddlePaddle"), "export it with paddle2onnx"),
    **dict.fromkeys((".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zst"), _ARCHIVE),
    ".ipynb": ("is a notebook", "export the model in it to ONNX, and give the .onnx file"),
}
_HDF5 = b"\x89hdf\r\n\x1a\n"
_BY_START: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "is Git LFS's note of a file, not the file", "run git lfs pull"),
    (b"<!doctype html", "is a web page", "download the file itself again"),
    (b"<html", "is a web page", "download the file itself again"),
    (_HDF5, "is HDF5 by another name", "call it my.h5, if it is a model that Keras has saved"),
)
_TFLITE_MARK = b"TFL3"  # at byte 4
# The operator of a node that is compiled already, as protobuf writes NodeProto.op_type.
_CONTEXT = b"\x22\x09EPContext"
HEAD_BYTES = 4096
_CODE_BYTES = 1 << 20

_ADDRESS = re.compile(r"[A-Za-z][\w+.-]*://")
_HUB_ID = re.compile(r"[jm](?=.*[0-9])[a-z0-9]{8}")
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def refusal(path: Path, head: bytes = b"") -> SubmissionError | None:
    """The line for what is no model here, by its first bytes or else its name; None for others."""
    suffix = path.suffix.lower()
    for start, what, remedy in _BY_START:
        if head.lower().startswith(start) and (start != _HDF5 or suffix not in KERAS_FILES):
            return SubmissionError(f"{path.name} {what}", remedy)
    if suffix in KERAS_FILES and head.startswith(b"\x80"):
        return SubmissionError(f"{path.name} {_KERAS_PICKLE[0]}", _KERAS_PICKLE[1])
    if path.name == SAVED_MODEL:
        return SubmissionError(f"{path.name} is one file of a SavedModel", "give its folder")
    if suffix == ".py":
        names = _defined(path)[:3] or ["FACTORY"]
        given = " or ".join(f"{path.name}:{name}" for name in names)
        return SubmissionError(f"{path.name} is Python code", f"give {given}, which makes a model")
    found = _BY_SUFFIX.get(suffix)
    if head[4:8] == _TFLITE_MARK and suffix not in TFLITE_FILES:
        found = _TFLITE
    elif _CONTEXT in head:
        found = f"{_COMPILED[0]} (EPContext)", _COMPILED[1]
    elif suffix == ".bin" and head.startswith((b"PK", b"\x80")):  # as transformers saves them
        found = _STATE_DICT
    return _told(path, found) if found else None


def pickle(path: Path) -> SubmissionError:
    """The line for a file of torch.save, which is not opened."""
    what, remedy = _PICKLE
    return _told(path, (what, f"{remedy}; of a state dict {_EXPORT} makes a model"))


def _told(path: Path, found: tuple[str, str]) -> SubmissionError:
    return SubmissionError(f"{path.name} {found[0]}", found[1].replace("{}", quote(path.name)))


def _defined(path: Path) -> list[str]:
    """The functions and classes of a file of Python, the last first; it is not run."""
    with path.open("rb") as file:
        code = file.read(_CODE_BYTES)
    names = re.findall(rb"^(?:def|class) ([A-Za-z]\w*)", code, re.MULTILINE)
    return [name.decode() for name in reversed(names)]


def by_files(name: str, files: Iterable[Path]) -> SubmissionError:
    """The line for a folder without an .onnx file, from what it holds instead."""
    held = list(files)
    names = [path.name for path in held]
    if not held:
        return SubmissionError(f"{name} holds no file", f"it takes {FORMATS}")
    whole = {".pt", ".pt2", ".pth", ".zip", *KERAS_FILES, *TFLITE_FILES}
    modules = [path for path in held if path.suffix in whole]
    if modules:
        return SubmissionError(
            f"{name} holds no .onnx file", f"give {modules[0].name} itself, not its folder"
        )
    known = [error for error in map(refusal, held) if error]
    if known:
        return SubmissionError(f"{name} holds no .onnx file; {known[0].problem}", known[0].remedy)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return SubmissionError(
        f"{name} holds no .onnx file but {', '.join(names[:3])}{more}", f"it takes {FORMATS}"
    )


def no_file(target: str) -> SubmissionError:
    """The line for words that name nothing on this machine."""
    path, target = Path(target), one_line(target, 200)
    if _ADDRESS.match(target):
        return SubmissionError(
            f"{target} is an address and nothing is downloaded", "download it and give the file"
        )
    if _HUB_ID.fullmatch(target):
        source = "get_model(ID)" if target[0] == "m" else "get_job(ID).model"
        return SubmissionError(
            f"no such file: {target}, which may be an id of AI Hub",
            f"give the file that was uploaded: qai_hub.{source}.download(FILE)",
        )
    if target.endswith("()"):
        return SubmissionError(
            f"{target} is no module:factory", f"write {target.removesuffix('()')}"
        )
    if target.startswith("~"):
        return SubmissionError(
            f"no such file: {target}", "the shell leaves ~ as it is after =; write $HOME"
        )
    if path.is_symlink():
        return SubmissionError(f"{path.name} is a link to nothing", "give the file itself")
    near = closest(path.name, _names(path.parent), 1, likeness=0.8)
    hint = f"is it {path.parent / near[0]}?" if near else f"check the path; it takes {FORMATS}"
    return SubmissionError(f"no such file: {target}", hint)


def mode_of(target: str) -> int | None:
    """What kind of file it is, None where there is none; raises SubmissionError for what is no
    path."""
    if not target:
        raise SubmissionError("no model is named", f"it takes {FORMATS}")
    try:
        os.fsencode(target).decode()
        return Path(target).stat().st_mode
    except UnicodeDecodeError:
        raise SubmissionError(
            f"{target} is a name that is not UTF-8", "rename it; not every runtime opens that"
        ) from None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        raise SubmissionError(f"{target} is no path", "leave out the null character") from None
    except OSError as error:
        raise unreadable(target, error) from None


def unreadable(name: str, error: OSError) -> SubmissionError:
    """The line for what the system does not let be read."""
    return SubmissionError(
        f"{one_line(name, 200)} cannot be read ({error.strerror})",
        "check the path and who may read it",
    )


def not_a_file(path: Path, mode: int) -> SubmissionError:
    """The line for what is there and is neither a file nor a folder; it is never read."""
    kind = _KINDS.get(stat.S_IFMT(mode), "something else")
    return SubmissionError(f"{path.name} is {kind}, not a file", "give a file that stays")


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
