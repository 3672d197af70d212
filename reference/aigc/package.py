"""The package: a folder of files for Genie, or the zip of it. Sizes and heads alone are read.

What stands where is from the README and `inference_script.py` of the sample solution.
"""

import json
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from reference.archive import MOST_ENTRIES, is_litter, open_zip, unpack
from reference.errors import SubmissionError
from reference.npu.process import NpuProcess
from reference.process import ChildError, Limits

CONTEXT_FOLDER, BINARY = "ar*-ar*-cl*", "*.serialized.bin"
VISION_FOLDER = "serialized_binaries"
VISION = f"{VISION_FOLDER}/veg.serialized.bin"
EMBEDDING, MASK = "embedding_weights*.raw", "*mask.raw"
COS, SIN = "position_ids_cos.raw", "position_ids_sin.raw"
INPUTS, TOKENIZER = "inputs.json", "tokenizer.json"
# Qwen2-VL's and Qwen2.5-VL's.
MASKS = (("mask.raw",), ("full_attention_mask.raw", "window_attention_mask.raw"))
# A tokenizer of Qwen2.5 has 11 MB.
_MOST_JSON = 64 * 2**20


@dataclass(frozen=True)
class Inputs:
    """`inputs.json`: the picture in pixels, its tokens and their width as the script reads them,
    and of `genie_config` the embedding, the context in tokens, and the vocabulary.
    """

    processor: str
    llm: str
    height: int
    width: int
    tokens: int
    dim: int
    embedding: int
    dtype: str
    context: int
    vocabulary: int
    special: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Binaries:
    """What the context binaries say of themselves, by name; of others what is wrong with them.

    `other` have a layout that the installed QAIRT does not tell.
    """

    read: Mapping[str, Mapping[str, Any]]
    broken: Mapping[str, str]
    other: tuple[str, ...]


@dataclass(frozen=True)
class Package:
    """A package that was opened: `files` has the bytes of each by its place below `root`.

    `name` is what the user calls it, `place` where its files stand in the archive, None in a
    folder. `folders` are the first ones below `root`. `litter` is what macOS has left in it.
    """

    name: str
    root: Path
    place: str | None
    files: Mapping[str, int]
    folders: tuple[str, ...]
    litter: tuple[str, ...]
    limits: Limits = Limits()  # noqa: RUF009 - frozen

    def matching(self, pattern: str, folder: str = "") -> list[str]:
        """The files of a folder, or those beside it, whose own name matches."""
        return [
            name
            for name in self.files
            if str(PurePosixPath(name).parent) == (folder or ".")
            and fnmatchcase(PurePosixPath(name).name, pattern)
        ]

    @property
    def contexts(self) -> list[str]:
        """The folders of the language model; the script takes one and stops at two."""
        return [name for name in self.folders if fnmatchcase(name, CONTEXT_FOLDER)]

    @property
    def language(self) -> list[str]:
        """The context binaries of the language model, in the order that Genie gets."""
        return [name for folder in self.contexts for name in self.matching(BINARY, folder)]

    @property
    def masks(self) -> list[str]:
        """The masks, in an order that the script leaves to the file system."""
        return self.matching(MASK)

    @cached_property
    def inputs(self) -> Inputs:
        """Of `inputs.json`; raises SubmissionError where that cannot be."""
        return read_inputs(read_object(self.root / INPUTS))

    @cached_property
    def binaries(self) -> Binaries:
        """Read with Qualcomm's library, which must be installed, in a process of its own; raises
        SubmissionError where that goes beyond the limits.
        """
        read: dict[str, Mapping[str, Any]] = {}
        broken: dict[str, str] = {}
        other = []
        names = [*self.language, *([VISION] if VISION in self.files else [])]
        with NpuProcess("reading context binaries", lambda seconds: None, self.limits) as process:
            for name in names:
                try:
                    read[name] = process.ask("describe", binary=str(self.root / name))
                except ChildError as error:
                    kind, _, text = str(error).partition(": ")
                    if kind == "UnknownVersion":
                        other.append(name)
                    else:
                        broken[name] = text or kind
        return Binaries(read, broken, tuple(other))


def open_package(path: Path, scratch: Path, limits: Limits) -> Package:
    """The package at `path`, a zip or a folder; a zip is unpacked into `scratch`.

    Raises SubmissionError for what is neither, for links, and as `unpack` does.
    """
    name, litter = path.name or str(path), []
    folder, zipped = path, not path.is_dir()
    if zipped:
        if not zipfile.is_zipfile(path):
            raise SubmissionError(
                f"{name} is no zip, or was cut short", "zip the team's folder again"
            )
        with open_zip(path, name) as archive:
            litter = [each for each in archive.namelist() if is_litter(PurePosixPath(each))]
        folder = Path(tempfile.mkdtemp(dir=scratch, prefix="zip-")) / "package"
        unpack(path, folder, name)
    root = _root(folder)
    place = root.relative_to(folder).as_posix()
    files, left = _files(root, name)
    return Package(
        name,
        root,
        place if zipped else None,
        files,
        tuple(sorted(each.name for each in root.iterdir() if each.is_dir())),
        (*left, *(each.removeprefix(f"{place}/") for each in litter)),
        limits,
    )


def _root(folder: Path) -> Path:
    """Where the files stand: below folders that hold one folder and nothing else."""
    while True:
        held = [path for path in folder.iterdir() if not is_litter(path)]
        if len(held) != 1 or not held[0].is_dir() or held[0].is_symlink():
            return folder
        if fnmatchcase(held[0].name, CONTEXT_FOLDER) or held[0].name == VISION_FOLDER:
            return folder
        folder = held[0]


def _files(root: Path, name: str) -> tuple[dict[str, int], list[str]]:
    """(the bytes of each file by its place, what macOS has left), sorted by place."""
    files: dict[str, int] = {}
    litter: list[str] = []
    for path in _walk(root, name):
        place = path.relative_to(root).as_posix()
        if path.is_symlink():
            raise SubmissionError(f"{name} holds {place!r}, which is a link", "put the file there")
        if is_litter(path.relative_to(root)):
            litter.append(place)
        elif path.is_file():
            files[place] = path.stat().st_size
        if len(files) + len(litter) > MOST_ENTRIES:
            raise SubmissionError(
                f"{name} holds more than {MOST_ENTRIES} files", "give the team's own folder"
            )
    return dict(sorted(files.items())), sorted(litter)


def _walk(root: Path, name: str) -> Iterator[Path]:
    def stop(error: OSError) -> None:
        raise SubmissionError(
            f"{name} cannot be read ({error.strerror})", "check who may read it"
        ) from None

    for place, folders, names in os.walk(root, onerror=stop):
        links = [each for each in folders if Path(place, each).is_symlink()]
        yield from (Path(place, each) for each in [*links, *names])


def read_object(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds; raises SubmissionError, also for more than 64 MiB."""
    try:
        if path.stat().st_size > _MOST_JSON:
            raise SubmissionError(f"{path.name} has {path.stat().st_size} bytes", "shorten it")
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SubmissionError(
            f"{path.name} cannot be read ({error.strerror})", "put it beside the others"
        ) from None
    except (ValueError, RecursionError) as error:
        raise SubmissionError(
            f"{path.name} is no JSON ({error})",
            "write it with json.dump: in JSON it is true, false and null, with double quotes",
        ) from None
    if not isinstance(found, dict):
        raise SubmissionError(f"{path.name} is no JSON object", "write it as the README shows")
    return found


def read_inputs(found: dict[str, Any]) -> Inputs:
    """What `inputs.json` holds; raises SubmissionError for what is missing or of another type."""
    dialog = ("genie_config", "dialog")
    for place in (("tokenizer",), ("engine", "backend"), ("engine", "model", "binary")):
        _at(found, *dialog, *place, kind=dict)  # where the script writes the paths
    context = _at(found, *dialog, "context", kind=dict)
    return Inputs(
        _at(found, "qwen_vl_processor", kind=str),
        _at(found, "llm_config", kind=str),
        _size(found, "data_preprocess_inp_h"),
        _size(found, "data_preprocess_inp_w"),
        _size(found, "run_veg_n_tokens"),
        _size(found, "run_veg_embedding_dim"),
        _size(found, *dialog, "embedding", "size"),
        _at(found, *dialog, "embedding", "datatype", kind=str),
        _size(found, *dialog, "context", "size"),
        _size(found, *dialog, "context", "n-vocab"),
        {
            key: value
            for key, value in context.items()
            if key.endswith("-token") and isinstance(value, int)
        },
    )


def _at(found: Any, *keys: str, kind: type) -> Any:
    value = found
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            raise SubmissionError(
                f"{INPUTS} has no {'/'.join(keys)}", "take it from qnn_model_execution.ipynb"
            )
        value = value[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        words = {dict: "an object", str: "a text", int: "a whole number"}
        raise SubmissionError(
            f"{INPUTS} has {value!r} as {'/'.join(keys)}", f"write {words[kind]} there"
        )
    return value


def _size(found: Any, *keys: str) -> int:
    value: int = _at(found, *keys, kind=int)
    if not 0 < value < 2**31:
        raise SubmissionError(f"{INPUTS} has {value} as {'/'.join(keys)}", "write a size there")
    return value
