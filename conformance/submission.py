"""Opens what the participant brings, without running any of it; AIMET's exports become QDQ."""

import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from reference.archive import unpack
from reference.errors import SubmissionError
from reference.npu.aimet import aimet_to_qdq
from reference.process import Limits
from reference.tracks import Track

Format = Literal["onnx", "torchscript", "exported", "factory", "reference"]

FORMATS = (
    ".onnx, .zip or folder (ONNX with external data or AIMET's .encodings),"
    " .pt (TorchScript), .pt2, module:factory"
)
_FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


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

    `originals` are the PyTorch models that ONNX parts are known to come from.
    """

    label: str
    models: dict[str, Model]
    originals: dict[str, Model] = field(default_factory=dict)

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

    Zip files are unpacked into `scratch`, and a float model with AIMET's encodings is quantised
    there, in a child process with `limits`; nothing else is written. Raises SubmissionError for
    everything that cannot be a submission to `track`.
    """
    models: dict[str, Model] = {}
    for spec in specs:
        part, target = _split(track, spec)
        if part in models:
            raise SubmissionError(
                f"--submission names the part {part!r} of {track.id} twice",
                "give every part once",
            )
        models[part] = open_model(part, target, scratch, limits)
    missing = [part.name for part in track.parts if part.name not in models]
    if missing:
        wanted = " ".join(f"--submission {part.name}=FILE" for part in track.parts)
        raise SubmissionError(
            f"{track.id} needs {len(track.parts)} models and {', '.join(missing)} is missing",
            f"give {wanted}",
        )
    label = " ".join(Path(spec.partition("=")[2] or spec).name for spec in specs)
    return Submission(label, models)


def _split(track: Track, spec: str) -> tuple[str, str]:
    names = [part.name for part in track.parts]
    part, separator, target = spec.partition("=")
    if separator and part in names:
        return part, target
    if separator and part.isidentifier() and not Path(spec).exists():
        raise SubmissionError(
            f"{track.id} has no part {part!r}", f"its parts are: {', '.join(names)}"
        )
    if len(names) > 1:
        raise SubmissionError(
            f"{track.id} takes {len(names)} models and {spec!r} does not say which it is",
            "write " + " ".join(f"--submission {name}=FILE" for name in names),
        )
    return names[0], spec


def open_model(
    part: str,
    target: str,
    scratch: Path,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> Model:
    """The model that `target`, a path or `module:factory`, names; as `open_submission` does."""
    path = Path(target)
    if path.is_dir():
        return _open_folder(part, path, target, scratch, limits)
    if path.is_file():
        return _open_file(part, path, scratch, limits)
    if _FACTORY.fullmatch(target):
        return Model(part, "factory", target, str(scratch / f"{part}-state.pt"))
    raise SubmissionError(f"no such file: {target}", f"check the path; it takes {FORMATS}")


def _open_folder(part: str, folder: Path, name: str, scratch: Path, limits: Limits) -> Model:
    """The only model of a folder; with AIMET's encodings beside it, quantised as they say."""
    model = _only(".onnx", folder, name)
    if not any(folder.rglob("*.encodings")):
        return Model(part, "onnx", str(model))
    encodings = _only(".encodings", folder, name)
    qdq = scratch / f"{part}-qdq" / model.name
    return Model(part, "onnx", str(aimet_to_qdq(model, encodings, qdq, limits=limits)))


def _open_file(part: str, path: Path, scratch: Path, limits: Limits) -> Model:
    suffix = path.suffix.lower()
    if suffix not in {".onnx", ".zip", ".pt", ".pth", ".pt2"}:
        raise SubmissionError(
            f"{path.name} has no extension that says what it is", f"it takes {FORMATS}"
        )
    if path.stat().st_size == 0:
        raise SubmissionError(f"{path.name} is empty", "export the model again")
    if suffix == ".onnx":
        return Model(part, "onnx", str(path))
    if not zipfile.is_zipfile(path):
        if suffix in {".pt", ".pth"} and path.read_bytes()[:1] == b"\x80":
            raise _pickle(path)
        raise SubmissionError(
            f"{path.name} is not a {suffix} archive or was cut short",
            "export or copy the file again and compare its size",
        )
    if suffix == ".zip":
        return _open_folder(
            part, unpack(path, scratch / part, path.name), path.name, scratch, limits
        )
    names = _members(path)
    if suffix == ".pt2":
        return Model(part, "exported", str(path))
    if not any("/code/" in name for name in names):
        raise _pickle(path)
    return Model(part, "torchscript", str(path))


def _pickle(path: Path) -> SubmissionError:
    return SubmissionError(
        f"{path.name} is a pickle, not TorchScript, and unpickling it could run any code",
        "save with torch.jit.trace(model, inputs).save(...), or give --submission module:factory",
    )


def _members(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def _only(suffix: str, folder: Path, name: str) -> Path:
    found = sorted(folder.rglob(f"*{suffix}"))
    if len(found) != 1:
        listed = ", ".join(path.name for path in found) or "none"
        raise SubmissionError(
            f"{name} must hold exactly one {suffix} file and holds {listed}",
            "keep the model and its external data alone in it",
        )
    return found[0]
