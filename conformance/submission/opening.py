"""Opens what the participant brings, without running any of it; AIMET's exports become QDQ."""

import os
import re
import stat
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from conformance.submission.foreign import (
    FORMATS,
    HEAD_BYTES,
    PICKLE,
    by_files,
    mode_of,
    no_file,
    not_a_file,
    refusal,
    unreadable,
)
from conformance.submission.graph import Graph, read_graph
from conformance.submission.parts import Takes, part_of, takes
from reference.archive import MOST_ENTRIES, is_litter, open_zip, unpack
from reference.errors import SubmissionError, one_line
from reference.npu.aimet import aimet_to_qdq
from reference.process import Limits
from reference.tracks import Part, Track

Format = Literal["onnx", "torchscript", "exported", "factory", "reference", "answers"]

_FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
# What torch.export.save has written for the program, in its second and in its first form.
_PROGRAMS = ("models/model.json", "serialized_exported_program.json")


@dataclass(frozen=True)
class Model:
    """One part of a submission: a file, or for a factory the words `module:function`.

    The PyTorch side of a reference model is `track:part:weights`. `state` is the file that keeps
    what a factory has made, so that every process has the same model.
    """

    part: str
    format: Format
    target: str
    state: str = ""

    @property
    def path(self) -> Path:
        """The file; for a factory, what the user typed."""
        return Path(self.target)


@dataclass(frozen=True)
class Submission:
    """The models of one submission by part, and what the user calls it.

    `originals` are the PyTorch models that ONNX parts are known to come from. Of a track that takes
    a package instead there are no models, and `package` is what its room made of it.
    """

    label: str
    models: dict[str, Model]
    originals: dict[str, Model] = field(default_factory=dict)
    package: Any = None

    @property
    def torch(self) -> bool:
        """Whether some part is not an ONNX file yet."""
        return any(model.format != "onnx" for model in self.models.values())

    def original(self, part: str) -> Model | None:
        """The PyTorch side of a part, None where there is only ONNX."""
        model = self.models[part]
        return model if model.format != "onnx" else self.originals.get(part)


def open_submission(
    track: Track,
    specs: Sequence[str],
    scratch: Path,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> Submission:
    """The submission that `specs` (`PATH` or `PART=PATH`) name.

    Of two parts each may be named, or they are told apart by what they take: two files, or a folder
    or zip with both. Zip files are unpacked into `scratch`, and a float model with AIMET's
    encodings is quantised there, in a child process with `limits`; nothing else is written. Raises
    SubmissionError for everything that cannot be a submission to `track`.
    """
    if track.has("package"):
        return _open_package(track, specs, scratch, limits)
    split = [split_spec(track, spec) for spec in specs]
    models: dict[str, Model] = {}
    for part, target in sorted(split, key=lambda pair: not pair[0]):  # those named first
        for model in open_models(track, part, target, scratch, limits, tuple(models)):
            if model.part in models:
                raise _twice(track, models[model.part], model, named=bool(part))
            models[model.part] = model
    missing = [part.name for part in track.parts if part.name not in models]
    if missing:
        raise SubmissionError(
            f"{track.id} needs {len(track.parts)} models and {', '.join(missing)} is missing",
            f"give {_by_part(track)}",
        )
    if all(part for part, _ in split):
        _refuse_swapped(track, dict(split), models, limits)
    label = " ".join(Path(target).name or target for _, target in split)
    return Submission(one_line(label), {part.name: models[part.name] for part in track.parts})


def _open_package(track: Track, specs: Sequence[str], scratch: Path, limits: Limits) -> Submission:
    if len(specs) > 1:
        raise SubmissionError(
            f"{track.id} takes one package and {len(specs)} are given", "give the one that is meant"
        )
    path = Path(specs[0])
    mode = mode_of(specs[0])
    if mode is None:
        raise no_file(specs[0])
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise not_a_file(path, mode)
    try:
        package = track.room("package").open_package(path.resolve(), _made(scratch), limits)
    except OSError as error:
        raise unreadable(specs[0], error) from None
    return Submission(one_line(_called(specs[0])), {}, package=package)


def open_models(
    track: Track,
    part: str,
    target: str,
    scratch: Path,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    taken: Sequence[str] = (),
) -> list[Model]:
    """The models that `target`, a path or `module:factory`, holds, each as a part of `track`.

    All as `part`, or where that is empty as the part that takes what they take; a model that is
    not ONNX is then the one that is not `taken`. Raises SubmissionError as `open_submission` does.
    """
    return as_parts(track, part, target, models_in(target, scratch, limits), limits, taken)


def as_parts(
    track: Track,
    part: str,
    target: str,
    found: Sequence[Model],
    limits: Limits,
    taken: Sequence[str] = (),
) -> list[Model]:
    """The models `found` in `target` as parts of `track`, as `open_models` gives them."""
    if part or len(track.parts) == 1:
        name = part or track.parts[0].name
        own = found
        if len(found) > 1 and len(track.parts) > 1:
            own = [each for each in found if _taken_for(track, each, limits) == part] or found
        if len(own) > 1:
            names = ", ".join(each.path.name for each in own)
            raise SubmissionError(
                f"{_called(target)} holds {len(own)} .onnx files, {names}, and"
                f" {part or track.id} is one",
                "give the one that is meant, or keep it and its external data alone there",
            )
        return [replace(own[0], part=name)]
    return [replace(each, part=_part_of(track, each, limits, taken)) for each in found]


def split_spec(track: Track, spec: str) -> tuple[str, str]:
    """(the part that a specification names, or nothing, and its target)"""
    names = [part.name for part in track.parts]
    part, separator, target = spec.partition("=")
    if separator and part in names:
        return part, target
    if separator and part.isidentifier() and not os.path.exists(spec):
        raise SubmissionError(
            f"{track.id} has no part {part!r}", f"its parts are: {', '.join(names)}"
        )
    return "", spec


def _part_of(track: Track, model: Model, limits: Limits, taken: Sequence[str]) -> str:
    """The part of a track of two that a model is which nobody named."""
    if model.format != "onnx":
        left = [part.name for part in track.parts if part.name not in taken]
        if len(left) == 1:
            return left[0]
        raise SubmissionError(
            f"{track.id} takes {len(track.parts)} models and {model.path.name!r} does not say"
            " which it is",
            f"write {_by_part(track)}",
        )
    return told_part(track, read_graph(model.path, limits)).name


def told_part(track: Track, graph: Graph) -> Part:
    """The part that takes what `graph` takes; raises SubmissionError where that does not say it."""
    part = part_of(track, graph)
    if part is not None:
        return part
    inputs = ", ".join(value.label for value in graph.inputs) or "nothing"
    if takes(graph) == Takes.PICTURE | Takes.TEXT:
        raise SubmissionError(
            f"{graph.path.name} takes a picture and a text, {inputs}: both encoders in one file",
            f"export each to a file of its own: {_by_part(track)}",
        )
    raise SubmissionError(
        f"{graph.path.name} takes {inputs}, which does not say which part of {track.id} it is",
        f"write {_by_part(track)}",
    )


def _taken_for(track: Track, model: Model, limits: Limits) -> str:
    """The part that an ONNX model looks like, empty where it looks like none or is not ONNX."""
    fitting = part_of(track, read_graph(model.path, limits)) if model.format == "onnx" else None
    return fitting.name if fitting is not None else ""


def _refuse_swapped(
    track: Track, targets: dict[str, str], models: dict[str, Model], limits: Limits
) -> None:
    """Raises SubmissionError where each of two named models is the other part."""
    if len(models) < 2:
        return
    looks = {part: _taken_for(track, model, limits) for part, model in models.items()}
    if set(looks.values()) == set(looks) and all(part != own for part, own in looks.items()):
        right = " ".join(f"--submission {own}={targets[part]}" for part, own in looks.items())
        raise SubmissionError(f"{' and '.join(looks)} are swapped", f"write {right}")


def _twice(track: Track, first: Model, second: Model, *, named: bool) -> SubmissionError:
    if named:
        return SubmissionError(
            f"--submission names the part {first.part!r} of {track.id} twice",
            "give every part once",
        )
    kind = "picture" if track.part(first.part).image else "text"
    return SubmissionError(
        f"{first.path.name} and {second.path.name} both take a {kind}",
        f"write {_by_part(track)}",
    )


def _by_part(track: Track) -> str:
    return " ".join(f"--submission {part.name}=FILE" for part in track.parts)


def models_in(
    target: str,
    scratch: Path,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> list[Model]:
    """Every model of a target, at least one, of no part yet; raises as `open_submission` does."""
    path, mode = Path(target), mode_of(target)
    if mode is None:
        if _FACTORY.fullmatch(target) and ".py:" not in target:
            state = Path(tempfile.mkdtemp(dir=_made(scratch), prefix="state-")) / "state.pt"
            return [Model("", "factory", target, str(state))]
        raise no_file(target)
    if stat.S_ISDIR(mode):
        return _open_folder(path, _called(target), scratch, limits)
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
    folder = Path(tempfile.mkdtemp(dir=_made(scratch), prefix="qdq-"))
    return aimet_to_qdq(model, encodings, folder / model.name, limits=limits)


def _open_file(path: Path, scratch: Path, limits: Limits) -> list[Model]:
    suffix = path.suffix.lower()
    head = _read_head(path)
    if suffix not in {".onnx", ".zip", ".pt", ".pth", ".pt2"}:
        raise SubmissionError(
            f"{path.name} has no extension that says what it is", f"it takes {FORMATS}"
        )
    if suffix == ".onnx":
        return [Model("", "onnx", str(path))]
    if not zipfile.is_zipfile(path):
        if suffix in {".pt", ".pth"} and head[:1] == b"\x80":
            raise _pickle(path)
        raise SubmissionError(
            f"{path.name} is not a {suffix} archive or was cut short",
            "export or copy the file again and compare its size",
        )
    if suffix == ".zip":
        folder = Path(tempfile.mkdtemp(dir=_made(scratch), prefix="zip-")) / path.stem
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
        raise _pickle(path)
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


def _pickle(path: Path) -> SubmissionError:
    return SubmissionError(f"{path.name} {PICKLE[0]}", PICKLE[1])


def _called(target: str) -> str:
    return Path(target).name or target


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
